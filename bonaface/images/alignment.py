"""An image becomes an aligned face: a detector's five points, and the similarity that lays them on a template.

Recognisers trained in ArcFace's tradition want a face of 112 px whose eyes, nose and mouth corners lie on fixed points.
YuNet (Wu, Peng & Yu, 2023, "YuNet: A Tiny Millisecond-level Face Detector") finds the five in about a millisecond.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.errors import DataError, ModelError
from bonaface.images.decoding import refuse_no_image
from bonaface.images.quiet import quiet_opencv
from bonaface.images.yunet import YuNet
from bonaface.reading import read_regular

__all__ = ["ARCFACE_TEMPLATE", "AlignedFace", "Aligner", "prominence", "shrink", "similarity_transform"]

# Right eye, left eye, nose tip, right and left corner of the mouth (the person's own right: left in the image), in px
# of a 112 x 112 image. Source: Deng et al. 2019, "ArcFace", and its reference code.
ARCFACE_TEMPLATE: NDArray[np.float32] = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    dtype=np.float32,
)
_TEMPLATE_SIZE = 112
# Where the centre crop lies in an image of one unrotated face with the whole head: near the mean of YuNet's points over
# such images, laid on the template. Fractions of the shorter side.
_CROP_SIDE = 0.83
_CROP_CENTRE = (0.5, 0.45)
# Longest side in px at which faces are looked for, and whether a border is put around the image: one after the other, until one is
# found. At first the face is taken to be the image's subject.
_TRIES = ((640, False), (640, True), (1280, False), (2560, False))
_SCORE_THRESHOLD = 0.6
_NMS_THRESHOLD = 0.3
_TOP_K = 100

Detector = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True)
class AlignedFace:
    """One face, ready for a recogniser.

    Attributes:
        image: RGB, shape ``(size, size, 3)``, uint8.
        found: whether the detector found a face; without one ``image`` is a centre crop.
        points: right eye, left eye, nose tip, right and left mouth corner, as (x, y) in px of the source image,
            ``(5, 2)``.
        box: x, y, width and height in px of the source image, ``(4,)``.
        score: the detector's confidence in [0, 1]; 0 where nothing was found.
    """

    image: NDArray[np.uint8]
    found: bool
    points: NDArray[np.float32] | None
    box: NDArray[np.float32] | None
    score: float


def similarity_transform(source: NDArray[Any], target: NDArray[Any]) -> NDArray[np.float64]:
    """Rotation, uniform scale and shift that bring ``source`` nearest to ``target`` in the least-squares sense.

    Args:
        source: points, shape ``(n, 2)``, n >= 2, not all equal.
        target: where they should go, shape ``(n, 2)``.

    Returns:
        The matrix ``(2, 3)`` with ``matrix @ (x, y, 1)`` near the target. It never mirrors.

    Raises:
        DataError: if the source points are all one point.

    Source: Umeyama 1991, "Least-squares estimation of transformation parameters between two point patterns", TPAMI 13.

    Example:
        >>> square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
        >>> similarity_transform(square, 2 * square + [3, 4]).round(6) + 0.0
        array([[2., 0., 3.],
               [0., 2., 4.]])
    """
    source_mean = np.asarray(source, dtype=np.float64).mean(axis=0)
    target_mean = np.asarray(target, dtype=np.float64).mean(axis=0)
    source_centred, target_centred = source - source_mean, target - target_mean
    spread = float((source_centred**2).sum())
    if spread <= 0:
        raise DataError("face points: all five lie on one point, expected five different ones")
    u, singular, vt = np.linalg.svd(target_centred.T @ source_centred)  # (2, 2)
    signs = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt)) or 1.0])
    rotation = (u * signs) @ vt  # (2, 2)
    linear = rotation * float(singular @ signs) / spread
    return np.column_stack([linear, target_mean - linear @ source_mean])  # (2, 3)


class Aligner:
    """Finds the face of an image and lays it on ArcFace's template.

    Of several faces it takes the one with the largest ``area / (1 + 4 d^2)``, where d is the distance of the box's
    centre from the image's centre in half diagonals: the largest, unless it lies at the edge. Without a detector, or
    where no face is found, the crop is the one that suits an unrotated face with the whole head in the image.

    It can be used by several threads and sent to other processes: each builds its own detector on first use.

    Args:
        detector: YuNet's ONNX file or its content; None means the centre crop for every image.
        size: side of the aligned face in px.

    Raises:
        ModelError: if the file is missing or is no YuNet.

    Example:
        >>> face = Aligner(None).align(np.zeros((160, 160, 3), np.uint8))
        >>> face.image.shape, face.found
        ((112, 112, 3), False)
    """

    def __init__(self, detector: Path | bytes | None, size: int = _TEMPLATE_SIZE) -> None:
        self.detector = detector
        self.size = size
        self._local = threading.local()
        if self.detector is not None:
            self._detector()

    def __getstate__(self) -> dict[str, Any]:
        return {"detector": self.detector, "size": self.size}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._local = threading.local()

    def align(self, image: NDArray[np.uint8]) -> AlignedFace:
        """The aligned face of one image.

        Args:
            image: RGB, shape ``(h, w, 3)``, uint8.

        Raises:
            DataError: if the array is not such an image.
        """
        refuse_no_image(image)
        faces = self.faces(image) if self.detector is not None else np.empty((0, 15), np.float32)
        return self.lay(image, faces)

    def lay(self, image: NDArray[np.uint8], faces: NDArray[np.float32]) -> AlignedFace:
        """The aligned face of an image whose faces have been found.

        Args:
            image: RGB, shape ``(h, w, 3)``, uint8.
            faces: as :meth:`faces` returns them, shape ``(n, 15)``; the first one is aligned, and of none the centre crop.
        """
        face = faces[0] if len(faces) else None
        if face is None:
            return AlignedFace(_warp(image, self._centre_crop(image.shape[:2]), self.size), False, None, None, 0.0)
        points = face[4:14].reshape(5, 2)
        matrix = similarity_transform(points, ARCFACE_TEMPLATE * (self.size / _TEMPLATE_SIZE))
        return AlignedFace(_warp(image, matrix, self.size), True, points, face[:4], float(face[14]))

    def faces(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Every face of an image, ``(n, 15)``: box (4), points (10), score, in px of ``image``; the one that is aligned first.

        Args:
            image: RGB, shape ``(h, w, 3)``, uint8.

        Raises:
            ModelError: if there is no detector.
        """
        faces, shape, border, scale = self._search(image)
        placed = faces[np.argsort(-prominence(faces[:, :4], shape), kind="stable")]
        placed[:, [0, 1, *range(4, 14)]] -= border
        placed[:, :14] /= scale
        return placed

    def _centre_crop(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        height, width = shape
        side = min(height, width)
        scale = self.size / (_CROP_SIDE * side)
        x = width / 2 + (_CROP_CENTRE[0] - 0.5) * side
        y = height / 2 + (_CROP_CENTRE[1] - 0.5) * side
        return np.array([[scale, 0, self.size / 2 - scale * x], [0, scale, self.size / 2 - scale * y]])

    def _search(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], tuple[int, ...], int, float]:
        """Every face ``(n, 15)``, in px of the image that was searched: its shape, its border, its scale to ``image``."""
        longest = max(image.shape[:2])
        # A face that fills its image is often found only once there is something around it; a small one in a large image, only
        # at a larger scale.
        tries = [(side, border) for side, border in _TRIES if side == _TRIES[0][0] or longest > side / 2]
        for side, bordered in tries:
            scale = min(1.0, side / longest)
            height, width = (max(1, round(scale * each)) for each in image.shape[:2])
            small = image if scale == 1.0 else shrink(image, height, width)
            border = max(small.shape[:2]) // 4 if bordered else 0
            padded = cv2.copyMakeBorder(small, border, border, border, border, cv2.BORDER_REPLICATE)
            faces = self._detect(np.asarray(padded, dtype=np.uint8))
            if len(faces):
                break
        return faces, padded.shape[:2], border, scale

    def _detect(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        faces = self._detector()(image)
        found: NDArray[np.float32] = faces[np.isfinite(faces).all(axis=1)]
        return found  # (n, 15)

    def _detector(self) -> Detector:
        """This thread's detector; a forked process doesn't use its parent's."""
        if getattr(self._local, "process", None) != os.getpid():
            self._local.detector = _load_detector(self.detector)
            self._local.process = os.getpid()
        detector: Detector = self._local.detector
        return detector


def _load_detector(source: Path | bytes | None) -> Detector:
    """From an image ``(h, w, 3)`` to its faces ``(n, 15)``."""
    if source is None or (isinstance(source, Path) and not source.is_file()):
        raise ModelError(f"{source}: no such file; expected a YuNet face detector as ONNX")
    content = source if isinstance(source, bytes) else read_regular(source)
    if YuNet.knows(content):
        return YuNet(_SCORE_THRESHOLD, _NMS_THRESHOLD, _TOP_K)
    name = "the model's own face detector" if isinstance(source, bytes) else str(source)
    buffers = np.frombuffer(content, np.uint8), np.empty(0, np.uint8)
    with quiet_opencv():
        try:
            detector = cv2.FaceDetectorYN.create("onnx", *buffers, (64, 64), _SCORE_THRESHOLD, _NMS_THRESHOLD, _TOP_K)
            detector.detect(np.zeros((64, 64, 3), np.uint8))
        except cv2.error as error:
            raise ModelError(
                f"{name}: not a YuNet face detector as ONNX that OpenCV {cv2.__version__} can read"
            ) from error

    def detect(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        detector.setInputSize((image.shape[1], image.shape[0]))
        faces = detector.detect(np.ascontiguousarray(image[:, :, ::-1]))[1]  # YuNet reads BGR
        return np.empty((0, 15), np.float32) if faces is None else np.asarray(faces, np.float32)

    return detect


def prominence(boxes: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Prominence of each face as the subject of its image: its area, less towards the edge; see :class:`Aligner`.

    Args:
        boxes: left, top, width and height, shape ``(n, 4)``.
        shape: of the image, height first.
    """
    centre = np.array([shape[1], shape[0]]) / 2
    distance = np.linalg.norm(boxes[:, :2] + boxes[:, 2:] / 2 - centre, axis=1) / np.linalg.norm(centre)
    weighed: NDArray[np.float64] = boxes[:, 2].clip(1) * boxes[:, 3].clip(1) / (1 + 4 * distance**2)
    return weighed


def shrink(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """``image`` made smaller by averaging over areas, so that no pixel is skipped: shape ``(height, width, 3)``."""
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _warp(image: NDArray[np.uint8], matrix: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """``image`` under ``matrix``; shrunk first where bilinear sampling would skip pixels."""
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < 0.5:
        height, width = (max(2, round(2 * scale * side)) for side in image.shape[:2])
        ratio = np.array([image.shape[1] / width, image.shape[0] / height])
        # Pixel centres: x_large + 0.5 = ratio * (x_small + 0.5).
        offset = matrix[:, :2] @ (0.5 * ratio - 0.5) + matrix[:, 2]
        image = shrink(image, height, width)
        matrix = np.column_stack([matrix[:, :2] * ratio, offset])
    return np.asarray(cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR), dtype=np.uint8)
