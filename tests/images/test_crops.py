"""Face crops and pieces of them: shapes, positions, and that nothing is resampled that need not be."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bonaface.assets import shipped_detector
from bonaface.errors import ConfigError
from bonaface.images.crops import InputSpec, centre_crop, face_crop, face_square, random_crop, square
from bonaface.images.preprocessing import Preprocessor


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
    np.testing.assert_array_equal(InputSpec("face_crop", 24).at_test(image), image)
    np.testing.assert_array_equal(InputSpec("aligned", 24).at_test(image), image)
    np.testing.assert_array_equal(InputSpec("face_crop", 24, crop=True).at_test(image), centre_crop(image, 24))


def test_check():
    with pytest.raises(
        ConfigError, match=r"a crop of 65 pixels does not fit a face crop of 64: set faces\.crop_size"
    ) as caught:
        InputSpec("face_crop", 65, crop=True).check(64)
    assert "\n" not in str(caught.value)
    InputSpec("face_crop", 64, crop=True).check(64)
    InputSpec("face_crop", 224).check(64)  # resized by the network
    InputSpec("aligned", 112).check(64)  # not cut from the frame


FACE = np.float32([[-0.5, 0], [0.5, 0], [0, 0.58], [-0.43, 1.155], [0.43, 1.155]])
"""Five points around the middle of the eyes; the eyes are 1 apart."""


def photo(h, w):
    """Every pixel says where it is: row, column and zero, scaled to 0..255."""
    rows, columns = np.mgrid[:h, :w]
    return np.stack([rows * 255 / h, columns * 255 / w, 0 * rows], axis=2).round().astype(np.uint8)


@pytest.mark.parametrize("scale", [20.0, 58.0, 120.0])
def test_the_face_lies_where_it_does_in_training(scale):
    image = photo(900, 1200)
    points = FACE * np.float32(scale) + np.float32([640, 380])
    crop = face_crop(image, 160, points)
    side = scale / 0.29
    rows, columns = crop[80, :, 1].astype(float) / 255 * 1200, crop[:, 80, 0].astype(float) / 255 * 900
    # The middle pixel of the crop shows the column of the eyes' middle, and row 0.41 x 160 theirs.
    assert abs(rows[80] - 640) < 6
    assert abs(columns[round(0.41 * 160)] - 380) < 6
    assert abs((rows[-1] - rows[0]) - side * 159 / 160) < 10
    assert crop.shape == (160, 160, 3)


def test_a_face_in_profile_is_not_cut_closer():
    frontal, profile = FACE * np.float32(60), FACE * np.float32(60) * np.float32([0.2, 1])
    assert face_square(profile)[2] == pytest.approx(face_square(frontal)[2], rel=0.01)


def test_a_face_crop_is_taken_as_it_is(rng):
    image = rng.integers(0, 256, (160, 160, 3)).astype(np.uint8)
    np.testing.assert_array_equal(face_crop(image, 160, FACE * np.float32(20) + np.float32(50)), image)
    prepare = Preprocessor(("face_crop",), 160)
    np.testing.assert_array_equal(prepare(image)["face_crop"], image)


def test_at_the_edge_the_square_moves_and_shrinks_until_it_lies_in_the_image():
    image = photo(200, 200)
    moved = face_crop(
        image, 100, FACE * np.float32(29) + np.float32([10, 100])
    )  # the square of 100 would start 40 px left of it
    np.testing.assert_array_equal(moved, image[59:159, :100])
    whole = face_crop(image, 100, FACE * np.float32(290) + np.float32([10, 100]))  # it would be larger than the image
    np.testing.assert_array_equal(whole, cv2.resize(image, (100, 100), interpolation=cv2.INTER_AREA))


@given(
    h=st.integers(2, 80),
    w=st.integers(2, 80),
    scale=st.floats(0, 300),
    x=st.floats(-200, 300),
    y=st.floats(-200, 300),
    size=st.integers(2, 40),
)
@settings(max_examples=60, deadline=None)
def test_any_points_give_a_face_crop(h, w, scale, x, y, size):
    crop = face_crop(photo(h, w), size, FACE * np.float32(scale) + np.float32([x, y]))
    assert crop.shape == (size, size, 3)
    assert crop.dtype == np.uint8


def test_without_a_face_it_is_the_centre_square():
    image = photo(300, 200)
    expected = cv2.resize(image, (100, 150), interpolation=cv2.INTER_AREA)[25:125]
    np.testing.assert_array_equal(Preprocessor(("face_crop",), 100)(image)["face_crop"], expected)


@pytest.mark.parametrize(
    ("view", "detector", "said"),
    [
        (InputSpec("aligned", 112), True, None),
        (InputSpec("aligned", 112), False, "expects aligned faces of 112 px"),
        (InputSpec("face_crop", 112), True, "a network of 112 px most often expects aligned faces"),
        (InputSpec("face_crop", 96), False, None),
    ],
)
def test_a_network_on_unaligned_faces_is_warned_of(view, detector, said):
    views = {"identity": view}
    found = Preprocessor.of(views, 160, shipped_detector() if detector else None).unaligned(views)
    assert said is None if found is None else said in found
