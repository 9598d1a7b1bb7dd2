"""One photo: decoded, its faces found once, its quality measured, and cut into what networks see."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bonaface.images.alignment import refuse_no_image
from bonaface.images.decoding import decode, decode_bytes, decode_pil
from bonaface.images.preprocessing import Preprocessor
from bonaface.images.quality import Face, FaceQuality, assess, faces_of, problem_of

__all__ = ["ImageSource", "Photo", "load_image", "name_of", "read_photo"]

ImageSource: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image | NDArray[Any]"
"""A path, the bytes of an image file, a PIL image, or RGB pixels of shape ``(h, w, 3)``, uint8."""


@dataclass(frozen=True)
class Photo:
    """What is known of one photo before a network has seen it.

    Args:
        name: used in messages.
        faces: the one that is embedded first, which is the largest unless it lies at the edge; empty also where the model has
            no detector.
        quality: of that face; None where there is none.
        problem: the reason why this photo cannot be judged, one sentence; None where it can.
        inputs: what the networks see of it, by kind: the face crop and the aligned face, each ``(size, size, 3)``, uint8. Of a
            video each frame that can be judged gives one; of a photo there is one.
        frames: how many were sampled of a video; 1 for a photo.
    """

    name: str
    faces: tuple[Face, ...]
    quality: FaceQuality | None
    problem: str | None
    inputs: tuple[Mapping[str, NDArray[np.uint8]], ...]
    frames: int = 1


def read_photo(source: ImageSource, preprocess: Preprocessor, name: str = "") -> Photo:
    """Reads one photo; the detector runs once.

    Args:
        source: the image.
        preprocess: of the model; where it has no detector, no photo has a problem.
        name: used in messages; a path's own, or "image", where it is empty.

    Raises:
        DataError: if it cannot be decoded.
    """
    name = name or name_of(source)
    image = load_image(source, name)
    if preprocess.detector is None:
        return Photo(name, (), None, None, (preprocess(image),))
    rows = preprocess.aligner.faces(image)  # (n, 15)
    faces = faces_of(rows)
    quality = assess(image, faces[0]) if faces else None
    return Photo(name, faces, quality, problem_of(name, image.shape, faces), (preprocess(image, rows),))


def load_image(source: ImageSource, name: str = "") -> NDArray[np.uint8]:
    """Pixels of an image, upright RGB, shape ``(h, w, 3)``, uint8.

    Args:
        source: the image.
        name: used in messages.

    Raises:
        DataError: if it cannot be decoded, or is none of the kinds that are read.
    """
    name = name or name_of(source)
    if isinstance(source, str | os.PathLike):
        return decode(Path(source))
    if isinstance(source, bytes | bytearray | memoryview):
        return decode_bytes(bytes(source), name)
    if isinstance(source, Image.Image):
        return decode_pil(source, name)
    if not isinstance(source, np.ndarray):
        raise TypeError(f"{name}: expected a path, bytes, a PIL image or an RGB array, got {type(source).__name__}")
    refuse_no_image(source, name)
    return np.ascontiguousarray(source)


def name_of(source: ImageSource) -> str:
    """The name of an image in messages: its path, or "image"."""
    return os.fspath(source) if isinstance(source, str | os.PathLike) else "image"
