"""Corruptions that images meet on their way: compression, rescaling, blur, noise, light, video, print; each of one strength."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.images.alignment import shrink

__all__ = ["CORRUPTIONS"]

ImageArray = NDArray[np.uint8]
Corruption = Callable[[ImageArray, np.random.Generator], ImageArray]


def _jpeg(quality: int) -> Corruption:
    def corrupt(image: ImageArray, _: np.random.Generator) -> ImageArray:
        data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return np.ascontiguousarray(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)[:, :, ::-1])

    return corrupt


def _halved(image: ImageArray, _: np.random.Generator) -> ImageArray:
    height, width = (max(2, side // 2) for side in image.shape[:2])
    return shrink(image, height, width)


def _small(image: ImageArray, _: np.random.Generator) -> ImageArray:
    """64 px on the shorter side, as small images of a web page have; a smaller one stays."""
    height, width = image.shape[:2]
    ratio = min(1.0, 64 / min(height, width))
    return shrink(image, max(1, round(height * ratio)), max(1, round(width * ratio)))


def _blurred(image: ImageArray, _: np.random.Generator) -> ImageArray:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 1.5), dtype=np.uint8)


def _video(image: ImageArray, _: np.random.Generator) -> ImageArray:
    """A frame of analogue video: soft along its lines, and sharpened for it."""
    soft = cv2.GaussianBlur(image, (0, 0), sigmaX=1.5, sigmaY=0.75)
    return np.asarray(cv2.addWeighted(soft, 2.5, cv2.GaussianBlur(soft, (0, 0), 1.5), -1.5, 0), dtype=np.uint8)


def _scan(image: ImageArray, rng: np.random.Generator) -> ImageArray:
    """A scan of an old print: grey, out of focus and with the paper's grain."""
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 2.0)
    grainy = grey + 3 * rng.standard_normal(grey.shape, dtype=np.float32)
    return np.repeat(np.clip(np.rint(grainy), 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def _noisy(image: ImageArray, rng: np.random.Generator) -> ImageArray:
    noise = 8 * rng.standard_normal(image.shape, dtype=np.float32)
    return np.asarray(np.clip(np.rint(image + noise), 0, 255).astype(np.uint8))


def _light(factor: float) -> Corruption:
    curve = np.clip(np.rint(np.arange(256) * factor), 0, 255).astype(np.uint8)
    return lambda image, _: np.asarray(curve[image])


CORRUPTIONS: dict[str, Corruption] = {
    "as they are": lambda image, _: image,
    "JPEG 90": _jpeg(90),
    "JPEG 60": _jpeg(60),
    "JPEG 30": _jpeg(30),
    "half size": _halved,
    "64 px": _small,
    "blur, sigma 1.5 px": _blurred,
    "analogue video": _video,
    "scan of a print": _scan,
    "noise, sigma 8 of 255": _noisy,
    "brightness x 0.6": _light(0.6),
    "brightness x 1.4": _light(1.4),
}
"""Name -> function of an image (RGB, shape (h, w, 3)) and a source of chance."""
