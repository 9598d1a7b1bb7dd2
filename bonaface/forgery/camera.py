"""One last camera for real photos and forgeries, so that nothing but the face tells them apart.

Three things would: a photo that was never resampled still has the JPEG grid of its source, a forged part lost it; a
photo and a forgery that were encoded differently have other quantisation tables; a softened face takes fewer bytes.
So both halves are cropped anew, encoded at a quality from one distribution, and a forgery gets back the detail or grain
that its image had in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.errors import ConfigError
from bonaface.images.alignment import shrink

__all__ = ["Camera", "Crop"]

Image = NDArray[np.uint8]
_ZOOM = (0.93, 0.99)
_TURN = 2.0
_HALVINGS = 6
_STRONGEST = 4.0


@dataclass(frozen=True)
class Crop:
    """Image as the camera cropped it.

    Attributes:
        image: RGB, shape ``(size, size, 3)``, uint8.
        points: the face's five points in px of it, and after them its outline, ``(5 + k, 2)``; None where they were not known.
    """

    image: Image
    points: NDArray[np.float32] | None


@dataclass(frozen=True)
class Camera:
    """Crops and encodes images.

    Args:
        size: side of its images in px.
        quality: lowest and highest JPEG quality; each image's is drawn between them, both included.

    Raises:
        ConfigError: if the size is below 32 px or the qualities are not in order or not in 30 to 100.

    Example:
        >>> camera = Camera(64, (80, 90))
        >>> image = np.full((90, 70, 3), 128, np.uint8)
        >>> camera.crop(image, None, np.random.default_rng(0)).image.shape
        (64, 64, 3)
    """

    size: int
    quality: tuple[int, int] = (75, 95)

    def __post_init__(self) -> None:
        low, high = self.quality
        if self.size < 32:
            raise ConfigError(f"size: expected at least 32 pixels, got {self.size}")
        if not 30 <= low <= high <= 100:
            raise ConfigError(f"quality: expected LOW-HIGH with 30 <= LOW <= HIGH <= 100, got {low}-{high}")

    def crop(self, image: Image, points: NDArray[np.float32] | None, random: np.random.Generator) -> Crop:
        """The middle of a photo, a little nearer, shifted and turned at random: always resampled, so that no old JPEG grid stays.

        Args:
            image: RGB, shape ``(h, w, 3)``, of any size.
            points: any points of the face in px of ``image``, ``(k, 2)``, or None.
            random: draws the crop; three numbers and a pair, whatever the image.
        """
        side = min(image.shape[:2])
        zoom, turn = random.uniform(*_ZOOM), random.uniform(-_TURN, _TURN)
        free = (1 - zoom) / 2 * side  # how far the crop can move without leaving the image
        shift = random.uniform(-free, free, 2)
        if side > 2 * self.size:  # bilinear and cubic sampling skip pixels beyond that
            ratio = 2 * self.size / side
            image = shrink(image, round(image.shape[0] * ratio), round(image.shape[1] * ratio))
            points = None if points is None else points * np.float32(ratio)
            shift, side = shift * ratio, min(image.shape[:2])
        height, width = image.shape[:2]
        centre = np.array([width / 2, height / 2]) + shift
        matrix = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), turn, self.size / (zoom * side))
        matrix = np.asarray(matrix + np.column_stack([np.zeros((2, 2)), self.size / 2 - centre]))
        cropped = cv2.warpAffine(
            image, matrix, (self.size, self.size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
        )
        moved = None if points is None else (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
        return Crop(np.asarray(cropped, dtype=np.uint8), moved)

    def draw_quality(self, random: np.random.Generator) -> int:
        """A JPEG quality, every one between the lowest and the highest alike."""
        return int(random.integers(self.quality[0], self.quality[1] + 1))

    def encode(self, image: Image, quality: int) -> bytes:
        """The image as a JPEG file with 4:2:0 chroma, as cameras and sites write it."""
        settings = [
            cv2.IMWRITE_JPEG_QUALITY,
            quality,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
        ]
        return cv2.imencode(".jpg", image[:, :, ::-1], settings)[1].tobytes()

    def develop(self, image: Image, random: np.random.Generator) -> Image:
        """The image as it is read back from the camera's JPEG file."""
        coded = np.frombuffer(self.encode(image, self.draw_quality(random)), np.uint8)
        developed = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), dtype=np.uint8)
        return np.ascontiguousarray(developed[:, :, ::-1])

    def evened(self, forged: Image, before: Image, quality: int, random: np.random.Generator) -> Image:
        """The forgery with as much detail in its forged part as makes its file as large as the file of the image before.

        A softened part is sharpened and grained, a sharpened one softened, by bisection on the size at ``quality``. Swappers'
        post-processing does the same by eye; without it file size alone would tell forgeries from photos.

        Args:
            forged: shape ``(h, w, 3)``.
            before: the image that was forged (of a swap the donor's), same shape.
            quality: that the forgery will be encoded at.
            random: draws the grain and its share.
        """
        wanted = len(self.encode(before, quality))
        now = len(self.encode(forged, quality))
        change = np.abs(forged.astype(np.float32) - before).max(axis=2)  # (h, w)
        where = cv2.GaussianBlur((change > 2).astype(np.float32), (0, 0), self.size / 40)[..., None]  # (h, w, 1)
        start = forged.astype(np.float32)
        detail = start - cv2.GaussianBlur(start, (0, 0), random.uniform(0.8, 1.6))
        grain = cv2.GaussianBlur(random.normal(0, 8, forged.shape).astype(np.float32), (0, 0), random.uniform(0.4, 0.7))
        share = np.float32(random.uniform(0.0, 0.6))
        step = where * (((1 - share) * detail + share * grain) if now < wanted else -detail)
        low, high = 0.0, _STRONGEST if now < wanted else 1.0
        best = forged
        for _ in range(_HALVINGS):
            amount = (low + high) / 2
            best = np.clip(start + np.float32(amount) * step, 0, 255).round().astype(np.uint8)
            more_is_needed = (len(self.encode(best, quality)) < wanted) == (now < wanted)
            low, high = (amount, high) if more_is_needed else (low, amount)
        return best
