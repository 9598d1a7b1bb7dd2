"""What of a photo a network looks at: shapes, positions, and that nothing is resampled that need not be."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bonaface.errors import ConfigError
from bonaface.images.crops import InputSpec, centre_crop, random_crop, square


def numbered(h, w):
    """Every pixel says where it is."""
    rows, columns = np.mgrid[:h, :w]
    return np.stack([rows, columns, rows ^ columns], axis=2).astype(np.uint8)


@given(h=st.integers(1, 60), w=st.integers(1, 60), size=st.integers(1, 60), seed=st.integers(0, 2**32 - 1))
def test_random_crop_is_a_piece_of_the_image(h, w, size, seed):
    size = min(size, h, w)
    crop = random_crop(numbered(h, w), size, np.random.default_rng(seed))
    assert crop.shape == (size, size, 3)
    top, left = int(crop[0, 0, 0]), int(crop[0, 0, 1])
    assert 0 <= top <= h - size
    assert 0 <= left <= w - size
    np.testing.assert_array_equal(crop, numbered(h, w)[top : top + size, left : left + size])


def test_random_crop_reaches_every_place():
    rng = np.random.default_rng(0)
    seen = {tuple(random_crop(numbered(6, 5), 4, rng)[0, 0, :2]) for _ in range(200)}
    assert seen == {(top, left) for top in range(3) for left in range(2)}


def test_random_crop_of_the_whole_image():
    np.testing.assert_array_equal(random_crop(numbered(9, 9), 9, np.random.default_rng(0)), numbered(9, 9))


@given(h=st.integers(1, 60), w=st.integers(1, 60), size=st.integers(1, 60))
def test_centre_crop(h, w, size):
    size = min(size, h, w)
    crop = centre_crop(numbered(h, w), size)
    assert crop.shape == (size, size, 3)
    top, left = int(crop[0, 0, 0]), int(crop[0, 0, 1])
    assert abs((h - size - top) - top) <= 1  # as much below as above, but for one
    assert abs((w - size - left) - left) <= 1


@given(h=st.integers(2, 70), w=st.integers(2, 70), size=st.integers(2, 48))
def test_square_has_its_size(h, w, size):
    made = square(np.full((h, w, 3), 77, np.uint8), size)
    assert made.shape == (size, size, 3)
    assert made.dtype == np.uint8
    assert (made == 77).all()


@pytest.mark.parametrize(("h", "w"), [(32, 32), (32, 50), (41, 32)])
def test_a_image_of_the_size_is_not_resampled(h, w):
    image = numbered(h, w)
    np.testing.assert_array_equal(square(image, 32), centre_crop(image, 32))


@pytest.mark.parametrize(("side", "filtering"), [(64, cv2.INTER_AREA), (16, cv2.INTER_CUBIC)])
def test_another_size_is_resampled_as_a_whole(side, filtering):
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    np.testing.assert_array_equal(square(image, 32), cv2.resize(image, (32, 32), interpolation=filtering))


def test_square_keeps_the_middle():
    image = np.zeros((40, 120, 3), np.uint8)
    image[:, 40:80] = 255
    assert (square(image, 20)[:, 1:-1] == 255).all()


def test_at_test_time():
    image = numbered(40, 40)
    np.testing.assert_array_equal(InputSpec("frame", 24).at_test(image), image)
    np.testing.assert_array_equal(InputSpec("aligned", 24).at_test(image), image)
    np.testing.assert_array_equal(InputSpec("frame", 24, crop=True).at_test(image), centre_crop(image, 24))


def test_check():
    with pytest.raises(
        ConfigError, match=r"a crop of 65 pixels does not fit a face crop of 64: set faces\.crop_size"
    ) as caught:
        InputSpec("frame", 65, crop=True).check(64)
    assert "\n" not in str(caught.value)
    InputSpec("frame", 64, crop=True).check(64)
    InputSpec("frame", 224).check(64)  # resized by the network
    InputSpec("aligned", 112).check(64)  # not cut from the frame
