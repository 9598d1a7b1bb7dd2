"""The frame around a face: where it lies, what is beyond the image, and images that are frames already."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bonaface.images.framing import face_square, frame
from bonaface.images.preprocessing import Preprocessor

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
    framed = frame(image, 160, points)
    side = scale / 0.29
    rows, columns = framed[80, :, 1].astype(float) / 255 * 1200, framed[:, 80, 0].astype(float) / 255 * 900
    # The middle pixel of the frame shows the column of the eyes' middle, and row 0.41 x 160 theirs.
    assert abs(rows[80] - 640) < 6
    assert abs(columns[round(0.41 * 160)] - 380) < 6
    assert abs((rows[-1] - rows[0]) - side * 159 / 160) < 10
    assert framed.shape == (160, 160, 3)


def test_a_face_in_profile_is_not_cut_closer():
    frontal, profile = FACE * np.float32(60), FACE * np.float32(60) * np.float32([0.2, 1])
    assert face_square(profile)[2] == pytest.approx(face_square(frontal)[2], rel=0.01)


def test_a_frame_is_taken_as_it_is(rng):
    image = rng.integers(0, 256, (160, 160, 3)).astype(np.uint8)
    np.testing.assert_array_equal(frame(image, 160, FACE * np.float32(20) + np.float32(50)), image)
    prepare = Preprocessor(("frame",), 160)
    np.testing.assert_array_equal(prepare(image)["frame"], image)


def test_at_the_edge_the_square_moves_and_shrinks_until_it_lies_in_the_image():
    image = photo(200, 200)
    moved = frame(
        image, 100, FACE * np.float32(29) + np.float32([10, 100])
    )  # the square of 100 would start 40 px left of it
    np.testing.assert_array_equal(moved, image[59:159, :100])
    whole = frame(image, 100, FACE * np.float32(290) + np.float32([10, 100]))  # it would be larger than the image
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
def test_any_points_give_a_frame(h, w, scale, x, y, size):
    framed = frame(photo(h, w), size, FACE * np.float32(scale) + np.float32([x, y]))
    assert framed.shape == (size, size, 3)
    assert framed.dtype == np.uint8


def test_without_a_face_it_is_the_centre_square():
    image = photo(300, 200)
    expected = cv2.resize(image, (100, 150), interpolation=cv2.INTER_AREA)[25:125]
    np.testing.assert_array_equal(Preprocessor(("frame",), 100)(image)["frame"], expected)
