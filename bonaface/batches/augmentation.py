"""Augmentation of training images: flip, degradation, torchvision transforms, crops."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from bonaface.errors import ConfigError
from bonaface.images.crops import InputSpec, random_crop

__all__ = ["Augmentation", "degrade", "torchvision_transforms"]

ImageArray = NDArray[np.uint8]
Transform = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Augmentation:
    """From a stored image to a training image.

    Args:
        flip: probability of a horizontal flip.
        degrade: probability of ``degrade``.
        transforms: torchvision v2 transforms, applied in turn.
    """

    flip: float = 0.0
    degrade: float = 0.0
    transforms: tuple[Transform, ...] = ()

    def __call__(self, image: ImageArray, view: InputSpec, generator: np.random.Generator) -> ImageArray:
        """A random variant of ``image`` ``(h, w, 3)`` as ``view`` wants it; deterministic by the generator."""
        if generator.random() < self.flip:
            image = image[:, ::-1]
        if generator.random() < self.degrade:
            image = degrade(image, generator)
        if self.transforms:
            image = self._transformed(image, generator)
        return random_crop(image, view.size, generator) if view.crop else image

    def _transformed(self, image: ImageArray, generator: np.random.Generator) -> ImageArray:
        # torchvision draws from torch's global generator: it is seeded here from ours, and put back.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(generator.integers(2**31)))
            tensor = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)  # (3, h, w)
            for transform in self.transforms:
                tensor = transform(tensor)
        return np.ascontiguousarray(tensor.permute(1, 2, 0).numpy())


def torchvision_transforms(named: Sequence[tuple[str, Mapping[str, Any]]]) -> tuple[Transform, ...]:
    """Makes torchvision v2 transforms from (name, options) pairs.

    Raises:
        ConfigError: if there is no such transform, or it refuses its options.
    """
    from torchvision.transforms import v2

    made: list[Transform] = []
    for name, options in named:
        found = getattr(v2, name, None)
        if not isinstance(found, type) or not issubclass(found, v2.Transform):
            raise ConfigError(f'faces.transforms: torchvision.transforms.v2 has no transform "{name}"')
        try:
            made.append(found(**options))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"faces.transforms: {name}: {error}") from error
    return tuple(made)


def degrade(image: ImageArray, generator: np.random.Generator) -> ImageArray:
    """Degrade an image at random, as happens between cameras and users.

    Light, tone, loss of colour, another framing, a smaller image, print, blur, smoothing, sharpening, noise and JPEG: each is
    taken or not by itself, in this order, which is that of a photo's life. A smaller image is enlarged at the end.
    """
    height, width = image.shape[:2]
    taken = generator.random(len(_LIFE)) < tuple(_LIFE.values())
    for step, take in zip(_LIFE, taken, strict=True):
        if take:
            image = step(np.ascontiguousarray(image), generator)
    return image if image.shape[:2] == (height, width) else _resized(image, width, height, generator)


def _light(image: ImageArray, generator: np.random.Generator) -> ImageArray:
    gain, offset = generator.uniform(0.75, 1.25), generator.uniform(-20, 20)
    curve = np.clip(np.arange(256) * gain + offset, 0, 255).astype(np.uint8)
    return np.asarray(curve[image])


def _tone(image: ImageArray, generator: np.random.Generator) -> ImageArray:
    """Another camera's colours: white balance, gamma and saturation."""
    gains, gamma = generator.uniform(0.85, 1.15, 3), generator.uniform(0.7, 1.45)
    levels = (np.arange(256) / 255) ** gamma * 255
    curves = np.clip(levels[:, None] * gains, 0, 255).astype(np.uint8)[:, None]  # (256, 1, 3)
    toned = np.asarray(cv2.LUT(image, curves), dtype=np.uint8)
    saturation = generator.uniform(0.3, 1.5)
    return np.asarray(cv2.addWeighted(toned, saturation, _grey(toned, generator), 1 - saturation, 0), dtype=np.uint8)


def _grey(image: ImageArray, generator: np.random.Generator) -> ImageArray:
    return np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)


def _reframe(image: ImageArray, generator: np.random.Generator) -> ImageArray:
    """Nearer or farther, and a little turned: other crops than the data's; a face that fills its image is half as large again."""
    h, w = image.shape[:2]
    zoom = _log_uniform(0.8, 1.6, generator)
    matrix = cv2.getRotationMatrix2D((w / 2, h / 2), generator.uniform(-8, 8), zoom)
    filtering = int(generator.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC]))
    moved = cv2.warpAffine(image, matrix, (w, h), flags=filtering, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(moved, dtype=np.uint8)


def _smaller(image: ImageArray, generator: np.random.Generator) -> ImageArray:
    """An image of fewer pixels: what comes after it happens to these, and is enlarged with them."""
    h, w = image.shape[:2]
    factor = generator.uniform(0.28, 0.95)
    return _resized(image, max(2, round(w * factor)), max(2, round(h * factor)), generator)


def _resized(image: ImageArray, width: int, height: int, generator: np.random.Generator) -> ImageArray:
    filtering = int(generator.choice([cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC]))
    return np.asarray(cv2.resize(image, (width, height), interpolation=filtering), dtype=np.uint8)


def _print(image: ImageArray, generator: np.random.Generator) -> ImageArray:
    """Printed in a screen of dots on paper that is neither black nor white, and scanned; in grey mostly."""
    if generator.random() < 0.7:
        image = _grey(image, generator)
    h, w = image.shape[:2]
    turn, cell = generator.uniform(0, np.pi / 2), generator.uniform(1.8, 4.0)  # px between dots
    y, x = np.mgrid[:h, :w].astype(np.float32) * np.float32(2 * np.pi / cell)
    dots = (
        np.cos(x * np.cos(turn) + y * np.sin(turn)) + np.cos(y * np.cos(turn) - x * np.sin(turn))
    ) / 4  # -0.5 to 0.5
    ink = image / np.float32(255) + np.float32(generator.uniform(0.05, 0.6)) * dots[..., None].astype(np.float32)
    black, white = generator.uniform(0, 80), generator.uniform(170, 255)
    scanned = cv2.GaussianBlur(np.clip(ink, 0, 1), (0, 0), generator.uniform(0.5, 1.1))
    return np.asarray(black + scanned * (white - black), dtype=np.uint8)


def _blur(image: ImageArray, generator: np.random.Generator) -> ImageArray:
    """A lens out of focus, or, where it is more along one side, motion and the lines of video."""
    sigma = _log_uniform(0.3, max(0.5, 0.0175 * min(image.shape[:2])), generator)  # 2.8 px of 160
    longer = _log_uniform(1.0, 3.0, generator) if generator.random() < 0.4 else 1.0
    sides = (sigma, sigma / longer) if generator.random() < 0.7 else (sigma / longer, sigma)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigmaX=sides[0], sigmaY=sides[1]), dtype=np.uint8)


def _smooth(image: ImageArray, generator: np.random.Generator) -> ImageArray:
    """As phones and sites take out noise: flat parts lose their texture and edges stay."""
    if generator.random() < 0.4:
        return np.asarray(cv2.medianBlur(image, 3), dtype=np.uint8)
    strength = generator.uniform(8, 30)
    return np.asarray(cv2.bilateralFilter(image, 5, strength, 2.0), dtype=np.uint8)


def _sharpen(image: ImageArray, generator: np.random.Generator) -> ImageArray:
    soft = cv2.GaussianBlur(image, (0, 0), generator.uniform(0.7, 2.0))
    amount = _log_uniform(0.2, 2.2, generator)
    return np.asarray(cv2.addWeighted(image, 1 + amount, soft, -amount, 0), dtype=np.uint8)


def _noise(image: ImageArray, generator: np.random.Generator) -> ImageArray:
    """A sensor's noise, or the grain of film and paper: coarser, and often the same in all colours."""
    h, w = image.shape[:2]
    grain = generator.standard_normal((h, w, 1 if generator.random() < 0.4 else 3), dtype=np.float32)
    if generator.random() < 0.4:
        coarse = cv2.GaussianBlur(grain, (0, 0), generator.uniform(0.4, 1.2)).reshape(grain.shape)
        grain = np.asarray(coarse / max(float(coarse.std()), 1e-6), dtype=np.float32)
    return np.clip(image + grain * np.float32(_log_uniform(1, 9, generator)), 0, 255).astype(np.uint8)


def _jpeg(image: ImageArray, generator: np.random.Generator) -> ImageArray:
    quality = int(generator.integers(40, 96))
    _, data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)
    return np.ascontiguousarray(decoded[:, :, ::-1])


def _log_uniform(low: float, high: float, generator: np.random.Generator) -> float:
    return float(np.exp(generator.uniform(np.log(low), np.log(high))))


_LIFE = {
    _light: 0.4,
    _tone: 0.35,
    _grey: 0.15,
    _reframe: 0.45,
    _smaller: 0.4,
    _print: 0.08,
    _blur: 0.35,
    _smooth: 0.12,
    _sharpen: 0.3,
    _noise: 0.3,
    _jpeg: 0.6,
}
"""How likely each step of ``degrade`` is."""
