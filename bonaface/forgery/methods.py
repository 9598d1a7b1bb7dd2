"""Deepfakes of roughly aligned face crops: self-blend, swap, reenact, re-render by classical means or a small auto-encoder.

Each method is a pure function of images and a generator: the same generator state gives the same forgery, so they serve a
folder of deepfakes and augmentation on the fly alike. Without landmarks the mean face's five points are assumed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.errors import ConfigError, DataError
from bonaface.forgery.blending import (
    MEAN_POINTS,
    alpha_blend,
    face_mask,
    multiband_blend,
    poisson_blend,
    transfer_colour,
)
from bonaface.images.alignment import similarity_transform

__all__ = ["METHODS", "NEEDS_DONOR", "forge"]

Image = NDArray[np.uint8]
Points = NDArray[np.float32]
Blend = Callable[[Image, Image, NDArray[np.float32]], Image]
_MIN_SIDE = 32
_JPEG_BLOCK = 16  # with 4:2:0 chroma
_SMALL_SIDES, _LARGE_SIDES = (
    (64, 80, 96, 112),
    (128, 144, 160),
)  # px that networks draw a face at; few, as each has to be prepared


def forge(
    face: Image,
    donor: Image | None,
    method: str,
    generator: np.random.Generator,
    points: Points | None = None,
    donor_points: Points | None = None,
) -> Image:
    """A deepfake of the person in ``face``.

    Args:
        face: RGB, shape ``(h, w, 3)``, uint8, at least 32 px: a face, unrotated and in the middle.
        donor: another person's image of the same shape, whose head gets the face; only the swaps use it.
        method: a name in :data:`METHODS`.
        generator: draws everything that is random; it moves on.
        points: the face's right eye, left eye, nose tip, mouth corners in px, ``(5, 2)``, and after them, where it is known, its
            outline, ``(5 + k, 2)``; None assumes the mean face.
        donor_points: the same of the donor.

    Returns:
        The forgery, shape ``(h, w, 3)``, uint8.

    Raises:
        ConfigError: if there is no such method.
        DataError: if an image or its points are not as said, or a swap has no donor.

    Example:
        >>> face = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        >>> forge(face, None, "self_blend", np.random.default_rng(1)).shape
        (64, 64, 3)
    """
    if method not in METHODS:
        raise ConfigError(f"forgery method {method!r}: expected one of {', '.join(METHODS)}")
    if donor is None and method in NEEDS_DONOR:
        raise DataError(f"forgery method {method}: expected a donor's image, got none")
    _check(face, points)
    if donor is None:
        donor, donor_points = face, points
    _check(donor, donor_points)
    if donor.shape != face.shape:
        raise DataError(f"donor: expected an image of the face's shape {face.shape}, got {donor.shape}")
    return METHODS[method](face, donor, generator, _or_mean(points, face), _or_mean(donor_points, donor))


def _check(image: Image, points: Points | None) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or min(image.shape[:2]) < _MIN_SIDE:
        raise DataError(
            f"face: expected RGB uint8 of shape (h, w, 3), {_MIN_SIDE} px or more, got {image.dtype} of {image.shape}"
        )
    if points is not None and (points[:5].shape != (5, 2) or len(points) in (6, 7) or not np.isfinite(points).all()):
        raise DataError(
            f"face points: expected five finite (x, y), or an outline of three or more after them, got shape {points.shape}"
        )


def _or_mean(points: Points | None, image: Image) -> Points:
    height, width = image.shape[:2]
    return MEAN_POINTS * np.array([width, height], np.float32) if points is None else points


def _self_blend(
    face: Image, _donor: Image, random: np.random.Generator, points: Points, _donor_points: Points
) -> Image:
    """The face on itself, after a change of colour, sharpness, size and place.

    Source: Shiohara & Yamasaki 2022, "Detecting Deepfakes with Self-Blended Images".
    """
    changed = _resharpened(_recoloured(face, random), random)
    inner, outer = (changed, face) if random.random() < 0.7 else (face, changed)
    inner = _nudged(inner, points, random)
    mask = face_mask(face.shape[:2], points, random) * np.float32(random.choice([0.75, 1.0, 1.0]))
    return (alpha_blend, multiband_blend)[int(random.random() < 0.25)](inner, outer, mask)


def _recoloured(image: Image, random: np.random.Generator) -> Image:
    """Gain, offset and contrast of each channel, as another camera would have it."""
    gain = random.uniform(0.82, 1.20) * random.uniform(0.94, 1.06, 3)
    offset = random.uniform(-10, 10) + random.uniform(-5, 5, 3)
    values = np.arange(256, dtype=np.float64)[:, None] * gain + offset  # (256, 3)
    table = np.clip(values, 0, 255).round().astype(np.uint8)[:, None]  # (256, 1, 3)
    return np.asarray(cv2.LUT(image, table), dtype=np.uint8)


def _resharpened(image: Image, random: np.random.Generator) -> Image:
    """Sharpened, or softened by going through a smaller image."""
    if random.random() < 0.4:
        soft = cv2.GaussianBlur(image, (0, 0), 1.5)
        amount = random.uniform(0.6, 1.4)
        return np.asarray(cv2.addWeighted(image, 1 + amount, soft, -amount, 0), dtype=np.uint8)
    return _through_smaller(image, random.uniform(0.40, 0.7))


def _through_smaller(image: Image, scale: float) -> Image:
    height, width = image.shape[:2]
    small = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _nudged(image: Image, points: Points, random: np.random.Generator) -> Image:
    """Moved and scaled a little about the nose."""
    eyes = float(np.linalg.norm(points[1] - points[0]))
    nose = (float(points[2, 0]), float(points[2, 1]))
    matrix = cv2.getRotationMatrix2D(nose, random.uniform(-3, 3), random.uniform(0.95, 1.07))
    shift = np.column_stack([np.zeros((2, 2)), random.uniform(-0.08, 0.08, 2) * eyes])
    return _warped(image, matrix + shift)


def _warped(image: Image, matrix: NDArray[Any]) -> Image:
    size = (image.shape[1], image.shape[0])
    moved = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(moved, dtype=np.uint8)


def _swap(blend: Blend) -> Method:
    """The inner face of ``face`` on the head of ``donor``, more or less in the donor's colours."""

    def swap(face: Image, donor: Image, random: np.random.Generator, points: Points, donor_points: Points) -> Image:
        inner = _warped(face, similarity_transform(points[:5], donor_points[:5]))
        inner = _swapped_detail(inner, random)
        mask = face_mask(donor.shape[:2], donor_points, random)
        recoloured, share = transfer_colour(inner, donor, mask), min(random.uniform(0.3, 1.7), 1.0)
        inner = np.asarray(cv2.addWeighted(recoloured, share, inner, 1 - share, 0), dtype=np.uint8)
        return blend(inner, donor, mask)

    return swap


def _swapped_detail(inner: Image, random: np.random.Generator) -> Image:
    """Most swappers' networks draw a small face, softer than the rest; some sharpen it, some keep the photo's pixels."""
    kind, scale = random.random(), random.uniform(0.4, 0.9)
    if kind < 0.6:
        return _through_smaller(inner, scale)
    return _resharpened(inner, random) if kind < 0.75 else inner


def _reenact(face: Image, _donor: Image, random: np.random.Generator, points: Points, _donor_points: Points) -> Image:
    """The face with another expression: mouth, brows and eyes pulled by smooth local moves."""
    eyes = float(np.linalg.norm(points[1] - points[0]))
    smile, opening, brows, skew = random.uniform(-1, 1, 4)
    mouth = points[3:5].mean(axis=0)
    pulls = [
        (points[3], (-0.10 * smile, -0.13 * smile + 0.04 * skew), 0.30),
        (points[4], (0.10 * smile, -0.13 * smile - 0.04 * skew), 0.30),
        (mouth + np.array([0, 0.25 * eyes]), (0.0, 0.16 * opening), 0.32),
        (points[0] - np.array([0, 0.28 * eyes]), (0.0, -0.12 * brows), 0.30),
        (points[1] - np.array([0, 0.28 * eyes]), (0.0, -0.12 * brows), 0.30),
    ]
    height, width = face.shape[:2]
    map_x = np.tile(np.arange(width, dtype=np.float32), (height, 1))
    map_y = np.tile(np.arange(height, dtype=np.float32)[:, None], (1, width))
    for centre, (right, down), reach in pulls:
        weight = _bump((height, width), centre, reach * eyes)
        map_x -= np.float32(right * eyes) * weight
        map_y -= np.float32(down * eyes) * weight
    moved = cv2.remap(face, map_x, map_y, interpolation=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(moved, dtype=np.uint8)


def _bump(shape: tuple[int, int], centre: NDArray[Any], reach: float) -> NDArray[np.float32]:
    """A Gaussian hill of height 1 around ``centre``: (h, w)."""
    across = np.exp(-(((np.arange(shape[1]) - centre[0]) / reach) ** 2))
    down = np.exp(-(((np.arange(shape[0]) - centre[1]) / reach) ** 2))
    return np.outer(down, across).astype(np.float32)


def _rerender(face: Image, _donor: Image, random: np.random.Generator, points: Points, _donor_points: Points) -> Image:
    """The inner face as a narrow network would draw it again: through a smaller image, a finish and JPEG."""
    drawn = _through_smaller(face, random.uniform(0.34, 0.7))
    finish = random.random()
    if finish < 0.4:
        drawn = np.asarray(cv2.GaussianBlur(drawn, (0, 0), random.uniform(0.5, 1.0)), dtype=np.uint8)
    elif finish < 0.55:
        drawn = np.asarray(cv2.bilateralFilter(drawn, 5, random.uniform(15, 40), 3.0), dtype=np.uint8)
    elif finish < 0.7:
        drawn = _resharpened(drawn, random)
    drawn = _through_jpeg(drawn, int(random.integers(35, 90)), random)
    return alpha_blend(drawn, face, face_mask(face.shape[:2], points, random))


def _through_jpeg(image: Image, quality: int, random: np.random.Generator) -> Image:
    """Coded on a grid of its own: on the image's, the blocks of the last encoding would fall on these and give them away."""
    top, left = (int(shift) for shift in random.integers(0, _JPEG_BLOCK, 2))
    moved = cv2.copyMakeBorder(image, top, 0, left, 0, cv2.BORDER_REFLECT)
    coded = cv2.imencode(".jpg", moved, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), dtype=np.uint8)
    return np.ascontiguousarray(decoded[top:, left:])


def _autoencode(
    face: Image, _donor: Image, random: np.random.Generator, points: Points, _donor_points: Points
) -> Image:
    """The inner face, or now and then all of the image, drawn again by a small auto-encoder: see forgery_autoencoder."""
    drawn = _through_autoencoder(face, random)
    if random.random() < 0.3:
        drawn = np.asarray(cv2.addWeighted(drawn, 0.7, face, 0.3, 0), dtype=np.uint8)
    mask = face_mask(face.shape[:2], points, random)
    whole, blend = random.random() < 0.25, (alpha_blend, multiband_blend)[int(random.random() < 0.25)]
    return drawn if whole else blend(drawn, face, mask)


def _through_autoencoder(face: Image, random: np.random.Generator) -> Image:
    """Through any variant, at the size of an image that its bottleneck lets a face through.

    A stride of 8 suits faces of 128 px and more. One of 4 draws the image as it is, once or twice, or at a small swapper's size.
    """
    from bonaface.forgery.autoencoder import AUTOENCODERS, rerender_by_autoencoder  # torch, for this method alone

    variant = tuple(AUTOENCODERS)[int(random.integers(len(AUTOENCODERS)))]
    origin = (int(random.integers(8)), int(random.integers(8)))
    twice, resizes = random.random() < 0.35, random.random() < 0.4
    small, large = random.choice(_SMALL_SIDES), random.choice(_LARGE_SIDES)
    height, width = face.shape[:2]
    if AUTOENCODERS[variant] == 8:
        scale, twice = max(large / min(height, width), 1), False
    elif resizes:
        scale, twice = min(small / min(height, width), 1), False
    else:
        scale = 1
    drawn = rerender_by_autoencoder(
        _resized(face, round(width * scale), round(height * scale)), variant, 1 + twice, origin
    )
    return _resized(drawn, width, height)


def _resized(image: Image, width: int, height: int) -> Image:
    shrinks = width < image.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), dtype=np.uint8)


Method = Callable[[Image, Image, np.random.Generator, Points, Points], Image]
METHODS: dict[str, Method] = {
    "self_blend": _self_blend,
    "swap_alpha": _swap(alpha_blend),
    "swap_poisson": _swap(poisson_blend),
    "swap_multiband": _swap(multiband_blend),
    "reenact": _reenact,
    "rerender": _rerender,
    "autoencode": _autoencode,
}
NEEDS_DONOR = frozenset(name for name in METHODS if name.startswith("swap_"))
