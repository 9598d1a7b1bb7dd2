"""Check of a detected face by a small network: whether its eyes or its mouth are covered, and which way up it is.

A network of 30,000 weights looks at the square around the detector's box, not at landmarks: those are guesses where a face is
covered or turned. It was trained by ``benchmarks/face_check_training.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.assets import FACE_CHECK

__all__ = ["SIDE", "FaceCheck", "brightened", "check_face", "head_square"]

SIDE = 64
"""Side of the network's input in px."""
_MARGIN = 1.25
"""Side of the square around a face, as a share of the longer side of its box."""
_WHITE, _MIDDLE, _BLACK = 0.7, 0.5, 0.02
"""Least 98th percentile of a head square's grey, least median of the face's, and what is taken for darker than any, of 1."""


@dataclass(frozen=True)
class FaceCheck:
    """Findings of a face.

    Args:
        eyes_covered: the probability that something covers the eyes, sunglasses included.
        mouth_covered: the probability that something covers the mouth.
        turned: the probabilities that the image must be turned clockwise by 0, 90, 180 and 270 degrees to be upright.
    """

    eyes_covered: float
    mouth_covered: float
    turned: tuple[float, float, float, float]


def check_face(image: NDArray[np.uint8], box: Sequence[float]) -> FaceCheck:
    """Looks at one detected face.

    Args:
        image: RGB, shape ``(h, w, 3)``, uint8.
        box: left, top, width and height of the face in px.
    """
    square = brightened(head_square(image, box))
    output: NDArray[np.float32] = _session().run(None, {"faces": square[None]})[0]
    eyes, mouth, *turned = (float(value) for value in output[0])
    return FaceCheck(eyes, mouth, (turned[0], turned[1], turned[2], turned[3]))


def head_square(
    image: NDArray[np.uint8], box: Sequence[float], size: int = SIDE, margin: float = _MARGIN
) -> NDArray[np.uint8]:
    """The square around a face's box, ``(size, size, 3)``; beyond the image its edge is repeated."""
    x, y, w, h = box
    side = max(w, h, 1.0) * margin
    scale = size / side
    if scale < 0.5:  # warpAffine would skip pixels
        height, width = (max(1, round(2 * scale * each)) for each in image.shape[:2])
        shrunk = width / image.shape[1]
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        x, y, w, h, scale = x * shrunk, y * shrunk, w * shrunk, h * shrunk, scale / shrunk
    matrix = np.array([[scale, 0, size / 2 - scale * (x + w / 2)], [0, scale, size / 2 - scale * (y + h / 2)]])
    warped = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.uint8)


def brightened(square: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A head square in even light: an underexposed one scaled to white, and a dark face lifted to mid-grey by a gamma curve.

    As it is, the network takes eyes in the shadow of a dark face for covered ones and overlooks sunglasses on it.

    Args:
        square: as :func:`head_square` returns it.
    """
    grey = cv2.cvtColor(square, cv2.COLOR_RGB2GRAY) / 255.0
    edge = len(square) // 4
    white = max(_quantile(grey, 0.98), _BLACK)
    gain = max(_WHITE / white, 1.0)
    light = max(gain * _quantile(grey[edge:-edge, edge:-edge], 0.5), _BLACK)
    gamma = min(np.log(_MIDDLE) / np.log(light), 1.0) if light < 1 else 1.0
    curve = np.minimum(np.linspace(0, gain, 256), 1) ** gamma
    return np.asarray(np.rint(255 * curve).astype(np.uint8)[square], np.uint8)


def _quantile(values: NDArray[Any], share: float) -> float:
    """As ``np.quantile``, which imports ``numpy.ma``: 40 ms of the first verdict."""
    return float(np.interp(share * (values.size - 1), np.arange(values.size), np.sort(values, axis=None)))


@lru_cache(maxsize=1)
def _session() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(FACE_CHECK, options, providers=["CPUExecutionProvider"])
