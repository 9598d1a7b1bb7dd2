"""The shipped face detector by ONNX Runtime: in half of OpenCV's time, with the same weights.

YuNet as OpenCV Zoo publishes it holds 8-bit weights in a form that ONNX Runtime does not read, for images of one size. The file
that comes with the package holds the same numbers widened, for any size; ``benchmarks/face_detector.py`` wrote it.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.assets import FACE_DETECTOR

__all__ = ["SHIPPED", "YuNet"]

SHIPPED = "8f17dea8bc7db783988119a7e336f91b"
"""Digest of the published file whose weights the shipped detector has."""
_STRIDES = (8, 16, 32)
_MULTIPLE = 32
"""Images are padded to a multiple of this with black, as OpenCV does."""


class YuNet:
    """Faces of an image as ``cv2.FaceDetectorYN`` finds them. Several threads may use it.

    Args:
        score: the least confidence.
        overlap: of two boxes that overlap by more (intersection over union) the surer one is kept.
        most: boxes, the surest, among which overlaps are looked for.

    Source: Wu, Peng & Yu 2023, "YuNet: A Tiny Millisecond-level Face Detector"; OpenCV's face_detect.cpp.
    """

    def __init__(self, score: float, overlap: float, most: int) -> None:
        self.score, self.overlap, self.most = score, overlap, most

    @staticmethod
    def knows(content: bytes) -> bool:
        """True for the ONNX file whose weights the shipped detector has."""
        return hashlib.blake2b(content, digest_size=16).hexdigest() == SHIPPED

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Box (4), points (10) and score of each face, the surest first, shape ``(n, 15)``.

        Args:
            image: RGB, shape ``(h, w, 3)``, uint8.
        """
        below, beside = (-side % _MULTIPLE for side in image.shape[:2])
        padded = cv2.copyMakeBorder(image, 0, below, 0, beside, cv2.BORDER_CONSTANT)
        width = padded.shape[1]
        parts = _session().run(_OUTPUTS, {"input": cv2.dnn.blobFromImage(padded, swapRB=True)})  # YuNet reads BGR
        rows = np.concatenate(
            [
                self._decoded(parts[at : at + 4], stride, width // stride)
                for at, stride in zip((0, 4, 8), _STRIDES, strict=True)
            ]
        )
        if len(rows) < 2:
            return rows
        boxes = rows[:, :4].astype(np.int32).tolist()
        kept = cv2.dnn.NMSBoxes(boxes, rows[:, 14].tolist(), self.score, self.overlap, 1.0, self.most)
        return rows[np.asarray(kept, np.int64).ravel()]

    def _decoded(self, parts: list[NDArray[np.float32]], stride: int, columns: int) -> NDArray[np.float32]:
        """The faces that one stride of the network is sure of, shape ``(n, 15)``."""
        classes, objects, boxes, points = (part[0] for part in parts)  # (cells, 1), (cells, 1), (cells, 4), (cells, 10)
        scores = np.sqrt(np.clip(classes[:, 0], 0, 1) * np.clip(objects[:, 0], 0, 1))
        cells = np.flatnonzero(scores >= self.score)
        corner = np.column_stack([cells % columns, cells // columns]).astype(np.float32)  # (n, 2)
        size = np.exp(boxes[cells, 2:]) * stride
        left_top = (corner + boxes[cells, :2]) * stride - size / 2
        placed = (np.tile(corner, 5) + points[cells]) * stride
        return np.column_stack([left_top, size, placed, scores[cells]]).astype(np.float32)


_OUTPUTS = [f"{what}_{stride}" for stride in _STRIDES for what in ("cls", "obj", "bbox", "kps")]


@lru_cache(maxsize=1)
def _session() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(FACE_DETECTOR, options, providers=["CPUExecutionProvider"])
