"""The shipped detector by ONNX Runtime against OpenCV's of the published file, which is its independent reference."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from bonaface.assets import shipped_detector, unpack_demo
from bonaface.images.alignment import Aligner
from bonaface.images.decoding import decode
from bonaface.images.yunet import YuNet

SETTINGS = (0.6, 0.3, 100)


@cache
def by_opencv() -> cv2.FaceDetectorYN:
    content = np.frombuffer(shipped_detector(), np.uint8)
    return cv2.FaceDetectorYN.create("onnx", content, np.empty(0, np.uint8), (64, 64), *SETTINGS)


def reference(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    by_opencv().setInputSize((image.shape[1], image.shape[0]))
    faces = by_opencv().detect(np.ascontiguousarray(image[:, :, ::-1]))[1]
    return np.empty((0, 15), np.float32) if faces is None else np.asarray(faces, np.float32)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[NDArray[np.uint8]]:
    files: list[Path] = sorted((unpack_demo(tmp_path_factory.mktemp("demo")) / "train").rglob("*.jpg"))[:24]
    return [decode(file) for file in files]


def test_finds_what_opencv_finds(photos: list[NDArray[np.uint8]]) -> None:
    detect, found = YuNet(*SETTINGS), 0
    rng = np.random.default_rng(0)
    for photo in photos:
        width, height = (int(side) for side in rng.integers(90, 330, 2))
        resized = np.asarray(cv2.resize(photo, (width, height)), np.uint8)
        expected = reference(resized)
        np.testing.assert_allclose(detect(resized), expected, atol=2e-3)
        found += len(expected)
    assert found >= len(photos) // 2


def test_several_faces_come_in_the_order_of_confidence(photos: list[NDArray[np.uint8]]) -> None:
    row = np.concatenate([np.asarray(cv2.resize(photo, (150, 150)), np.uint8) for photo in photos[:4]], axis=1)
    faces = YuNet(*SETTINGS)(row)
    assert len(faces) == 4
    assert (np.diff(faces[:, 14]) <= 0).all()
    np.testing.assert_allclose(faces, reference(row), atol=2e-3)


@pytest.mark.parametrize("shape", [(1, 1, 3), (31, 33, 3), (64, 200, 3)])
def test_an_image_without_a_face_gives_no_row(shape: tuple[int, int, int]) -> None:
    assert YuNet(*SETTINGS)(np.zeros(shape, np.uint8)).shape == (0, 15)


def test_another_detector_is_left_to_opencv(photos: list[NDArray[np.uint8]]) -> None:
    content = shipped_detector()
    assert YuNet.knows(content)
    renamed = content.replace(b"pytorch", b"PyTorch", 1)  # the writer's name: the same network in another file
    assert not YuNet.knows(renamed)
    np.testing.assert_allclose(Aligner(renamed).faces(photos[0]), Aligner(content).faces(photos[0]), atol=2e-3)
