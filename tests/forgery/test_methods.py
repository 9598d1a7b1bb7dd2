"""Forgeries: determinism, where they touch the image, colour transfer and blends against slow references."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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
from bonaface.forgery.methods import METHODS, NEEDS_DONOR, forge


def random_image(seed: int, height: int = 112, width: int = 112) -> NDArray[np.uint8]:
    """A smooth, colourful image with some texture, as photos are."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(40, 215, (7, 7, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + random.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(112, 112), (160, 160), (96, 128)])
def test_same_generator_same_forgery_and_inputs_are_left_alone(method: str, shape: tuple[int, int]) -> None:
    face, donor = random_image(1, *shape), random_image(2, *shape)
    kept = face.copy(), donor.copy()
    first = forge(face, donor, method, np.random.default_rng(3))
    second = forge(face, donor, method, np.random.default_rng(3))
    other = forge(face, donor, method, np.random.default_rng(4))
    assert first.shape == face.shape
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()
    np.testing.assert_array_equal(face, kept[0])
    np.testing.assert_array_equal(donor, kept[1])


@pytest.mark.parametrize("method", sorted(NEEDS_DONOR))
def test_a_swap_keeps_the_donors_surroundings_and_not_its_face(method: str) -> None:
    face, donor = random_image(5), random_image(6)
    for seed in range(5):
        forged = forge(face, donor, method, np.random.default_rng(seed)).astype(int)
        assert np.abs(forged - donor)[:8].max() <= 3
        assert np.abs(forged - donor)[50:75, 45:67].mean() > 8


@pytest.mark.parametrize("method", ["reenact", "rerender"])
def test_the_image_changes_in_the_face_and_stays_at_the_corner(method: str) -> None:
    face = random_image(7)
    change = np.abs(forge(face, None, method, np.random.default_rng(0)).astype(int) - face)
    assert change[:5, :5].max() <= 2
    assert change[45:80, 35:75].mean() > 1


def test_points_move_the_forgery() -> None:
    face = random_image(8, 160, 160)
    points = MEAN_POINTS * 60 + np.array([90, 90], np.float32)
    change = np.abs(forge(face, None, "rerender", np.random.default_rng(0), points).astype(int) - face).sum(axis=2)
    y, x = np.average(np.indices(change.shape).reshape(2, -1), axis=1, weights=change.ravel())
    assert abs(x - points[:, 0].mean()) < 8
    assert abs(y - points[:, 1].mean()) < 8


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((random_image(0), None, "magic"), ConfigError, "expected one of self_blend"),
        ((random_image(0), None, "swap_alpha"), DataError, "donor"),
        ((random_image(0), random_image(1, 96, 96), "swap_alpha"), DataError, "shape"),
        ((random_image(0)[:20], None, "rerender"), DataError, "32 px"),
        ((random_image(0).astype(np.float32), None, "rerender"), DataError, "uint8"),
    ],
)
def test_what_is_refused(arguments: tuple[object, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        forge(*arguments, np.random.default_rng(0))  # type: ignore[arg-type]


def test_wrong_points_are_refused() -> None:
    with pytest.raises(DataError, match="five finite"):
        forge(random_image(0), None, "reenact", np.random.default_rng(0), np.full((5, 2), np.nan, np.float32))


@given(seed=st.integers(0, 2**32 - 1), height=st.integers(64, 180), width=st.integers(64, 180))
@settings(max_examples=40, deadline=None)
def test_mask_is_soft_inside_the_image_and_covers_the_face(seed: int, height: int, width: int) -> None:
    points = MEAN_POINTS * np.array([width, height], np.float32)
    mask = face_mask((height, width), points, np.random.default_rng(seed))
    assert mask.shape == (height, width)
    assert mask.min() >= 0
    assert mask.max() <= 1 + 1e-6
    assert mask[[0, -1]].max() == 0
    assert mask[:, [0, -1]].max() == 0
    x, y = points[2].round().astype(int)
    assert mask[y, x] > 0.9


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_alpha_blend_equals_its_formula(seed: int) -> None:
    inner, outer = random_image(seed), random_image(seed + 1)
    mask = np.random.default_rng(seed).uniform(0, 1, inner.shape[:2]).astype(np.float32)
    formula = mask[..., None].astype(float) * inner + (1 - mask[..., None].astype(float)) * outer
    assert np.abs(alpha_blend(inner, outer, mask) - formula).max() <= 0.51 + 1e-3


@pytest.mark.parametrize("blend", [alpha_blend, multiband_blend])
def test_a_blend_of_a_image_with_itself_is_the_image(blend: object) -> None:
    image = random_image(3)
    mask = face_mask((112, 112), MEAN_POINTS * 112, np.random.default_rng(0))
    assert np.abs(blend(image, image, mask).astype(int) - image).max() <= 1  # type: ignore[operator]


def test_multiband_blend_wears_a_wide_seam_for_slow_waves_and_a_narrow_one_for_fast() -> None:
    mask = np.zeros((128, 128), np.float32)
    mask[:, 64:] = 1
    black, white = np.zeros((128, 128, 3), np.uint8), np.full((128, 128, 3), 255, np.uint8)
    row = multiband_blend(white, black, mask)[64, :, 0].astype(int)
    assert (np.diff(row) >= -1).all()
    assert row[50] > 5
    assert row[78] < 250
    assert row[4] <= 2
    assert row[-4] >= 253


def test_poisson_blend_keeps_gradients_and_takes_the_seams_colour() -> None:
    outer = np.full((112, 112, 3), 120, np.uint8)
    inner = np.clip(random_image(9).astype(int) // 3 + 30, 0, 255).astype(np.uint8)
    inner[:] = cv2.GaussianBlur(inner, (0, 0), 2)
    mask = face_mask((112, 112), MEAN_POINTS * 112, np.random.default_rng(0))
    blended = poisson_blend(inner, outer, mask).astype(float)
    assert np.abs(blended[mask < 0.01] - 120).max() <= 2
    core = mask > 0.99
    wanted, got = (np.gradient(image[..., 0], axis=1)[core] for image in (inner.astype(float), blended))
    assert np.corrcoef(wanted, got)[0, 1] > 0.9


def test_transfer_colour_gives_the_targets_mean_and_spread() -> None:
    source, target = random_image(11), random_image(12)
    mask = np.zeros((112, 112), np.float32)
    mask[30:90, 30:90] = 1

    def statistics(image: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[30:90, 30:90].reshape(-1, 3)
        return lab.mean(axis=0), lab.std(axis=0)

    wanted_mean, wanted_spread = statistics(target)
    before = np.abs(statistics(source)[0] - wanted_mean).max()
    mean, spread = statistics(transfer_colour(source, target, mask))
    assert np.abs(mean - wanted_mean).max() < 3 < before
    assert (np.abs(np.log(spread / wanted_spread)) < 0.6).all()
