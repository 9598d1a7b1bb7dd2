"""One reading of every file: what it holds, whether it decodes, what it looks like, how many faces are in it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from bonaface.errors import DataError
from bonaface.images.alignment import Aligner
from bonaface.images.copies import perceptual_hash
from bonaface.images.decoding import decode_bytes
from bonaface.reading import read_regular

__all__ = ["FaceCounter", "Inspection", "inspect"]

_LEAST_AREA = 0.25
"""A face counts beside the largest one if its box has this share of the largest's area: passers-by don't."""


@dataclass(frozen=True)
class Inspection:
    """Findings of files, in the order in which they were given.

    Args:
        digest: 16 bytes that tell contents apart; empty where the file can't be used.
        reason: why it can't be used, or None.
        look: perceptual hashes, uint64, shape ``(n,)``; 0 where not asked for.
        faces: how many faces of similar size each shows, shape ``(n,)``; -1 where not asked for.
    """

    digest: list[bytes]
    reason: list[str | None]
    look: NDArray[np.uint64]
    faces: NDArray[np.int64]

    @property
    def readable(self) -> NDArray[np.bool_]:
        """Mask of the files that are images, shape ``(n,)``."""
        return np.array([reason is None for reason in self.reason], np.bool_)


class FaceCounter(Aligner):
    """Counts the faces of images by YuNet; as an Aligner does, it can be used by several threads."""

    def count(self, image: NDArray[np.uint8]) -> int:
        """Faces whose box has at least a quarter of the largest one's area.

        Args:
            image: RGB, shape ``(h, w, 3)``, uint8.
        """
        faces, *_ = self._search(image)
        if not len(faces):
            return 0
        area = faces[:, 2] * faces[:, 3]
        return int((area >= _LEAST_AREA * area.max()).sum())


def inspect(
    paths: Sequence[Path],
    workers: int = 2,
    progress: Progress | None = None,
    look: bool = True,
    counter: FaceCounter | None = None,
) -> Inspection:
    """Read and decode each file once.

    Args:
        paths: files that should be images.
        workers: number of threads.
        progress: where to show how far it is.
        look: whether perceptual hashes are wanted.
        counter: counts faces, where that is wanted.
    """
    task = progress.add_task("checking images", total=len(paths)) if progress is not None else None
    found = []
    with ThreadPoolExecutor(workers) as pool:
        for result in pool.map(partial(_inspect, look=look, counter=counter), paths):
            found.append(result)
            if progress is not None and task is not None:
                progress.advance(task)
    return Inspection(
        [digest for digest, _, _, _ in found],
        [reason for _, reason, _, _ in found],
        np.array([bits for _, _, bits, _ in found], np.uint64),
        np.array([faces for _, _, _, faces in found], np.int64),
    )


def _inspect(path: Path, look: bool, counter: FaceCounter | None) -> tuple[bytes, str | None, int, int]:
    try:
        data = read_regular(path)
    except OSError as error:
        return b"", f"can't be read ({(error.strerror or str(error)).lower()})", 0, -1
    try:
        image = decode_bytes(data, path.name)
    except DataError as error:
        return b"", str(error).removeprefix(f"{path.name}: "), 0, -1
    digest = hashlib.blake2b(data, digest_size=16).digest()
    return digest, None, perceptual_hash(image) if look else 0, counter.count(image) if counter is not None else -1
