"""Faces in a photo, their quality, and the reason why a photo cannot be judged.

Sharpness, light, size and pose are the ones that ISO/IEC 29794-5 asks after; here they are plain measures of the image and
no score of that standard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.images.alignment import prominence

__all__ = ["MIN_EYE_DISTANCE", "Face", "FaceQuality", "assess", "faces_of", "problem_of"]

MIN_EYE_DISTANCE = 12.0
"""Pixels between the eyes; fewer leave nothing of what tells people apart."""
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
class FaceQuality:
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


def faces_of(rows: NDArray[np.float32]) -> tuple[Face, ...]:
    """Faces by name, of the detector's rows.

    Args:
        rows: as :meth:`bonaface.images.alignment.Aligner.faces` returns them, shape ``(n, 15)``.
    """
    return tuple(
        Face(
            (float(row[0]), float(row[1]), float(row[2]), float(row[3])),
            tuple((float(x), float(y)) for x, y in row[4:14].reshape(5, 2)),
            float(row[14]),
        )
        for row in rows
    )


def problem_of(name: str, shape: tuple[int, ...], faces: Sequence[Face]) -> str | None:
    """The reason why a photo cannot be judged, one sentence; None where it can.

    Args:
        name: of the photo, for the sentence.
        shape: of the image, height first.
        faces: found in it, the one that is embedded first.
    """
    if not faces:
        return f"{name}: no face found; expected one, seen from the front"
    subject = faces[0]
    weights = prominence(np.array([face.box for face in faces]), shape)
    alike = int((weights >= _SECOND_FACE * weights[0]).sum())
    if alike > 1:
        return f"{name}: {alike} faces that are alike prominent found; expected a photo of one person"
    eyes = _eyes(subject)
    if eyes < MIN_EYE_DISTANCE:
        return f"{name}: the face is too small ({eyes:.0f} px between the eyes); expected at least {MIN_EYE_DISTANCE:.0f} px"
    height, width = shape[:2]
    x, y, w, h = subject.box
    seen = max(0.0, min(x + w, width) - max(x, 0.0)) * max(0.0, min(y + h, height) - max(y, 0.0)) / max(w * h, 1e-9)
    inside = all(0 <= px < width and 0 <= py < height for px, py in subject.points)
    if seen < 1 - _OUTSIDE or not inside:
        return f"{name}: the face is cut off by the image's edge; expected all of it"
    return None


def _eyes(face: Face) -> float:
    return float(np.hypot(*np.subtract(face.points[0], face.points[1])))


def assess(image: NDArray[np.uint8], face: Face) -> FaceQuality:
    """Measures of a face.

    Args:
        image: RGB, shape ``(h, w, 3)``, uint8.
        face: found in it.
    """
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
    return FaceQuality(
        apart,
        float(cv2.Laplacian(small, cv2.CV_64F).std()),
        float(grey.mean()),
        float(((grey <= 2) | (grey >= 253)).mean()),
        turn,
        float(np.degrees(np.arctan2(across[1], across[0]))),
    )
