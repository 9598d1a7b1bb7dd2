"""Photos for the benchmarks: the demo pack's people at 250 px, each image turned, moved and lit a little differently."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.images.decoding import decode

__all__ = ["SIDE", "make_images"]

SIDE = 250
"""Side in pixels, as LFW's."""
_DRAWN = 2000
"""Images that are drawn; further ones are these again, told apart by a comment in the file: to draw 100,000 takes minutes."""
_QUALITY = 90


def make_images(demo: Path, out: Path, count: int) -> list[Path]:
    """Writes JPEGs of which no two have the same bytes; those of an earlier call are kept.

    Args:
        demo: the unpacked demo pack.
        out: folder to write into.
        count: how many.

    Returns:
        Their paths, a thousand a folder.
    """
    sources = sorted((demo / "train").rglob("*.jpg"))
    paths = [out / f"{n // 1000:03d}" / f"{n:06d}.jpg" for n in range(count)]
    for folder in {path.parent for path in paths}:
        folder.mkdir(parents=True, exist_ok=True)
    for n, path in enumerate(paths):
        if path.exists():
            continue
        if n < _DRAWN:
            rng = np.random.default_rng(n)
            path.write_bytes(_jpeg(_drawn(decode(sources[n % len(sources)]), rng)))
        else:
            path.write_bytes(_commented(paths[n % _DRAWN].read_bytes(), b"%d" % n))
    return paths


def _drawn(photo: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A photo enlarged to 250 px, turned by up to 5 degrees, moved by up to 5 %, lighter or darker by up to 10 %."""
    height, width = photo.shape[:2]
    zoom = SIDE / min(height, width) * rng.uniform(1, 1.1)
    matrix = np.asarray(cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-5, 5), zoom), np.float64)
    matrix[:, 2] += np.array([SIDE - width, SIDE - height]) / 2 + rng.uniform(-0.05, 0.05, 2) * SIDE
    moved = cv2.warpAffine(photo, matrix, (SIDE, SIDE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(np.clip(moved * rng.uniform(0.9, 1.1), 0, 255), np.uint8)


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return data.tobytes()


def _commented(data: bytes, text: bytes) -> bytes:
    """A JPEG file with a comment behind its first segment, which says what kind of JPEG it is."""
    first = 4 + int.from_bytes(data[4:6], "big")
    return data[:first] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + data[first:]
