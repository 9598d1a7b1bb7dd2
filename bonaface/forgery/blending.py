"""Parts of a forgery: a face-shaped mask, colour transfer, and three ways to blend."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.images.alignment import ARCFACE_TEMPLATE, similarity_transform

__all__ = ["MEAN_POINTS", "alpha_blend", "face_mask", "multiband_blend", "poisson_blend", "transfer_colour"]

# Right eye, left eye, nose tip, mouth corners of the mean face in an image of an unrotated face with the whole head, as
# fractions of width and height.
MEAN_POINTS: NDArray[np.float32] = np.array(
    [[0.36, 0.42], [0.64, 0.415], [0.50, 0.57], [0.39, 0.695], [0.62, 0.695]], dtype=np.float32
)
# The inner face on ArcFace's 112 px template: brows to chin, cheek to cheek, as an ellipse's centre and half axes.
_INNER_CENTRE, _INNER_AXES = (56.0, 72.0), (31.0, 36.0)
# An outline that a detector found is the face's border: the mask hardly leaves it.
_INSIDE = 0.92
_CORNERS = 24
_LEVELS = 4
_LAB_SCALE = 1 / 255


def face_mask(shape: tuple[int, int], points: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """A soft mask over the inner face, another one at each call.

    The face's outline where it is known, or else an ellipse from brows to chin, bent by random waves and softened by a random blur.

    Args:
        shape: height and width in px.
        points: the face's five points in px, and after them its outline, a convex polygon: ``(5, 2)`` or ``(5 + k, 2)``.
        random: draws outline and softness, the same numbers with and without an outline.

    Returns:
        Weights in [0, 1], shape ``shape``; 0 at the border of the image.
    """
    angles = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    radius = np.full(_CORNERS, random.uniform(0.82, 1.16))
    for wave in (1, 2, 3):
        radius += random.normal(0, 0.045) * np.cos(wave * angles + random.uniform(0, 2 * np.pi))
    corners = _ellipse(points, angles, radius) if len(points) == 5 else _polygon(points[5:], angles, radius * _INSIDE)
    mask = np.zeros(shape, np.float32)
    cv2.fillPoly(mask, [np.round(corners).astype(np.int32)], 1.0)
    # Softness in shares of the distance between the eyes.
    sigma = random.uniform(0.02, 0.18) * float(np.linalg.norm(points[1] - points[0]))
    mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), max(sigma, 0.5)), dtype=np.float32)
    mask[[0, -1]] = 0
    mask[:, [0, -1]] = 0
    return mask


def _ellipse(points: NDArray[np.float32], angles: NDArray[Any], radius: NDArray[Any]) -> NDArray[np.float64]:
    """Corners around the inner face of ArcFace's template, laid on the five points: (24, 2)."""
    outline = np.array(_INNER_CENTRE) + np.array(_INNER_AXES) * radius[:, None] * _directions(angles)
    matrix = similarity_transform(ARCFACE_TEMPLATE, points)
    corners: NDArray[np.float64] = outline @ matrix[:, :2].T + matrix[:, 2]
    return corners


def _polygon(outline: NDArray[np.float32], angles: NDArray[Any], radius: NDArray[Any]) -> NDArray[np.float64]:
    """Corners in the directions of ``angles`` from the polygon's middle, ``radius`` times as far off as its border: (24, 2)."""
    steps = np.linspace(0, 1, 8, endpoint=False)[:, None, None]
    border = ((1 - steps) * outline + steps * np.roll(outline, -1, axis=0)).reshape(-1, 2)  # (8 k, 2)
    middle = (outline.min(axis=0) + outline.max(axis=0)) / 2
    offset = border - middle
    far = np.hypot(offset[:, 0], offset[:, 1])
    reach = np.interp(angles, np.arctan2(offset[:, 1], offset[:, 0]), far, period=2 * np.pi)
    corners: NDArray[np.float64] = middle + (reach * radius)[:, None] * _directions(angles)
    return corners


def _directions(angles: NDArray[Any]) -> NDArray[np.float64]:
    return np.column_stack([np.cos(angles), np.sin(angles)])


def transfer_colour(
    source: NDArray[np.uint8], target: NDArray[np.uint8], mask: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """``source`` with the colours that ``target`` has under the mask: mean and spread of each LAB channel.

    Source: Reinhard et al. 2001, "Color Transfer between Images".
    """
    inside = (mask > 0.5).astype(np.uint8)
    if not inside.any():
        return source
    first = cv2.cvtColor(source.astype(np.float32) * np.float32(_LAB_SCALE), cv2.COLOR_RGB2LAB)
    second = cv2.cvtColor(target.astype(np.float32) * np.float32(_LAB_SCALE), cv2.COLOR_RGB2LAB)
    mean, spread = (value.ravel() for value in cv2.meanStdDev(first, mask=inside))
    new_mean, new_spread = (value.ravel() for value in cv2.meanStdDev(second, mask=inside))
    # A flat patch must not be blown up into noise.
    gain = np.clip(new_spread / np.maximum(spread, 1e-3), 0.6, 1.6)
    moved = (first - mean) * gain + new_mean
    back = cv2.cvtColor(moved.astype(np.float32), cv2.COLOR_LAB2RGB)
    return np.asarray((np.clip(back, 0, 1) * 255).round(), dtype=np.uint8)


def alpha_blend(inner: NDArray[np.uint8], outer: NDArray[np.uint8], mask: NDArray[np.float32]) -> NDArray[np.uint8]:
    """``mask * inner + (1 - mask) * outer``."""
    return np.asarray(cv2.blendLinear(inner, outer, mask, 1 - mask), dtype=np.uint8)


def poisson_blend(inner: NDArray[np.uint8], outer: NDArray[np.uint8], mask: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Inner gradients, outer colours at the seam: blending in the gradient domain.

    Source: Perez, Gangnet & Blake 2003, "Poisson Image Editing".
    """
    hard = np.where(mask > 0.35, 255, 0).astype(np.uint8)
    hard[:2] = hard[-2:] = 0
    hard[:, :2] = hard[:, -2:] = 0
    x, y, width, height = cv2.boundingRect(hard)
    if width < 3 or height < 3:
        return outer
    centre = (x + width // 2, y + height // 2)
    return np.asarray(cv2.seamlessClone(inner, outer, hard, centre, cv2.NORMAL_CLONE), dtype=np.uint8)


def multiband_blend(inner: NDArray[np.uint8], outer: NDArray[np.uint8], mask: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Each band of frequencies with a seam as wide as its waves: a Laplacian pyramid under a Gaussian one.

    Source: Burt & Adelson 1983, "A Multiresolution Spline with Application to Image Mosaics".
    """
    first: NDArray[Any] = inner.astype(np.float32)
    second: NDArray[Any] = outer.astype(np.float32)
    weight: NDArray[Any] = mask
    bands: list[NDArray[Any]] = []
    for _ in range(_LEVELS):
        first_small, second_small = cv2.pyrDown(first), cv2.pyrDown(second)
        size = (first.shape[1], first.shape[0])
        first_band = first - cv2.pyrUp(first_small, dstsize=size)
        second_band = second - cv2.pyrUp(second_small, dstsize=size)
        bands.append(second_band + weight[..., None] * (first_band - second_band))
        first, second, weight = first_small, second_small, cv2.pyrDown(weight)
    blended: NDArray[Any] = second + weight[..., None] * (first - second)
    for band in reversed(bands):
        blended = cv2.pyrUp(blended, dstsize=(band.shape[1], band.shape[0])) + band
    return np.asarray(np.clip(blended, 0, 255).round(), dtype=np.uint8)
