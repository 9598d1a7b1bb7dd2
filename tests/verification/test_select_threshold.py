"""The look-up from a false match rate to a threshold: stored rates exactly, others between them, none beyond."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bonaface.errors import ConfigError
from bonaface.verification.thresholds import Threshold, Validation, select_threshold

STORED = Validation(
    tuple(Threshold(10.0**-k, k / 10, k / 10 - 0.05, k / 10 + 0.05, 100_000) for k in (1, 2, 3, 4)), None, 100_000
)


@pytest.mark.parametrize("stored", STORED.thresholds)
def test_a_stored_rate_is_returned_as_it_is(stored):
    assert select_threshold(STORED, stored.fmr) is stored


@given(st.floats(1e-4, 1e-1), st.floats(1e-4, 1e-1))
def test_a_lower_rate_never_has_a_lower_threshold(first, second):
    low, high = sorted((first, second))
    a, b = select_threshold(STORED, low), select_threshold(STORED, high)
    assert a.threshold >= b.threshold - 1e-9
    assert a.low <= a.threshold <= a.high


def test_no_rate_is_the_usual_one_or_the_lowest_above_it():
    usual = Validation((Threshold(0.1, 0.1, 0, 1, 9), Threshold(1e-5, 0.5, 0, 1, 9)), None, 9)
    assert select_threshold(usual, None) == select_threshold(usual, 1e-3)
    few = Validation((Threshold(0.1, 0.1, 0, 1, 60), Threshold(1 / 60, 0.5, 0, 1, 60)), None, 60)
    assert select_threshold(few, None) == few.thresholds[1]
    with pytest.raises(
        ConfigError,
        match=r"the model stores no thresholds; bonaface calibrate writes one .* --fmr chooses",
    ):
        select_threshold(None, None)


def test_between_two_rates_it_is_linear_in_the_logarithm():
    assert select_threshold(STORED, 10**-2.25).threshold == pytest.approx(0.225)


def test_between_two_rates_without_intervals_there_is_none():
    stored = Validation((Threshold(0.1, 0.1, None, None, 100), Threshold(0.01, 0.5, 0.4, 0.6, 100)), None, 100)
    between = select_threshold(stored, 10**-1.5)
    assert (between.low, between.high) == (None, None)
    assert between.threshold == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("fmr", "what"),
    [
        (
            1e-6,
            r"reach down to 0\.0001: it would take 1,000,000 impostor pairs, and they rest on 100,000",
        ),
        (1e-300, "it would take 1 / 1e-300 impostor pairs"),
        (5e-324, "it would take 1 / 4.94066e-324 impostor pairs"),
        (0.5, r"expected a rate from 0\.0001 to 0\.1"),
        (0.0, "expected a rate from"),
        (-1.0, "expected a rate from"),
        (2.0, "expected a rate from"),
        (float("nan"), "expected a rate from"),
    ],
)
def test_a_rate_that_is_not_resolved_is_refused(fmr, what):
    with pytest.raises(ConfigError, match=what):
        select_threshold(STORED, fmr)


@pytest.mark.parametrize("nothing", [None, Validation((), None, 0)])
def test_a_model_without_thresholds_says_so(nothing):
    with pytest.raises(ConfigError, match="stores no thresholds"):
        select_threshold(nothing, 1e-3)
