"""Alignment: the closed form against an independent solver, the template, the fallback, files that are no detector."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bonaface.errors import DataError, ModelError
from bonaface.images.alignment import ARCFACE_TEMPLATE, Aligner, similarity_transform

SHARED = Path(__file__).resolve().parents[3] / "shared"
YUNET = SHARED / "weights" / "yunet_2023mar_int8bq.onnx"
needs_yunet = pytest.mark.skipif(not YUNET.is_file(), reason="no YuNet weights in ../shared/weights")


def least_squares(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """The similarity by linear least squares in its four parameters: an independent way to the same optimum."""
    rows = np.concatenate(
        [
            np.column_stack([source[:, 0], -source[:, 1], np.ones(len(source)), np.zeros(len(source))]),
            np.column_stack([source[:, 1], source[:, 0], np.zeros(len(source)), np.ones(len(source))]),
        ]
    )
    a, b, x, y = np.linalg.lstsq(rows, np.concatenate([target[:, 0], target[:, 1]]), rcond=None)[0]
    return np.array([[a, -b, x], [b, a, y]])


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(2, 8))
@settings(max_examples=60, deadline=None)
def test_closed_form_equals_least_squares(seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    source, target = generator.normal(size=(2, count, 2)) * 50
    np.testing.assert_allclose(similarity_transform(source, target), least_squares(source, target), atol=1e-6)


def test_never_mirrors() -> None:
    source = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 1.0], [0.0, 2.0]])
    assert np.linalg.det(similarity_transform(source, source * [-1, 1])[:, :2]) > 0


def test_points_on_one_spot_are_refused() -> None:
    with pytest.raises(DataError, match="one point"):
        similarity_transform(np.ones((5, 2)), ARCFACE_TEMPLATE)


def test_centre_crop_without_detector_keeps_the_middle() -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    image[80:100, 140:160] = 255
    face = Aligner(None, size=64).align(image)
    assert face.image.shape == (64, 64, 3)
    assert not face.found
    assert face.points is None
    assert face.image[32, 32].tolist() == [255, 255, 255]
    assert face.image[2, 2].tolist() == [0, 0, 0]


def test_a_large_image_is_averaged_not_sampled() -> None:
    checks = np.indices((1600, 1600)).sum(axis=0) % 2 * 255
    face = Aligner(None).align(np.repeat(checks[..., None], 3, axis=2).astype(np.uint8))
    assert np.abs(face.image.astype(int) - 127).max() <= 4


@pytest.mark.parametrize("shape", [(10, 10), (10, 10, 4), (1, 10, 3)])
def test_not_a_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="expected RGB uint8"):
        Aligner(None).align(np.zeros(shape, np.uint8))


def test_missing_and_corrupt_detector(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        Aligner(tmp_path / "none.onnx")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"<html>not found</html>" * 50)
    with pytest.raises(ModelError, match=r"broken\.onnx"):
        Aligner(broken)


@needs_yunet
def test_truncated_detector(tmp_path: Path) -> None:
    broken = tmp_path / "half.onnx"
    broken.write_bytes(YUNET.read_bytes()[:60_000])
    with pytest.raises(ModelError, match=r"half\.onnx"):
        Aligner(broken)


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    paths = sorted((SHARED / "lfw-deepfakes" / "test_public" / "images").glob("*/0.jpg"))
    if not paths:
        pytest.skip("no lfw-deepfakes in ../shared")
    return np.ascontiguousarray(cv2.imread(str(paths[0]))[:, :, ::-1])


@needs_yunet
def test_a_found_face_lies_on_the_template(photo: NDArray[np.uint8]) -> None:
    face = Aligner(YUNET).align(photo)
    assert face.found
    assert face.score > 0.6
    again = Aligner(YUNET).align(face.image)
    assert again.points is not None
    assert np.abs(again.points - ARCFACE_TEMPLATE).mean() < 5


@needs_yunet
def test_rotation_and_scale_do_not_matter(photo: NDArray[np.uint8]) -> None:
    aligner = Aligner(YUNET)
    plain = aligner.align(photo).image.astype(float)
    height, width = photo.shape[:2]
    turned = cv2.warpAffine(photo, cv2.getRotationMatrix2D((width / 2, height / 2), 10, 1.0), (width, height))
    for other in (turned, cv2.resize(photo, None, fx=6, fy=6)):
        centre = aligner.align(np.asarray(other, np.uint8)).image[20:-20, 20:-20].astype(float)
        assert np.corrcoef(plain[20:-20, 20:-20].ravel(), centre.ravel())[0, 1] > 0.85


@needs_yunet
def test_the_central_face_wins_over_an_equal_one_at_the_edge(photo: NDArray[np.uint8]) -> None:
    canvas = np.full((160, 480, 3), 127, np.uint8)
    canvas[:, 160:320] = photo
    canvas[:, :160] = photo
    face = Aligner(YUNET).align(canvas)
    assert face.box is not None
    assert 160 <= face.box[0] + face.box[2] / 2 <= 320


@needs_yunet
def test_no_face_falls_back_and_pickle_and_threads_work(photo: NDArray[np.uint8]) -> None:
    aligner = pickle.loads(pickle.dumps(Aligner(YUNET)))  # noqa: S301  ours
    flat = np.full((160, 160, 3), 90, np.uint8)
    fallback = aligner.align(flat)
    assert not fallback.found
    assert fallback.score == 0
    expected = aligner.align(photo).image
    with ThreadPoolExecutor(4) as pool:
        for face in pool.map(aligner.align, [photo] * 16):
            np.testing.assert_array_equal(face.image, expected)
