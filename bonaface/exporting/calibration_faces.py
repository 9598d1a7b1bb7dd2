"""Photos that an export is fitted to and judged on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonaface.assets import unpack_demo
from bonaface.data.table import read_faces
from bonaface.errors import DataError
from bonaface.images.decoding import decode
from bonaface.images.preprocessing import test_images
from bonaface.inference.embedder import Embedder
from bonaface.inference.metadata import input_of

__all__ = ["Faces", "calibration_faces"]

_PHOTOS = 320
_ENOUGH = 16
_BATCH = 8


@dataclass(frozen=True)
class Faces:
    """Photos as a model sees them.

    Args:
        images: by branch, shape ``(n, side, side, 3)``.
        person: who each shows, shape ``(n,)``.
        is_fake: whether each is a deepfake, shape ``(n,)``.
    """

    images: Mapping[str, NDArray[np.uint8]]
    person: NDArray[np.object_]
    is_fake: NDArray[np.bool_]

    def feeds(self) -> Iterator[Mapping[str, NDArray[np.uint8]]]:
        """Batches by the graph's inputs."""
        for at in range(0, len(self.person), _BATCH):
            yield {input_of(name): stack[at : at + _BATCH] for name, stack in self.images.items()}


def calibration_faces(embedder: Embedder, folder: Path | None, seed: int = 0) -> tuple[Faces, Faces]:
    """Choose photos that ranges are fitted to, and photos of other people that the result is judged on; at most 320 of each.

    Args:
        embedder: that is exported.
        folder: of faces, in any layout; None takes the demo pack's.
        seed: of the choice of people.

    Raises:
        DataError: if the folder is no folder of faces, or holds fewer than 16 readable photos for one of the two.
    """
    with tempfile.TemporaryDirectory() as temporary:
        table = read_faces(folder or unpack_demo(Path(temporary)) / "train")
        person = table.frame["person"].to_numpy(dtype=object)
        people = np.random.default_rng(seed).permutation(np.unique(person.astype(str)))
        sides = []
        for chosen in (people[::2], people[1::2]):
            rows = np.concatenate([np.zeros(0, np.int64), *(np.flatnonzero(person == each) for each in chosen)])[
                :_PHOTOS
            ]
            sides.append(_read(embedder, [(table.path(row), row) for row in rows], table.frame))
    for side in sides:
        if len(side.person) < _ENOUGH:
            raise DataError(
                f"{folder}: half of its people have {len(side.person)} readable photos; expected at least {_ENOUGH} of each half, "
                "to fit the model to one and judge it on the other"
            )
    return sides[0], sides[1]


def _read(embedder: Embedder, photos: list[tuple[Path, int]], frame: Any) -> Faces:
    kept, rows = [], []
    for path, row in photos:
        try:
            kept.append(embedder.preprocess(decode(path)))
        except DataError:
            continue
        rows.append(row)
    used = frame.iloc[rows]
    images = test_images(embedder.network.views, kept) if kept else {}
    return Faces(images, used["person"].to_numpy(dtype=object), used["is_fake"].to_numpy(dtype=bool))
