"""Detection of faces that a generator drew: a StyleGAN's, put into photos by the swaps, and its images as they are.

python benchmarks/generated.py FACES --model MODEL

prints for each way the share of images whose calibrated log-odds of being genuine are below even, and the AUC against the photos.
The model has seen swaps of photographed faces and none of drawn ones. Needs what `bonaface get synthetic` needs.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bonaface.data.table import read_faces
from bonaface.forgery.camera import Camera
from bonaface.forgery.methods import NEEDS_DONOR, forge
from bonaface.images.alignment import Aligner
from bonaface.images.crops import face_crop
from bonaface.images.decoding import decode
from bonaface.inference.embedder import load_embedder
from bonaface.metrics.operating_points import auc
from bonaface.synthetic.generator import FaceGenerator, find_networks

ImageArray = NDArray[np.uint8]
Face = tuple[ImageArray, NDArray[np.float32]]

SIZE, TRUNCATION = 160, 0.8
CAMERA = Camera(SIZE, (75, 94))
"""Codes photos and forgeries alike."""


def face_crops(images: Sequence[ImageArray], aligner: Aligner) -> list[Face]:
    """The faces that are found, as face crops of 160 px, and their points."""
    faces = []
    for image in images:
        points = aligner.align(image).points
        cut = face_crop(image, SIZE, points)
        points = None if points is None else aligner.align(cut).points
        if points is not None:
            faces.append((cut, points))
    return faces


def main() -> None:
    """Prints a row for each way."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("faces", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--photos", type=int, default=150)
    parser.add_argument("--drawn", type=int, default=120)
    parser.add_argument("--networks", type=Path, help="random-face's wheel; fetched where it is left out")
    options = parser.parse_args()
    embedder, random = load_embedder(options.model), np.random.default_rng(0)
    if embedder.calibration is None or embedder.calibration.genuine is None:
        parser.error(f"{embedder.name} does not judge whether photos are genuine")
    aligner = embedder.preprocess.aligner
    if aligner is None:
        parser.error(f"{embedder.name} has no face detector")
    table = read_faces(options.faces)
    chosen = random.permutation(np.flatnonzero(~table.frame["is_fake"].to_numpy(dtype=bool)))[: options.photos]
    photos = face_crops([decode(table.path(int(row))) for row in chosen], aligner)
    generator = FaceGenerator(find_networks(options.networks, Path(".bonaface-cache")))
    styles = generator.draw(random, options.drawn, TRUNCATION)
    drawn = face_crops([generator.render(style, style, style) for style in styles], aligner)

    made = {"photos": [photo for photo, _ in photos], "drawn, as they are": [face for face, _ in drawn]}
    for method in sorted(NEEDS_DONOR):
        for name, inner in (("photographed", photos[7:] + photos[:7]), ("drawn", drawn)):
            made[f"{name} face by {method}"] = [
                forge(inner[place % len(inner)][0], head, method, random, inner[place % len(inner)][1], points)
                for place, (head, points) in enumerate(photos)
            ]
    odds = {
        name: embedder.calibration.genuine.log_odds(
            np.asarray(embedder.embed_images([CAMERA.develop(image, random) for image in images]).authenticity)
        )
        for name, images in made.items()
    }
    for name, those in odds.items():
        print(
            f"{name:36} {len(those):4} images   below even {np.mean(those < 0):6.1%}   AUC {auc(odds['photos'], those):.3f}"
        )


if __name__ == "__main__":
    main()
