"""What happens to a picture on its way: compression, rescaling, blur, noise, light, video, print. Each has one fixed strength."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.faces.alignment import shrink

__all__ = ["PERTURBATIONS"]

Picture = NDArray[np.uint8]
Perturbation = Callable[[Picture, np.random.Generator], Picture]


def _jpeg(quality: int) -> Perturbation:
    def perturb(picture: Picture, _: np.random.Generator) -> Picture:
        data = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return np.ascontiguousarray(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)[:, :, ::-1])

    return perturb


def _halved(picture: Picture, _: np.random.Generator) -> Picture:
    height, width = (max(2, side // 2) for side in picture.shape[:2])
    return shrink(picture, height, width)


def _small(picture: Picture, _: np.random.Generator) -> Picture:
    """64 px on the shorter side, as small pictures of a web page have; a smaller one stays."""
    height, width = picture.shape[:2]
    ratio = min(1.0, 64 / min(height, width))
    return shrink(picture, max(1, round(height * ratio)), max(1, round(width * ratio)))


def _blurred(picture: Picture, _: np.random.Generator) -> Picture:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 1.5), dtype=np.uint8)


def _video(picture: Picture, _: np.random.Generator) -> Picture:
    """A frame of analogue video: soft along its lines, and sharpened for it."""
    soft = cv2.GaussianBlur(picture, (0, 0), sigmaX=1.5, sigmaY=0.75)
    return np.asarray(cv2.addWeighted(soft, 2.5, cv2.GaussianBlur(soft, (0, 0), 1.5), -1.5, 0), dtype=np.uint8)


def _scan(picture: Picture, rng: np.random.Generator) -> Picture:
    """A scan of an old print: grey, out of focus and with the paper's grain."""
    grey = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (0, 0), 2.0)
    grainy = grey + 3 * rng.standard_normal(grey.shape, dtype=np.float32)
    return np.repeat(np.clip(np.rint(grainy), 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def _noisy(picture: Picture, rng: np.random.Generator) -> Picture:
    noise = 8 * rng.standard_normal(picture.shape, dtype=np.float32)
    return np.asarray(np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8))


def _light(factor: float) -> Perturbation:
    curve = np.clip(np.rint(np.arange(256) * factor), 0, 255).astype(np.uint8)
    return lambda picture, _: np.asarray(curve[picture])


PERTURBATIONS: dict[str, Perturbation] = {
    "as they are": lambda picture, _: picture,
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
"""Name -> function of a picture (RGB, shape (h, w, 3)) and a source of chance."""
