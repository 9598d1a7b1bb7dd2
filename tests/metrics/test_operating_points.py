import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from bonaface.errors import DataError
from bonaface.metrics import (
    FMRS,
    auc,
    challenge_eer,
    det_points,
    eer_rocch,
    fake_score_eer,
    fake_score_errors,
    fnmr_at_fmr,
    fnmr_at_threshold,
    iapar,
    iapar_by_method,
    operating_points,
    roc_points,
)

tied = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=30)


def by_trying(same, different, fmr):
    """FNMR at the lowest of all thresholds (each score, and above the last) whose FMR is at most ``fmr``."""
    for threshold in [*sorted(set(same) | set(different)), np.inf]:
        if sum(d >= threshold for d in different) <= fmr * len(different) + 1e-9:
            return sum(s < threshold for s in same) / len(same)
    raise AssertionError


@settings(max_examples=150, deadline=None)
@given(tied, tied, st.sampled_from([0.05, 0.1, 0.29, 0.5, 0.9, 1.0]))
def test_fnmr_at_fmr_is_the_best_allowed(same, different, fmr):
    if fmr * len(different) < 1 - 1e-9:
        with pytest.raises(ValueError, match=f"{len(different)} non-mated pairs cannot resolve"):
            fnmr_at_fmr(same, different, fmr)
        return
    point = fnmr_at_fmr(same, different, fmr)
    assert point.fnmr == by_trying(same, different, fmr)
    assert point.fmr <= fmr
    assert point == fnmr_at_threshold(same, different, point.threshold)
    below = np.nextafter(point.threshold, -np.inf)
    assert fmr == 1 or fnmr_at_threshold(same, different, below).fmr > fmr, "a lower threshold would do"


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_threshold_holds_in_the_precision_of_the_scores(kind):
    rng = np.random.default_rng(0)
    same, different = rng.normal(1, 1, 500).astype(kind), rng.normal(0, 1, 1000).astype(kind)
    point = fnmr_at_fmr(same, different, 0.01)
    assert np.count_nonzero(different >= kind(point.threshold)) == round(point.fmr * 1000) <= 10
    assert np.count_nonzero(same < point.threshold) == round(point.fnmr * 500)


def test_exact_share_of_allowed_matches():
    different = np.arange(100000.0)
    for fmr in FMRS:
        assert fnmr_at_fmr([50000], different, fmr).fmr == fmr


@pytest.mark.parametrize("fmr", [0.0, -0.1, 1.5, float("nan")])
def test_rates_out_of_range(fmr):
    with pytest.raises(ValueError, match="fmr: expected a rate in"):
        fnmr_at_fmr([0.1], [0.2], fmr)


def test_unresolvable_rate_says_how_many_pairs_it_takes():
    with pytest.raises(ValueError, match=r"99 non-mated pairs cannot .* rate of 0\.01: it takes 100"):
        fnmr_at_fmr([0.5], np.zeros(99), 0.01)
    assert list(operating_points([0.5], np.zeros(999))) == [0.1, 0.01]
    with pytest.raises(DataError, match="different: expected at least one"):
        operating_points([0.5], [])
    with pytest.raises(ValueError, match=r"in \(0, 1\]"):
        operating_points([0.5], [0.1], [0.0])


def test_iapar_counts_the_threshold_itself():
    assert iapar(np.float32([0.1, 0.2, 0.3]), float(np.float32(0.2))) == pytest.approx(2 / 3)
    with pytest.raises(DataError, match="fakes: expected finite"):
        iapar([np.nan], 0.1)


def test_iapar_by_method():
    kind = np.array(["own_fake"] * 4 + ["same", "other_fake"])
    method_1 = ["swap", "swap", "blend", "blend", "real", "swap"]
    rates = iapar_by_method([0.1, 0.6, 0.7, 0.9, 1.0, 1.0], kind, ["real"] * 6, method_1, 0.5)
    assert list(rates.items()) == [("blend", 1.0), ("swap", 0.5)]
    with pytest.raises(DataError, match="kind: expected one of same, impostor"):
        iapar_by_method([0.1], ["fake"], ["real"], ["swap"], 0.5)


def test_fake_score():
    rng = np.random.default_rng(1)
    genuine, fakes = rng.normal(1, 1, 300), rng.normal(-1, 1, 200)
    apcer, bpcer = fake_score_errors(genuine, fakes, 0.25)
    assert apcer == sum(fakes >= 0.25) / 200
    assert bpcer == sum(genuine < 0.25) / 300
    assert fake_score_eer(genuine, fakes) == eer_rocch(genuine, fakes)
    assert fake_score_eer(genuine, fakes, interpolated=False) == challenge_eer(genuine, fakes)


@settings(max_examples=80, deadline=None)
@given(tied, tied)
def test_auc_counts_wins(same, different):
    wins = sum((s > d) + (s == d) / 2 for s in same for d in different)
    assert auc(same, different) == pytest.approx(wins / len(same) / len(different), abs=1e-12)
    label = np.r_[np.ones(len(same)), np.zeros(len(different))]
    assert auc(same, different) == pytest.approx(roc_auc_score(label, np.r_[same, different]), abs=1e-12)
    assert auc(different, same) == pytest.approx(1 - auc(same, different), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(tied, tied)
def test_short_curves_are_whole(same, different):
    fmr, tmr = roc_points(same, different)
    label = np.r_[np.ones(len(same)), np.zeros(len(different))]
    fpr, tpr, _ = roc_curve(label, np.r_[same, different], drop_intermediate=False)
    assert np.trapezoid(tmr, fmr) == pytest.approx(np.trapezoid(tpr, fpr))
    assert set(zip(fmr.round(9), tmr.round(9), strict=True)) <= set(zip(fpr.round(9), tpr.round(9), strict=True))


def test_long_curves_are_thinned_without_losing_their_shape():
    rng = np.random.default_rng(2)
    same, different = rng.normal(2, 1, 20000), rng.normal(0, 1, 100000)
    for at_most in (4, 50, 300):
        fmr, tmr = roc_points(same, different, at_most)
        assert len(fmr) <= at_most
        assert (fmr[0], tmr[0], fmr[-1], tmr[-1]) == (0, 0, 1, 1)
        assert (np.diff(fmr) >= 0).all()
        assert (np.diff(tmr) >= 0).all()
    label = np.r_[np.ones(len(same)), np.zeros(len(different))]
    fpr, tpr, _ = roc_curve(label, np.r_[same, different])
    seen = np.logspace(-4, 0, 50)
    whole, drawn = np.interp(seen, fpr, tpr), np.interp(seen, fmr, tmr)
    assert np.abs(whole - drawn).max() < 0.01


def test_det_is_a_line_for_normal_scores():
    """Two normal distributions of equal spread, d' apart: probit(FNMR) = -probit(FMR) - d'."""
    rng = np.random.default_rng(3)
    x, y = det_points(rng.normal(2, 1, 50000), rng.normal(0, 1, 50000), 200)
    middle = (np.abs(x) < 2) & (np.abs(y) < 2)
    assert middle.sum() > 20
    np.testing.assert_allclose(y[middle], -x[middle] - 2, atol=0.06)
    assert len(det_points([1.0], [0.0])[0]) == 0


def test_too_few_points():
    with pytest.raises(ValueError, match="at_most: expected 4 points or more, got 3"):
        roc_points([1], [0], 3)
