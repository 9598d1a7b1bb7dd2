import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression

from bonaface.errors import DataError
from bonaface.metrics import a_dcf, cllr, min_cllr, min_dcf

tied = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=20)


def thresholds(*classes):
    return [*np.unique(np.concatenate(classes)), np.inf]


@settings(max_examples=80, deadline=None)
@given(tied, tied, st.sampled_from([0.001, 0.3, 0.5, 0.99]))
def test_min_dcf_tries_every_threshold(same, different, prior):
    costs = [
        2 * prior * np.mean(np.less(same, t)) + 3 * (1 - prior) * np.mean(np.greater_equal(different, t))
        for t in thresholds(same, different)
    ]
    default = min(2 * prior, 3 * (1 - prior))
    assert min_dcf(same, different, prior, 2, 3) == pytest.approx(min(costs) / default)
    assert min_dcf(np.exp(same), np.exp(different), prior, 2, 3) == min_dcf(same, different, prior, 2, 3)


@settings(max_examples=80, deadline=None)
@given(tied, tied, tied)
def test_a_dcf_tries_every_threshold(same, impostor, spoof):
    costs = [
        0.9 * np.mean(np.less(same, t))
        + 10 * 0.05 * np.mean(np.greater_equal(impostor, t))
        + 20 * 0.05 * np.mean(np.greater_equal(spoof, t))
        for t in thresholds(same, impostor, spoof)
    ]
    assert a_dcf(same, impostor, spoof) == pytest.approx(min(costs) / 0.9)


def test_a_dcf_of_two_kinds_alike_is_min_dcf():
    rng = np.random.default_rng(0)
    same, different = rng.normal(1, 1, 400), rng.normal(0, 1, 600)
    both = a_dcf(same, different[:300], different[300:], (0.5, 0.25, 0.25), (1, 1, 1))
    assert both == pytest.approx(min_dcf(same, different, 0.5))
    assert a_dcf([1], [0], [0]) == 0
    assert a_dcf([0], [1], [1]) == 1


@settings(max_examples=60, deadline=None)
@given(tied, tied)
def test_min_cllr_is_cllr_after_isotonic_calibration(same, different):
    score, label = np.r_[same, different], np.r_[np.ones(len(same)), np.zeros(len(different))]
    fitted = IsotonicRegression().fit(score, label).predict(score).clip(1e-300, 1 - 1e-16)
    llr = np.log(fitted) - np.log1p(-fitted) - np.log(len(same) / len(different))
    calibrated = cllr(llr[label == 1], llr[label == 0])
    assert min_cllr(same, different) == pytest.approx(calibrated, abs=1e-9)
    assert min_cllr(same, different) <= cllr(same, different) + 1e-12
    assert min_cllr(np.exp(same), np.exp(different)) == pytest.approx(min_cllr(same, different), abs=1e-12)


def test_min_cllr_is_below_the_best_line():
    rng = np.random.default_rng(1)
    same, different = rng.normal(3, 2, 500), rng.normal(-1, 2, 500)
    best = minimize(lambda line: cllr(line[0] * same + line[1], line[0] * different + line[1]), [1.0, 0.0]).fun
    assert 0.8 * best < min_cllr(same, different) < best < cllr(5 * same, 5 * different)


def test_cllr_by_its_formula():
    same, different = np.array([2.0, -1.0, 0.5]), np.array([-3.0, 1.0])
    expected = (np.mean(np.log2(1 + np.exp(-same))) + np.mean(np.log2(1 + np.exp(different)))) / 2
    assert cllr(same, different) == pytest.approx(expected)
    assert cllr([800.0], [-800.0]) == 0
    assert cllr([-1000.0], [0.0]) == pytest.approx((1000 / np.log(2) + 1) / 2)


def test_wrong_settings():
    with pytest.raises(ValueError, match="expected a prior in"):
        min_dcf([1], [0], prior=1)
    with pytest.raises(ValueError, match="costs above 0"):
        min_dcf([1], [0], cost_miss=0)
    with pytest.raises(ValueError, match="priors that add up to 1"):
        a_dcf([1], [0], [0], priors=(0.9, 0.1, 0.1))
    with pytest.raises(DataError, match="spoof: expected at least one"):
        a_dcf([1], [0], [])
    with pytest.raises(DataError, match="different: expected finite"):
        cllr([1], [np.inf])
