"""A photo of any size becomes the square frame that networks look at: its face as large, and where, as in training."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.images.crops import square

__all__ = ["EYES", "face_square", "frame"]

ImageArray = NDArray[np.uint8]

# Mean of YuNet's points over 199 real photos of lfw-deepfakes/train, images of 160 px (standard deviations 0.03):
EYES = 0.29
"""Distance between the eyes, as a share of the frame's side."""
_MIDDLE = (0.5, 0.41)
"""The point between the eyes, as shares of the frame's width and height."""
# ArcFace's template has the eyes 35.2 px apart and the mouth 40.7 px below them: of a face in profile the eyes come close
# together and the mouth stays where it is.
_EYES_OF_MOUTH = 35.2 / 40.7


def frame(image: ImageArray, size: int, points: NDArray[np.float32] | None) -> ImageArray:
    """The frame of a photo, shape ``(size, size, 3)``.

    An image that has this size already is one: it is taken as it is, so that its traces stay. Of any other the square around
    its face is cut, or its centre square where no face is known.

    Args:
        image: RGB, shape ``(h, w, 3)``.
        size: side in pixels.
        points: right eye, left eye, nose, right and left corner of the mouth, in px of ``image``, ``(5, 2)``.
    """
    if image.shape[:2] == (size, size) or points is None:
        return square(image, size)
    return _cut(image, *face_square(points), size)


def face_square(points: NDArray[np.float32]) -> tuple[float, float, float]:
    """Left, top and side of the square around a face, in px of its image; it may reach beyond the image.

    Example:
        >>> points = np.float32([[71, 82], [129, 82], [100, 115], [75, 149], [125, 149]])
        >>> [round(each) for each in face_square(points)]
        [0, 0, 200]
    """
    eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    apart = float(np.linalg.norm(points[0] - points[1]))
    side = max(apart, _EYES_OF_MOUTH * float(np.linalg.norm(mouth - eyes)), 1.0) / EYES
    return float(eyes[0]) - _MIDDLE[0] * side, float(eyes[1]) - _MIDDLE[1] * side, side


def _cut(image: ImageArray, left: float, top: float, side: float, size: int) -> ImageArray:
    """A square of an image at ``size`` px, moved and shrunk until it lies in the image.

    Filled up from the image's mirror image it would keep the face's size, but networks take the seam for a forgery's.
    """
    height, width = image.shape[:2]
    whole = min(max(round(side), 1), height, width)
    x, y = (min(max(round(start), 0), most - whole) for start, most in ((left, width), (top, height)))
    filtering = cv2.INTER_AREA if whole > size else cv2.INTER_CUBIC
    framed = cv2.resize(image[y : y + whole, x : x + whole], (size, size), interpolation=filtering)
    return np.asarray(framed, dtype=np.uint8)
