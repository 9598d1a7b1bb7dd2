"""What of a photo a network looks at: the whole frame, a piece of it that is not resampled, or the aligned face."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.errors import ConfigError

__all__ = ["InputSpec", "centre_crop", "kinds_of", "random_crop", "square"]

ImageArray = NDArray[np.uint8]


@dataclass(frozen=True)
class InputSpec:
    """A network's view of a photo.

    Args:
        kind: ``frame``, the photo as a square, or ``aligned``, the face on the ArcFace template.
        size: side of the network's input in pixels.
        crop: of the frame, take ``size`` pixels square as they are, where false it is resized by the network.
        corners: at test time take the four corners beside the centre.
    """

    kind: Literal["frame", "aligned"]
    size: int
    crop: bool = False
    corners: bool = False

    def check(self, frame_size: int) -> None:
        """Raises ConfigError where a crop would be larger than the frame it is cut from."""
        if self.kind == "frame" and self.crop and self.size > frame_size:
            raise ConfigError(
                f"a crop of {self.size} pixels does not fit a face crop of {frame_size}: set faces.crop_size to at least it"
            )

    def at_test(self, image: ImageArray) -> ImageArray:
        """What a model is given of a frame or an aligned face, shape ``(h, w, 3)``, at test time; it cuts out corners itself."""
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
