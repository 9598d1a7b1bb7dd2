"""A photo as it comes from outside: decoded, its faces found, its quality measured, and what is wrong with it said.

Sharpness, light, size and pose are the ones that ISO/IEC 29794-5 asks after; here they are plain measures of the image and
no score of that standard.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.images.alignment import Aligner, prominence
from bonaface.images.decoding import decode_bytes
from bonaface.images.preprocessing import Preprocessor

__all__ = ["Face", "Portrait", "Quality", "read_portrait"]

_LEAST_EYES = 12.0
"""Fewer pixels between the eyes than this leave nothing of what tells people apart."""
_SECOND_FACE = 0.5
"""A face of this share of the first one's prominence (area, less towards the edge) is a second person and no bystander."""
_OUTSIDE = 0.2
"""Share of the face's box that may lie beyond the image."""


@dataclass(frozen=True)
class Face:
    """A face that the detector found.

    Args:
        box: left, top, width and height in px of the image.
        points: right eye, left eye, nose tip, right and left corner of the mouth, (x, y) in px.
        score: the detector's confidence in [0, 1].
    """

    box: tuple[float, float, float, float]
    points: tuple[tuple[float, float], ...]
    score: float


@dataclass(frozen=True)
class Quality:
    """Measures of the first face.

    Args:
        eyes: distance between the eyes in px of the image.
        sharpness: standard deviation of the Laplacian of the grey face at 112 px; below about 5 it is blurred.
        brightness: mean grey value of the face, 0..255.
        clipped: share of the face's pixels that are black or white.
        turn: how far the nose lies from the middle between the eyes, in half eye distances: 0 from the front, about 1 in profile.
        tilt: angle of the eyes' line against the horizontal, in degrees, positive clockwise.
    """

    eyes: float
    sharpness: float
    brightness: float
    clipped: float
    turn: float
    tilt: float


@dataclass(frozen=True)
class Portrait:
    """A photo and what was seen in it.

    Args:
        name: what messages call it.
        image: RGB, shape ``(h, w, 3)``, uint8.
        faces: the one that is embedded first, which is the largest unless it lies at the edge; empty also where the model has
            no detector.
        quality: of that face; None where there is none.
        problem: why this photo should not be judged, one sentence; None where it may be.
    """

    name: str
    image: NDArray[np.uint8]
    faces: tuple[Face, ...]
    quality: Quality | None
    problem: str | None


def read_portrait(data: bytes, name: str, prepare: Preprocessor) -> Portrait:
    """Decodes a photo and looks at it.

    Args:
        data: content of the image's file.
        name: what messages call it.
        prepare: whose detector looks for faces; where it has none, no photo has a problem.

    Raises:
        DataError: if it is no image that can be decoded.
    """
    image = decode_bytes(data, name)
    if prepare.detector is None:
        return Portrait(name, image, (), None, None)
    faces = _faces(image, prepare.aligner)
    if not faces:
        return Portrait(name, image, (), None, f"{name}: no face found; expected one, seen from the front")
    return Portrait(name, image, faces, _quality(image, faces[0]), _problem(name, image, faces))


def _faces(image: NDArray[np.uint8], aligner: Aligner) -> tuple[Face, ...]:
    return tuple(
        Face(
            (float(row[0]), float(row[1]), float(row[2]), float(row[3])),
            tuple((float(x), float(y)) for x, y in row[4:14].reshape(5, 2)),
            float(row[14]),
        )
        for row in aligner.faces(image)
    )


def _problem(name: str, image: NDArray[np.uint8], faces: tuple[Face, ...]) -> str | None:
    subject = faces[0]
    weights = prominence(np.array([face.box for face in faces]), image.shape)
    alike = int((weights >= _SECOND_FACE * weights[0]).sum())
    if alike > 1:
        return f"{name}: {alike} faces that are alike prominent found; expected a photo of one person"
    eyes = _eyes(subject)
    if eyes < _LEAST_EYES:
        return f"{name}: the face is too small ({eyes:.0f} px between the eyes); expected at least {_LEAST_EYES:.0f} px"
    height, width = image.shape[:2]
    x, y, w, h = subject.box
    seen = max(0.0, min(x + w, width) - max(x, 0.0)) * max(0.0, min(y + h, height) - max(y, 0.0)) / max(w * h, 1e-9)
    inside = all(0 <= px < width and 0 <= py < height for px, py in subject.points)
    if seen < 1 - _OUTSIDE or not inside:
        return f"{name}: the face is cut off by the image's edge; expected all of it"
    return None


def _eyes(face: Face) -> float:
    return float(np.hypot(*np.subtract(face.points[0], face.points[1])))


def _quality(image: NDArray[np.uint8], face: Face) -> Quality:
    points = np.array(face.points)
    across = points[1] - points[0]
    apart = float(np.hypot(*across)) or 1.0
    turn = float((points[2] - points[:2].mean(axis=0)) @ across) / apart / (apart / 2)
    x, y, w, h = (round(value) for value in face.box)
    shown = image[max(y, 0) : max(y + h, 1), max(x, 0) : max(x + w, 1)]
    if not shown.size:
        shown = image
    grey = cv2.cvtColor(shown, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (112, 112), interpolation=cv2.INTER_AREA)
    return Quality(
        apart,
        float(cv2.Laplacian(small, cv2.CV_64F).std()),
        float(grey.mean()),
        float(((grey <= 2) | (grey >= 253)).mean()),
        turn,
        float(np.degrees(np.arctan2(across[1], across[0]))),
    )
