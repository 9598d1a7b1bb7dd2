"""Share of another camera's photos that a model takes for forgeries: real photos, changed in one way at a time.

python benchmarks/cameras.py FACES --model MODEL

prints for each way the share of real photos whose calibrated log-odds of being genuine are below even, and their mean.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.data.table import read_faces
from bonaface.images.crops import EYES, face_square
from bonaface.images.decoding import decode
from bonaface.inference.embedder import load_embedder

ImageArray = NDArray[np.uint8]

WIDTH, HEIGHT, APART = 92, 112, 0.39
"""Of ORL's images: their sides in px, and the distance between the eyes as a share of the width."""


def grey(image: ImageArray) -> ImageArray:
    """Without its colours, shape ``(h, w, 3)``."""
    return np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)


def blurred(image: ImageArray, across: float, down: float | None = None) -> ImageArray:
    """Sigmas in px."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigmaX=across, sigmaY=down or across), dtype=np.uint8)


def sharpened(image: ImageArray, amount: float, sigma: float) -> ImageArray:
    """An unsharp mask."""
    return np.asarray(cv2.addWeighted(image, 1 + amount, blurred(image, sigma), -amount, 0), dtype=np.uint8)


def grainy(image: ImageArray, strength: float = 3.0) -> ImageArray:
    """The same noise in all colours."""
    noise = np.random.default_rng(0).normal(0, strength, (*image.shape[:2], 1))
    return np.clip(image + noise, 0, 255).astype(np.uint8)


WAYS: Mapping[str, Callable[[ImageArray], ImageArray]] = {
    "close, grey and small": lambda small: small,
    "... quantised to 16 levels": lambda small: (small // 16 * 16 + 8).astype(np.uint8),
    "... with noise, sigma 4": lambda small: grainy(small, 4.0),
    "... sharpened by 2": lambda small: sharpened(small, 2.0, 0.8),
    "... blurred by 0.8 px": lambda small: blurred(small, 0.8),
    "... blurred along its lines by 1 px": lambda small: blurred(small, 1.0, 0.01),
    "... blurred by 1 px, sharpened by 2": lambda small: sharpened(blurred(small, 1.0), 2.0, 1.5),
}
"""Changes to a photo that was cut, coloured and sized as ORL's are."""


def close(image: ImageArray, points: NDArray[np.float32]) -> ImageArray:
    """A photo as ORL has them: the face fills it, grey, 92 x 112 px."""
    _, _, side = face_square(points)
    scale, middle = APART * WIDTH / (EYES * side), points[:2].mean(axis=0)
    matrix = np.array([[scale, 0, WIDTH / 2 - scale * middle[0]], [0, scale, 0.45 * HEIGHT - scale * middle[1]]])
    cut = cv2.warpAffine(image, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return grey(np.asarray(cut, dtype=np.uint8))


def main() -> None:
    """Prints a row for each way."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("faces", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--photos", type=int, default=200)
    options = parser.parse_args()
    embedder = load_embedder(options.model)
    if embedder.calibration is None or embedder.calibration.genuine is None:
        parser.error(f"{embedder.name} does not judge whether photos are genuine")
    table = read_faces(options.faces)
    real = np.flatnonzero(~table.frame["is_fake"].to_numpy(dtype=bool))
    chosen = np.random.default_rng(0).permutation(real)[: options.photos]
    images = [decode(table.path(int(row))) for row in chosen]
    found = [(image, embedder.preprocess.aligner.align(image).points) for image in images]
    faces = [(image, points) for image, points in found if points is not None]
    photos, small = [image for image, _ in faces], [close(*face) for face in faces]
    made = {"as they are": photos, "grey": [grey(photo) for photo in photos]}
    made |= {name: [way(image) for image in small] for name, way in WAYS.items()}
    for sigma in (1.5, 2.0, 2.5):
        made[f"grey, blurred by {sigma:g} px, grain"] = [grainy(blurred(grey(photo), sigma)) for photo in photos]
    for name, changed in made.items():
        said = embedder.embed_images(changed).authenticity
        odds = embedder.calibration.genuine.log_odds(np.asarray(said))
        print(f"{name:36} below even {np.mean(odds < 0):6.1%}   mean {odds.mean():5.2f}", flush=True)


if __name__ == "__main__":
    main()
