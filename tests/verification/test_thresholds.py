import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bonaface.metrics import fnmr_at_fmr
from bonaface.verification.calibration import Calibration, Logistic
from bonaface.verification.embeddings import Embeddings
from bonaface.verification.scoring import similarity
from bonaface.verification.threshold_fitting import (
    fit_llr,
    threshold_at,
    thresholds_of_pairs,
    val_thresholds,
    validation_of,
)
from bonaface.verification.thresholds import Validation


def unit(rng: np.random.Generator, n: int, dim: int = 6) -> np.ndarray:
    vectors = rng.normal(size=(n, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=40), st.sampled_from([0.1, 0.25, 0.5, 1.0]))
def test_the_threshold_is_the_lowest_that_keeps_the_rate(scores: list[int], fmr: float) -> None:
    impostor = np.sort(np.array(scores, dtype=float))[::-1]
    threshold = threshold_at(impostor, fmr)
    assert np.mean(impostor >= threshold) <= fmr
    lower = impostor[impostor < threshold]
    assert not len(lower) or np.mean(impostor >= lower[0]) > fmr


def test_weights_are_repetitions(rng: np.random.Generator) -> None:
    scores = np.sort(rng.normal(size=30))[::-1]
    weights = rng.integers(0, 4, 30)
    repeated = np.repeat(scores, weights)
    for fmr in (0.05, 0.1, 0.3):
        assert threshold_at(scores, fmr, weights) == threshold_at(repeated, fmr)


@pytest.mark.parametrize("judges", [False, True])
def test_all_pairs_of_two_people_as_a_loop_finds_them(rng: np.random.Generator, judges: bool) -> None:
    person = np.repeat([f"p{i}" for i in range(10)], 3)
    is_fake = rng.random(30) < 0.3
    odds = rng.normal(size=30).astype(np.float32) if judges else None
    embeddings = Embeddings(unit(rng, 30), odds)
    calibration = Calibration(Logistic(8.0, -3.0), Logistic(1.5, 0.2) if judges else None)
    loop = []
    for i in range(30):
        for j in range(i):
            if person[i] != person[j] and not is_fake[i] and not is_fake[j]:
                pair = (embeddings.take(np.array([k])) for k in (i, j))
                loop.append(float(similarity(*pair, calibration)[0]))
    found = val_thresholds(embeddings, person, is_fake, calibration, np.random.default_rng(0))
    assert [each.fmr for each in found] == [0.1, 0.01]
    for each in found:
        assert each.impostor_pairs == len(loop)
        assert each.threshold == pytest.approx(fnmr_at_fmr([0.0], loop, each.fmr).threshold, abs=1e-6)
        assert each.low <= each.high


def test_listed_pairs_give_the_threshold_of_fnmr_at_fmr(rng: np.random.Generator) -> None:
    scores = rng.normal(size=300)
    people = rng.integers(0, 20, (2, 300)).astype(str)
    found = thresholds_of_pairs(scores, *people, np.random.default_rng(0))
    assert [each.fmr for each in found] == [0.1, 0.01]
    for each in found:
        assert each.threshold == fnmr_at_fmr([0.0], scores, each.fmr).threshold
        assert each.low <= each.threshold <= each.high
    assert thresholds_of_pairs(scores[:5], *people[:, :5], np.random.default_rng(0)) == ()


def test_two_people_give_thresholds_without_intervals(rng: np.random.Generator) -> None:
    drawn = val_thresholds(Embeddings(unit(rng, 10)), ["ann", "bob"] * 5, [0] * 10, None, np.random.default_rng(0))
    listed = thresholds_of_pairs(rng.random(25), ["ann"] * 25, ["bob"] * 25, np.random.default_rng(0))
    for found in (drawn, listed):
        assert [(each.fmr, each.low, each.high) for each in found] == [(0.1, None, None)]
    stored = Validation(listed, None, 25)
    assert Validation.from_dict(json.loads(json.dumps(stored.as_dict()))) == stored
    three = val_thresholds(Embeddings(unit(rng, 12)), ["a", "b", "c"] * 4, [0] * 12, None, np.random.default_rng(0))
    assert three[0].low < three[0].high


def test_likelihood_ratios_of_two_normal_distributions(rng: np.random.Generator) -> None:
    # N(1, 1) against N(-1, 1): the log-likelihood ratio is 2 x, whatever the shares of the classes.
    scores = np.concatenate([rng.normal(1, 1, 20000), rng.normal(-1, 1, 5000)])
    llr = fit_llr(scores, np.repeat([1, 0], [20000, 5000]))
    assert llr.slope == pytest.approx(2, abs=0.1)
    assert llr.bias == pytest.approx(0, abs=0.1)


@given(share=st.floats(0, 0.35), slope=st.floats(1.5, 4.5), seed=st.integers(0, 999))
@settings(max_examples=8, deadline=None)
def test_wrong_labels_of_same_pairs_leave_the_slope(share: float, slope: float, seed: int) -> None:
    # N(s / 2, 1) against N(-s / 2, 1): the log-likelihood ratio is s x. Steeper ones are more than 6,000 pairs can show.
    rng = np.random.default_rng(seed)
    same, other = rng.normal(slope / 2, 1, 6000), rng.normal(-slope / 2, 1, 6000)
    label = np.repeat([1, 0], 6000)
    clean = fit_llr(np.concatenate([same, other]), label)
    same[: int(share * 6000)] -= slope
    noisy = fit_llr(np.concatenate([same, other]), label)
    assert clean.slope == pytest.approx(slope, rel=0.15)
    assert noisy.slope == pytest.approx(clean.slope, rel=0.2)
    assert noisy.bias == pytest.approx(clean.bias, abs=0.2 * slope)


@given(pairs=st.integers(20, 400), gap=st.floats(1, 30), share=st.floats(0, 0.3))
@settings(max_examples=20, deadline=None)
def test_pairs_that_do_not_overlap_say_no_more_than_so_many_can(pairs: int, gap: float, share: float) -> None:
    rng = np.random.default_rng(0)
    same, other = rng.uniform(0, 1, pairs), rng.uniform(-1, 0, pairs) - gap
    wrong = int(share * pairs)
    same[:wrong] -= gap + 1
    llr = fit_llr(np.concatenate([same, other]), np.repeat([1, 0], pairs))
    assert 1 < np.median(llr.log_odds(same[wrong:])) < 1.5 * np.log(pairs + 2)
    score = Validation((), llr, pairs).score(float(np.median(same[wrong:])))
    assert score is not None
    assert 90 < score < 99.99


def test_what_a_run_stores_survives_json(rng: np.random.Generator) -> None:
    person = np.repeat(list("abcdefgh"), 4)
    embeddings = Embeddings(unit(rng, 32))
    scores, label = rng.normal(size=50), np.arange(50) % 2
    made = validation_of(embeddings, person, np.zeros(32, bool), None, scores, label, np.random.default_rng(0))
    assert made.thresholds
    assert made.impostor_pairs == 8 * 7 // 2 * 16
    assert Validation.from_dict(json.loads(json.dumps(made.as_dict()))) == made


@pytest.mark.parametrize(
    ("stored", "why"),
    [
        ([(-0.01, 0.4)], "fmr: expected a rate above 0"),
        ([(0.0, 0.4)], "fmr: expected a rate above 0"),
        ([(7.0, 0.4)], "fmr: expected a rate above 0"),
        ([(0.01, 0.4), (0.001, 0.3)], "the threshold of fmr 0.001 is below that of 0.01"),
        ([(0.001, 0.3), (0.01, 0.4)], "the threshold of fmr 0.001 is below that of 0.01"),
    ],
)
def test_thresholds_in_disorder_are_damage(stored: list[tuple[float, float]], why: str) -> None:
    thresholds = [
        {"fmr": fmr, "threshold": threshold, "low": 0.0, "high": 1.0, "impostor_pairs": 1000}
        for fmr, threshold in stored
    ]
    with pytest.raises(ValueError, match=why):
        Validation.from_dict({"thresholds": thresholds, "llr": None, "impostor_pairs": 1000})
