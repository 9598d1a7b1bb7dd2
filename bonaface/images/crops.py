"""Face crops, native-resolution crops of them, and which of them a network looks at.

A face crop shows a face as large, and where, as in training, whatever the size of the photo.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.errors import ConfigError

__all__ = ["EYES", "InputSpec", "centre_crop", "face_crop", "face_square", "kinds_of", "random_crop", "square"]

ImageArray = NDArray[np.uint8]

# Mean of YuNet's points over 199 real photos of lfw-deepfakes/train, images of 160 px (standard deviations 0.03):
EYES = 0.29
"""Distance between the eyes, as a share of the face crop's side."""
_MIDDLE = (0.5, 0.41)
"""The point between the eyes, as shares of the face crop's width and height."""
# ArcFace's template has the eyes 35.2 px apart and the mouth 40.7 px below them: of a face in profile the eyes come close
# together and the mouth stays where it is.
_EYES_OF_MOUTH = 35.2 / 40.7


@dataclass(frozen=True)
class InputSpec:
    """A network's view of a photo.

    Args:
        kind: ``face_crop``, the square around the face, or ``aligned``, the face on the ArcFace template.
        size: side of the network's input in pixels.
        crop: take a native-resolution crop of ``size`` px from the face crop; else the network resizes the face crop.
        corners: at test time take the four corners beside the centre.
    """

    kind: Literal["face_crop", "aligned"]
    size: int
    crop: bool = False
    corners: bool = False

    def check(self, crop_size: int) -> None:
        """Raises ConfigError where a native-resolution crop would be larger than the face crop it is cut from."""
        if self.kind == "face_crop" and self.crop and self.size > crop_size:
            raise ConfigError(
                f"a crop of {self.size} pixels does not fit a face crop of {crop_size}: set faces.crop_size to at least it"
            )

    def at_test(self, image: ImageArray) -> ImageArray:
        """Image that a model is given of a face crop or an aligned face at test time, ``(h, w, 3)``; it cuts out corners itself."""
        return centre_crop(image, self.size) if self.crop and not self.corners else image


def kinds_of(views: Mapping[str, InputSpec]) -> tuple[str, ...]:
    """The kinds of images that some views are cut from, each once, sorted."""
    return tuple(sorted({view.kind for view in views.values()}))


def square(image: ImageArray, size: int) -> ImageArray:
    """The centre square of an image at ``size`` pixels; one that has them already is not resampled, so that its traces stay."""
    h, w = image.shape[:2]
    if min(h, w) != size:
        factor = size / min(h, w)
        filtering = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        new = (max(size, round(w * factor)), max(size, round(h * factor)))
        image = np.asarray(cv2.resize(image, new, interpolation=filtering), dtype=np.uint8)
    return centre_crop(image, size)


def centre_crop(image: ImageArray, size: int) -> ImageArray:
    """The middle ``size`` x ``size`` pixels."""
    top, left = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
    return image[top : top + size, left : left + size]


def random_crop(image: ImageArray, size: int, generator: np.random.Generator) -> ImageArray:
    """``size`` x ``size`` pixels from anywhere in the image."""
    top = int(generator.integers(image.shape[0] - size + 1))
    left = int(generator.integers(image.shape[1] - size + 1))
    return image[top : top + size, left : left + size]


def face_crop(image: ImageArray, size: int, points: NDArray[np.float32] | None) -> ImageArray:
    """Square around the face of a photo, or its centre square where no face is known, ``(size, size, 3)``.

    An image of this size is a face crop already and is taken as it is, so that its traces stay.

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
    crop = cv2.resize(image[y : y + whole, x : x + whole], (size, size), interpolation=filtering)
    return np.asarray(crop, dtype=np.uint8)
