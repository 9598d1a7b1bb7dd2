"""Faces of a photo that may lie on its side or upside down without its file saying so.

The detector finds most faces that are upside down and lays their points as if they were upright, so that the tilt of the eyes tells
nothing. A network looks at the face that was found; where it or the detector's confidence speaks against an upright face, the other
three turns are tried, and one is taken where both speak for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonaface.images.alignment import Aligner
from bonaface.images.face_check import FaceCheck, check_face

__all__ = ["Upright", "find_upright"]

_SURE = 0.85
"""Confidence of the detector that 99 of 100 upright faces reach."""
_LIKELY = 0.5
_LEAD = 0.02
"""How much surer the detector must be of a turned photo than of it as it is."""


@dataclass(frozen=True)
class Upright:
    """A photo the right way up.

    Args:
        image: RGB, shape ``(h, w, 3)``, uint8.
        faces: as :meth:`Aligner.faces` returns them, in px of ``image``, shape ``(n, 15)``.
        rotated: degrees by which the image was rotated clockwise: 0, 90, 180 or 270.
        seen: of the first face; None without one.
    """

    image: NDArray[np.uint8]
    faces: NDArray[np.float32]
    rotated: int = 0
    seen: FaceCheck | None = None


def find_upright(image: NDArray[np.uint8], aligner: Aligner) -> Upright:
    """Finds the faces of a photo, and turns it where they are not upright.

    Args:
        image: RGB, shape ``(h, w, 3)``, uint8.
        aligner: with a detector; of an upright face it runs once.
    """
    best = _looked_at(image, aligner)
    score, likely = _score(best.faces), _upright(best)
    if score >= _SURE and likely >= _LIKELY:
        return best
    least, value = score + _LEAD, max(score * likely, _LIKELY)
    for quarters in (1, 2, 3):
        turned = np.ascontiguousarray(np.rot90(image, -quarters))
        found = _looked_at(turned, aligner, 90 * quarters)
        score = _score(found.faces)
        if score >= least and score * _upright(found) > value:
            best, value = found, score * _upright(found)
    return best


def _looked_at(image: NDArray[np.uint8], aligner: Aligner, rotated: int = 0) -> Upright:
    faces = aligner.faces(image)
    return Upright(image, faces, rotated, check_face(image, faces[0, :4].tolist()) if len(faces) else None)


def _score(faces: NDArray[np.float32]) -> float:
    """The detector's confidence in the first face; 0 without one."""
    return float(faces[0, 14]) if len(faces) else 0.0


def _upright(found: Upright) -> float:
    """The probability that the first face is upright; 0 without one."""
    return 0.0 if found.seen is None else found.seen.turned[0]
