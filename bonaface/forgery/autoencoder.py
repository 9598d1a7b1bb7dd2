"""Images drawn again by small auto-encoders: a decoder network's marks, for forgeries that have no network of their own.

A GAN's generator, a VAE's decoder and the one behind a diffusion model end in the same few layers, and what these leave in an
image is alike: the grid of the upsampler, and detail that the bottleneck did not let through. The auto-encoders here have each
of the common upsamplers, and bottlenecks from narrow to wide. They were trained on the demo pack's photos of people who do not
exist, by benchmarks/forgery_autoencoder_training.py.

This module needs torch; ``faces.forgery`` imports it when an image is drawn again, and not before.

Sources: Odena, Dumoulin & Olah 2016, "Deconvolution and Checkerboard Artifacts"; Durall, Keuper & Keuper 2020, "Watch your
Up-Convolution: CNN Based Generative Deep Neural Networks are Failing to Reproduce Spectral Distributions".
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import vector_to_parameters

from bonaface.errors import ConfigError, DataError, ModelError

__all__ = ["AUTOENCODERS", "WEIGHTS", "AutoEncoder", "build_autoencoder", "rerender_by_autoencoder"]

WEIGHTS = "autoencoders.safetensors"
"""In bonaface/assets: of each variant all parameters in one float16 vector, in the order of its modules."""
_MIN_SIDE = 32
_COLOUR_CELL = 8  # px


@dataclass(frozen=True)
class _Shape:
    """Of a network: how it enlarges, its stride from the image to the bottleneck, channels there, width outside."""

    upsampler: str
    stride: int
    channels: int
    width: int


_SHAPES = {
    "transposed_4x8": _Shape("transposed", 4, 8, 12),
    "transposed_8x32": _Shape("transposed", 8, 32, 16),
    "overlapping_8x16": _Shape("overlapping", 8, 16, 12),
    "nearest_4x8": _Shape("nearest", 4, 8, 16),
    "nearest_8x16": _Shape("nearest", 8, 16, 12),
    "bilinear_4x16": _Shape("bilinear", 4, 16, 14),
    "bilinear_8x32": _Shape("bilinear", 8, 32, 16),
    "shuffle_4x8": _Shape("shuffle", 4, 8, 10),
    "shuffle_8x16": _Shape("shuffle", 8, 16, 8),
}
AUTOENCODERS = {name: shape.stride for name, shape in _SHAPES.items()}
"""Names, made of the upsampler and the bottleneck's stride and channels -> the stride."""


class AutoEncoder(nn.Module):
    """Strided convolutions down to a narrow bottleneck, and an upsampler per halving on the way back.

    Args:
        upsampler: ``transposed`` (kernel 4, stride 2), ``overlapping`` (kernel 3, stride 2: the uneven overlap that draws
            checkerboards), ``nearest`` or ``bilinear`` and a convolution, ``shuffle`` (a convolution, then pixel shuffle).
        stride: from the image to the bottleneck, a power of two of at least 4.
        channels: of the bottleneck.
        width: channels at half resolution; twice that below.
    """

    def __init__(self, upsampler: str, stride: int, channels: int, width: int) -> None:
        super().__init__()
        self.stride = stride
        widths = [3, width] + [2 * width] * (stride.bit_length() - 2)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.SiLU()]
        layers += [nn.Conv2d(widths[-1], channels, 1), nn.Conv2d(channels, widths[-1], 3, 1, 1), nn.SiLU()]
        for before, after in itertools.pairwise(widths[::-1]):
            layers += [_UPSAMPLERS[upsampler](before, after), nn.SiLU()]
        self.layers = nn.Sequential(*layers[:-1])  # no activation after the last: it draws the image

    def forward(self, images: Tensor) -> Tensor:
        """Images drawn again, ``(n, 3, h, w)`` in 0..1, sides multiples of the stride; the output may exceed the range."""
        return cast(Tensor, self.layers(images - 0.5)) + 0.5


def _transposed(before: int, after: int) -> nn.Module:
    return nn.ConvTranspose2d(before, after, 4, 2, 1)


def _overlapping(before: int, after: int) -> nn.Module:
    return nn.ConvTranspose2d(before, after, 3, 2, 1, output_padding=1)


def _nearest(before: int, after: int) -> nn.Module:
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(before, after, 3, 1, 1))


def _bilinear(before: int, after: int) -> nn.Module:
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(before, after, 3, 1, 1))


def _shuffle(before: int, after: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(before, 4 * after, 3, 1, 1), nn.PixelShuffle(2))


_UPSAMPLERS = {
    "transposed": _transposed,
    "overlapping": _overlapping,
    "nearest": _nearest,
    "bilinear": _bilinear,
    "shuffle": _shuffle,
}


def build_autoencoder(variant: str) -> AutoEncoder:
    """The untrained network of a name in :data:`AUTOENCODERS`."""
    shape = _SHAPES[variant]
    return AutoEncoder(shape.upsampler, shape.stride, shape.channels, shape.width)


def rerender_by_autoencoder(
    image: NDArray[np.uint8], variant: int | str, passes: int = 1, origin: tuple[int, int] = (0, 0)
) -> NDArray[np.uint8]:
    """The image as an auto-encoder draws it again.

    Args:
        image: RGB, shape ``(h, w, 3)``, uint8, at least 32 px.
        variant: a name in :data:`AUTOENCODERS`, or its position there.
        passes: how many times it goes through, at least 1.
        origin: down and right in px, where the network's grid begins, 0 to 31; a forged face is seldom pasted where it was drawn.

    Returns:
        The image drawn again, of the same shape.

    Raises:
        ConfigError: if there is no such variant.
        DataError: if the image, the passes or the origin are not as said.
        ModelError: if the package was installed without the weights.

    Example:
        >>> face = np.full((64, 50, 3), 128, np.uint8)
        >>> rerender_by_autoencoder(face, "nearest_4x8").shape
        (64, 50, 3)
    """
    network = _networks()[_name(variant)]
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or min(image.shape[:2]) < _MIN_SIDE:
        raise DataError(
            f"image: expected RGB uint8 of shape (h, w, 3), {_MIN_SIDE} px or more, got {image.dtype} of {image.shape}"
        )
    if passes < 1 or not all(0 <= start < _MIN_SIDE for start in origin):
        raise DataError(
            f"passes, origin: expected 1 or more, and two numbers from 0 to {_MIN_SIDE - 1}, got {passes}, {origin}"
        )
    height, width = image.shape[:2]
    top, left = (-start % network.stride for start in origin)
    # To one size for all origins: torch prepares a convolution anew for each size, which takes longer than the convolution.
    bottom, right = (-side % network.stride + network.stride for side in (height, width))
    pads = ((top, bottom - top), (left, right - left), (0, 0))
    padded = np.pad(image, pads, mode="reflect")
    with _one_thread(), torch.inference_mode():
        for _ in range(passes):
            padded = _drawn(network, padded)
    return np.ascontiguousarray(padded[top : top + height, left : left + width])


def _name(variant: int | str) -> str:
    if isinstance(variant, str) and variant in AUTOENCODERS:
        return variant
    if isinstance(variant, int) and 0 <= variant < len(AUTOENCODERS):
        return tuple(AUTOENCODERS)[variant]
    raise ConfigError(f"auto-encoder {variant!r}: expected one of {', '.join(AUTOENCODERS)}")


def _drawn(network: AutoEncoder, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255  # (1, 3, h, w)
    drawn = network(tensor)
    drawn = drawn + _lost_colour(tensor, drawn)
    drawn = drawn[0].mul(255).round().clamp(0, 255).byte()  # (3, h, w)
    return cast("NDArray[np.uint8]", drawn.permute(1, 2, 0).contiguous().numpy())


def _lost_colour(image: Tensor, drawn: Tensor) -> Tensor:
    """Difference of the drawing from the image's coarse colours: ``(1, 3, h, w)``, smooth.

    Narrow networks fade colours. Forgers match them afterwards, so that faded colour must not be what tells a forgery.
    """
    height, width = image.shape[-2:]
    coarse = functional.interpolate(image - drawn, (height // _COLOUR_CELL, width // _COLOUR_CELL), mode="area")
    return functional.interpolate(coarse, (height, width), mode="bilinear")


@contextmanager
def _one_thread() -> Iterator[None]:
    """These networks are too small to share out, and processes that forge side by side have a core each."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@functools.cache
def _networks() -> dict[str, AutoEncoder]:
    """All variants with their weights, read once a process."""
    source = resources.files("bonaface.assets") / WEIGHTS
    if not source.is_file():
        raise ModelError(f"{WEIGHTS}: is not in the installed package, expected it in bonaface/assets")
    weights = load(source.read_bytes())
    networks = {}
    for name in AUTOENCODERS:
        network = build_autoencoder(name).eval().requires_grad_(requires_grad=False)
        vector_to_parameters(weights[name].float(), network.parameters())
        networks[name] = network.to(memory_format=torch.channels_last)
    return networks
