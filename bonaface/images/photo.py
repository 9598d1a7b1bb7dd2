"""One photo: decoded, its faces found once, its quality measured, and cut into what networks see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonaface.images.copies import Thumbprint, thumbprint
from bonaface.images.decoding import ImageSource, decode, name_of
from bonaface.images.preprocessing import Preprocessor
from bonaface.images.quality import Face, FaceQuality, assess, faces_of, problem_of
from bonaface.images.upright import find_upright

__all__ = ["Photo", "read_photo"]


@dataclass(frozen=True)
class Photo:
    """One photo before a network has seen it.

    Args:
        name: used in messages.
        faces: the one that is embedded first, which is the largest unless it lies at the edge; empty also where the model has
            no detector.
        quality: of that face; None where there is none.
        problem: the reason why this photo cannot be judged, one sentence; None where it can.
        inputs: what the networks see of it, by kind: the face crop and the aligned face, each ``(size, size, 3)``, uint8. Of a
            video each frame that can be judged gives one; of a photo there is one.
        frames: how many were sampled of a video; 1 for a photo.
        thumbprints: of the image, or of each frame of a video that can be judged, for
            :func:`bonaface.images.copies.any_copies`; empty where there is no face or the model has no detector.
    """

    name: str
    faces: tuple[Face, ...]
    quality: FaceQuality | None
    problem: str | None
    inputs: tuple[Mapping[str, NDArray[np.uint8]], ...]
    frames: int = 1
    thumbprints: tuple[Thumbprint, ...] = ()

    @property
    def rotated(self) -> int:
        """Degrees by which the photo was rotated clockwise to be upright: 0, 90, 180 or 270. Faces are in px of that."""
        return 0 if self.quality is None else self.quality.rotated


def read_photo(source: ImageSource, preprocess: Preprocessor, name: str = "") -> Photo:
    """Reads one photo; of an upright face the detector runs once.

    Args:
        source: the image.
        preprocess: of the model; where it has no detector, no photo has a problem.
        name: used in messages; a path's own, or "image", where it is empty.

    Raises:
        DataError: if it cannot be decoded.
    """
    name = name or name_of(source)
    image = decode(source, name)
    if preprocess.detector is None:
        return Photo(name, (), None, None, (preprocess(image),))
    found = find_upright(image, preprocess.aligner)
    faces = faces_of(found.faces)
    quality = assess(found.image, faces[0], found.rotated, found.seen, faces[1:]) if faces else None
    problem = problem_of(name, found.image.shape, faces, quality)
    inputs = preprocess(found.image, found.faces)
    prints = (thumbprint(found.image, faces[0].box),) if faces else ()
    return Photo(name, faces, quality, problem, (inputs,), thumbprints=prints)
