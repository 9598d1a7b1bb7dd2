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
from bonaface.images.face_check import FaceCheck, check_face

__all__ = ["ENROLMENT", "VERIFICATION", "Face", "FaceQuality", "Limits", "assess", "faces_of", "problem_of", "unfit"]

_OUTSIDE = 0.2
"""Share of the face's box that may lie beyond the image."""

_DIM, _DAYLIGHT = 40.0, 128.0
"""Mean grey values of a face: below the first it loses its detail to the dark, the second is that of a well-lit one."""


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
        eyes_covered: the probability that something covers the eyes, sunglasses included.
        mouth_covered: the probability that something covers the mouth.
        rotated: degrees by which the image was rotated clockwise to be upright: 0, 90, 180 or 270.
        beside: prominence of the next face (area, less towards the edge) as a share of this one's; 0 without another face.
        size: width and height of the image that faces are measured in: upright, and of more than 40 megapixels at a half, a quarter
            or an eighth of its scale.
    """

    eyes: float
    sharpness: float
    brightness: float
    clipped: float
    turn: float
    tilt: float
    eyes_covered: float = 0.0
    mouth_covered: float = 0.0
    rotated: int = 0
    beside: float = 0.0
    size: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Limits:
    """Beyond which measures a face is not judged; see :class:`FaceQuality`.

    Args:
        eyes: the least distance between the eyes.
        sharpness: the least.
        dark: the least brightness.
        bright: the most.
        clipped: the most.
        turn: the most, to either side.
        covered: the largest probability that eyes or mouth are covered.
        beside: share of the first face's prominence from which another one is a second person and no bystander.
    """

    eyes: float
    sharpness: float
    dark: float
    bright: float
    clipped: float
    turn: float
    covered: float
    beside: float


VERIFICATION = Limits(eyes=12.0, sharpness=3.0, dark=11.0, bright=240.0, clipped=0.6, turn=1.2, covered=0.7, beside=0.5)
"""Where benchmarks/quality.py finds that a person's own photos are refused several times as often, or that strangers pass."""

ENROLMENT = Limits(eyes=12.0, sharpness=5.0, dark=30.0, bright=235.0, clipped=0.4, turn=0.8, covered=0.7, beside=0.125)
"""Stricter: a poor photo to be verified costs one answer, an enrolled one spoils all that come."""


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


def problem_of(name: str, shape: tuple[int, ...], faces: Sequence[Face], quality: FaceQuality | None) -> str | None:
    """The reason why a photo cannot be judged, one sentence; None where it can.

    Args:
        name: of the photo, for the sentence.
        shape: of the image, height first.
        faces: found in it, the one that is embedded first.
        quality: of that face.
    """
    if not faces or quality is None:
        return f"{name}: no face found; expected one, seen from the front"
    subject = faces[0]
    alike = int((_shares(faces, shape) >= VERIFICATION.beside).sum())
    if alike > 1:
        return f"{name}: {alike} faces found; use a photo of one person"
    height, width = shape[:2]
    x, y, w, h = subject.box
    seen = max(0.0, min(x + w, width) - max(x, 0.0)) * max(0.0, min(y + h, height) - max(y, 0.0)) / max(w * h, 1e-9)
    inside = all(0 <= px < width and 0 <= py < height for px, py in subject.points)
    if seen < 1 - _OUTSIDE or not inside:
        return f"{name}: the face is cut off by the image's edge; expected all of it"
    why = unfit(quality, VERIFICATION)
    return None if why is None else f"{name}: {why}"


def unfit(quality: FaceQuality, limits: Limits) -> str | None:
    """The first limit that a face is beyond, and what would be right; None where it is within all.

    Example:
        >>> unfit(FaceQuality(60.0, 20.0, 128.0, 0.0, 0.0, 0.0, mouth_covered=0.99), VERIFICATION)
        'the lower face is covered; expected a photo without mask, scarf or hand'
    """
    found = (
        (
            quality.eyes < limits.eyes,
            f"the face is too small ({quality.eyes:.0f} px between the eyes); expected at least {limits.eyes:.0f} px",
        ),
        (
            _is_dark(quality, limits) or quality.brightness > limits.bright,
            "the face is too dark or too bright; expected even light",
        ),
        (
            quality.mouth_covered > limits.covered,
            "the lower face is covered; expected a photo without mask, scarf or hand",
        ),
        (quality.eyes_covered > limits.covered, "the eyes are covered; expected a photo without sunglasses"),
        (quality.sharpness < limits.sharpness, "the face is blurred; expected a sharp photo"),
        (quality.clipped > limits.clipped, "much of the face is black or white; expected even light"),
        (abs(quality.turn) > limits.turn, "the face is turned away; expected it from the front"),
        (
            quality.beside >= limits.beside,
            f"another face is {quality.beside:.0%} as prominent; expected one person, others below {limits.beside:.1%}",
        ),
    )
    return next((why for beyond, why in found if beyond), None)


def _is_dark(quality: FaceQuality, limits: Limits) -> bool:
    """True where a face is too dark, or is unsharp for no other reason: the Laplacian falls with the light."""
    in_daylight = quality.sharpness * _DAYLIGHT / max(quality.brightness, 1.0)
    is_dim_alone = quality.brightness < _DIM and quality.sharpness < limits.sharpness <= in_daylight
    return quality.brightness < limits.dark or is_dim_alone


def _shares(faces: Sequence[Face], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Prominence of each face as a share of the first one's, shape ``(n,)``."""
    weights = prominence(np.array([face.box for face in faces]), shape)
    shares: NDArray[np.float64] = weights / weights[0]
    return shares


def assess(
    image: NDArray[np.uint8], face: Face, rotated: int = 0, seen: FaceCheck | None = None, others: Sequence[Face] = ()
) -> FaceQuality:
    """Measures of a face.

    Args:
        image: RGB, shape ``(h, w, 3)``, uint8.
        face: found in it.
        rotated: degrees by which the image was rotated to be upright.
        seen: of the face, where a network has looked at it already.
        others: found in the image beside it.
    """
    seen, points = seen or check_face(image, face.box), np.array(face.points)
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
        seen.eyes_covered,
        seen.mouth_covered,
        rotated,
        float(_shares([face, *others], image.shape)[1:].max(initial=0.0)),
        (image.shape[1], image.shape[0]),
    )
