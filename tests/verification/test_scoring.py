"""Embeddings to similarities: by hand, monotone, and calibrations that find the parameters that made the scores."""

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from bonaface.verification.calibration import Calibration, Logistic, OwnFakeRatio
from bonaface.verification.embeddings import Embeddings
from bonaface.verification.fitting import calibrate, fit_own_fake
from bonaface.verification.scoring import similarity

finite = st.floats(-1e4, 1e4)
positive = st.floats(0, 1e4, exclude_min=True)


def unit(rng, n, dim=8):
    x = rng.normal(size=(n, dim)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def with_cosine(cosine):
    """Pairs of unit vectors with given cosines."""
    cosine = np.asarray(cosine, dtype=np.float64)
    a = np.tile(np.float32([[1, 0]]), (len(cosine), 1))
    return a, np.stack([cosine, np.sqrt(1 - cosine**2)], axis=1).astype(np.float32)


def pairs(rng, n=4000, slope=14.0, bias=-5.0, odds=(2.0, -1.0), wrong=0.0):
    """Same and impostor pairs whose cosines have the log-likelihood ratio ``slope * cosine + bias``, and a fourth of fakes.

    Normal densities of equal variance v and means m1, m0 have the ratio (m1 - m0) / v * x - (m1^2 - m0^2) / 2v.
    """
    variance = 0.02
    apart = slope * variance
    middle = -bias * variance / apart
    label, kind = np.repeat([1, 0, 0, 0], n), np.repeat(["same", "impostor", "other_fake", "other_fake"], n)
    cosine = rng.normal(middle - apart / 2, np.sqrt(variance), 4 * n)
    truly_same = (label == 1) & (rng.random(4 * n) >= wrong)
    cosine[truly_same] += apart
    fake_b = np.repeat([False, False, True, True], n)
    log_odds_a, log_odds_b = (
        rng.normal(odds[1] + (odds[0] - odds[1]) * ~fake, 1.0) for fake in (np.zeros(4 * n, bool), fake_b)
    )
    a, b = with_cosine(np.clip(cosine, -0.999, 0.999))
    a, b = Embeddings(a, log_odds_a.astype(np.float32)), Embeddings(b, log_odds_b.astype(np.float32))
    return a, b, kind, np.zeros(4 * n, bool), fake_b


def test_a_plain_model_gives_the_cosine(rng):
    a, b = unit(rng, 20), unit(rng, 20)
    expected = [float(np.dot(x.astype(np.float64), y.astype(np.float64))) for x, y in zip(a, b, strict=True)]
    made = similarity(Embeddings(a), Embeddings(b), None)
    assert made.dtype == np.float64
    np.testing.assert_allclose(made, expected, rtol=1e-12)
    with_calibration = similarity(Embeddings(a), Embeddings(b), Calibration(Logistic(3.0, 1.0)))
    np.testing.assert_array_equal(made, with_calibration)


def test_formula_by_hand():
    a, b = with_cosine([0.5])
    calibration = Calibration(Logistic(10.0, -4.0), Logistic(2.0, 0.5))
    p_same, p_a, p_b = (1 / (1 + np.exp(-z)) for z in (10 * 0.5 - 4, 2 * 0.3 + 0.5, 2 * -1.5 + 0.5))
    made = similarity(Embeddings(a, np.float32([0.3])), Embeddings(b, np.float32([-1.5])), calibration)
    p_neither = p_a * p_b / (p_a * p_b + p_a * (1 - p_b) + (1 - p_a) * p_b)  # both fakes left out
    np.testing.assert_allclose(made, np.log(p_same) + np.log(0.8 * p_neither + 0.2), rtol=1e-6)


def test_authenticity_without_a_calibration_is_refused(rng):
    both = Embeddings(unit(rng, 2), np.zeros(2, np.float32))
    for calibration in (None, Calibration(Logistic(1.0, 0.0))):
        with pytest.raises(ValueError, match="need a calibration"):
            similarity(both, both, calibration)


@given(slope=st.floats(0.01, 100), bias=finite, scores=st.lists(finite, min_size=2, max_size=20))
def test_log_probability(slope, bias, scores):
    logistic = Logistic(slope, bias)
    scores = np.sort(scores)
    log_p = logistic.log_probability(scores)
    assert np.isfinite(log_p).all()
    assert (log_p <= 0).all()
    assert (np.diff(log_p) >= 0).all()
    np.testing.assert_allclose(logistic.log_odds(scores), slope * scores + bias)


@given(
    low=st.floats(-30, 30),
    more=st.floats(0, 30),
    cosine=st.floats(-0.9, 0.8),
    nearer=st.floats(0, 0.1),
    other=st.floats(-30, 30),
    own_fake=st.sampled_from([None, OwnFakeRatio(6.0, 0.5, -1.0)]),
)
def test_similarity_is_monotone_in_everything(low, more, cosine, nearer, other, own_fake):
    calibration = Calibration(Logistic(12.0, -4.0), Logistic(1.5, 0.2), own_fake=own_fake)

    def of(cosine, odds_a, odds_b):
        a, b = with_cosine([cosine])
        return similarity(Embeddings(a, np.float32([odds_a])), Embeddings(b, np.float32([odds_b])), calibration)[0]

    base = of(cosine, low, other)
    assert of(cosine, low + more, other) >= base - 1e-9
    assert of(cosine + nearer, low, other) >= base - 1e-5
    assert of(cosine, other, low) == pytest.approx(base, abs=1e-6)  # symmetric


OWN = OwnFakeRatio(6.0, 0.5, -1.0, -3.0, 2.0)


def test_formula_of_two_rivals_by_hand():
    a, b = with_cosine([0.5, 0.5, 0.9])
    calibration = Calibration(Logistic(10.0, -4.0), Logistic(2.0, 0.5), own_fake=OWN)
    odds = np.float32([[0.3, 9.0, -9.0], [-1.5, 9.0, 0.0]])
    made = similarity(Embeddings(a, odds[0]), Embeddings(b, odds[1]), calibration)
    expected = []
    for cosine, first, second in zip([0.5, 0.5, 0.9], *odds.tolist(), strict=True):
        g = [2 * each + 0.5 for each in (first, second)]
        neither = min(max(-math.log(sum(math.exp(-each) for each in g)), -3.0), 2.0)
        rivals = [10 * cosine - 4, 6 * cosine + 0.5 * neither - 1]
        expected.append(-math.log(sum(math.exp(-ratio) for ratio in rivals)))
    np.testing.assert_allclose(made, expected, rtol=1e-6)


@given(st.lists(st.floats(-0.9, 0.9), min_size=2, max_size=20, unique=True))
def test_where_authenticity_says_nothing_identity_ranks(cosines):
    calibration = Calibration(Logistic(12.0, -4.0), Logistic(1.5, 0.2), own_fake=OWN)
    a, b = with_cosine(np.sort(cosines))
    odds = np.full(len(cosines), 0.7, np.float32)
    made = similarity(Embeddings(a, odds), Embeddings(b, odds), calibration)
    assert (np.diff(made) >= 0).all()


def test_the_ratio_of_own_fakes_equals_scikit_learns(rng):
    same, own = (rng.normal(middle, (0.1, 2.0), (700, 2)) for middle in ((0.6, 1.0), (0.5, -1.0)))
    source = np.repeat([0, 1], [100, 600])
    weights = 1 / np.bincount(source)[source]
    made = fit_own_fake(same, own, (weights, weights), trust=1.0)
    clipped = np.concatenate([same, own]).clip([-1, -5], [1, 4])
    reference = _with_platts_targets(clipped, np.repeat([1, 0], 700), np.concatenate([weights, weights]))
    np.testing.assert_allclose([made.cosine, made.authenticity], reference.coef_[0], rtol=0.02)
    assert made.bias == pytest.approx(reference.intercept_[0], rel=0.02)


def _with_platts_targets(scores, label, weights):
    """Each score counts as both classes, by the probability that it should have."""
    ones, zeros = np.sum(label == 1), np.sum(label == 0)
    target = np.where(label == 1, (ones + 1) / (ones + 2), 1 / (zeros + 2))
    return LogisticRegression(C=1e6, max_iter=1000).fit(
        np.concatenate([scores, scores]),
        np.repeat([1, 0], len(scores)),
        sample_weight=np.concatenate([weights * target, weights * (1 - target)]),
    )


def test_less_trust_scales_the_weight_and_fits_the_bias_anew(rng):
    same, own = (rng.normal(middle, (0.1, 2.0), (700, 2)) for middle in ((0.6, 1.0), (0.5, -1.0)))
    whole, half = (fit_own_fake(same, own, trust=trust) for trust in (1.0, 0.5))
    assert half.authenticity == pytest.approx(whole.authenticity / 2)
    assert half.cosine == pytest.approx(whole.cosine)

    def loss(bias):
        ratios = (replace(half, bias=bias).log_odds(*each.T) for each in (same, own))
        return sum(np.logaddexp(0, sign * ratio).mean() for sign, ratio in zip((-1, 1), ratios, strict=True))

    biases = half.bias + np.linspace(-0.5, 0.5, 101)
    assert biases[np.argmin([loss(bias) for bias in biases])] == pytest.approx(half.bias, abs=0.011)


def test_evidence_that_points_the_wrong_way_has_no_weight(rng):
    same, own = (rng.normal(middle, 0.1, (200, 2)) for middle in ((0.4, 1.0), (0.6, 0.5)))
    made = fit_own_fake(same, own)
    assert made.cosine == 0
    assert made.authenticity > 0


def test_each_source_weighs_the_same(rng):
    """A thousand pairs of one source and a hundred of another are fitted as if the hundred were repeated ten times."""
    a, b, kind, fake_a, fake_b = pairs(rng, n=500)
    kind = np.where(fake_b, "own_fake", kind)
    few = np.concatenate([np.arange(start, start + 50) for start in range(0, 2000, 500)])
    rows, source = np.concatenate([np.arange(2000), few]), np.repeat([0, 1], [2000, 200])
    whole = np.concatenate([np.arange(2000), np.tile(few, 10)])
    made, expected = (
        calibrate(a.take(at), b.take(at), kind[at], fake_a[at], fake_b[at], source=of)
        for at, of in ((rows, source), (whole, None))
    )
    for of in ("same", "genuine"):
        np.testing.assert_allclose(
            list(asdict(getattr(made, of)).values()), list(asdict(getattr(expected, of)).values()), rtol=1e-2
        )
    np.testing.assert_allclose(
        list(asdict(made.own_fake).values()), list(asdict(expected.own_fake).values()), rtol=3e-2
    )
    assert made.forged_below == pytest.approx(expected.forged_below, abs=0.05)


def test_calibrations_of_0_1_keep_their_rule():
    old = {"same": {"slope": 10.0, "bias": -4.0}, "genuine": {"slope": 2.0, "bias": 0.5}, "prior": -1.0, "doubt": 0.05}
    calibration = Calibration.from_dict(old)
    assert calibration.own_fake is None
    a, b = with_cosine([0.5])
    made = similarity(Embeddings(a, np.float32([0.3])), Embeddings(b, np.float32([-1.5])), calibration)
    neither = 1 / (1 + math.exp(-1.1) + math.exp(2.5))
    np.testing.assert_allclose(made, -math.log(1 + math.exp(0.0)) + math.log(0.95 * neither + 0.05), rtol=1e-6)


def test_take_and_len(rng):
    whole = Embeddings(unit(rng, 5), np.arange(5, dtype=np.float32))
    part = whole.take(np.array([3, 1, 1]))
    assert (len(whole), len(part)) == (5, 3)
    np.testing.assert_array_equal(part.identity, whole.identity[[3, 1, 1]])
    np.testing.assert_array_equal(part.authenticity, [3, 1, 1])
    assert Embeddings(whole.identity).take(np.array([0])).authenticity is None


def test_calibration_finds_the_parameters_of_the_scores(rng):
    made = calibrate(*pairs(rng))
    assert made.same.slope == pytest.approx(14.0, rel=0.1)
    assert made.same.bias == pytest.approx(-5.0, rel=0.15)
    assert made.mislabelled < 0.03
    # Unit normals at 2 and -1: the log-likelihood ratio is 3 x - 1.5.
    assert made.genuine.slope == pytest.approx(3.0, rel=0.1)
    assert made.genuine.bias == pytest.approx(-1.5, rel=0.15)


def test_calibration_sees_through_wrong_labels(rng):
    """A tenth of the pairs called same show two people: the slope stays, and the share is found."""
    made = calibrate(*pairs(rng, wrong=0.1))
    assert made.same.slope == pytest.approx(14.0, rel=0.15)
    assert made.same.bias == pytest.approx(-5.0, rel=0.2)
    assert made.mislabelled == pytest.approx(0.1, abs=0.03)


def test_calibration_of_authenticity_equals_scikit_learns(rng):
    a, b, kind, fake_a, fake_b = pairs(rng, n=500)
    made = calibrate(a, b, kind, fake_a, fake_b).genuine
    odds, genuine = np.concatenate([a.authenticity, b.authenticity]), ~np.concatenate([fake_a, fake_b])
    reference = _with_platts_targets(odds[:, None], genuine, 1 / np.bincount(genuine)[genuine.astype(int)])
    assert made.slope == pytest.approx(reference.coef_[0, 0], rel=0.02)
    assert made.bias == pytest.approx(reference.intercept_[0], rel=0.02, abs=0.02)


@pytest.mark.parametrize("n", [1, 3, 50])
def test_separable_and_few_scores_stay_finite(n):
    a, b = with_cosine([0.9] * n + [0.1] * n)
    made = calibrate(
        Embeddings(a), Embeddings(b), np.repeat(["same", "impostor"], n), np.zeros(2 * n, bool), np.zeros(2 * n, bool)
    )
    assert np.isfinite([made.same.slope, made.same.bias]).all()
    assert made.same.slope > 0
    low, high = made.same.log_odds(np.array([0.1, 0.9]))
    assert low < 0 < high


def test_the_slope_is_never_negative():
    """Scores that are worse than chance keep their order all the same."""
    a, b = with_cosine([0.1, 0.2] * 10 + [0.8, 0.9] * 10)
    made = calibrate(
        Embeddings(a), Embeddings(b), np.repeat(["same", "impostor"], 20), np.zeros(40, bool), np.zeros(40, bool)
    )
    assert 0 < made.same.slope < 5


def test_constant_scores():
    a, b = with_cosine([0.5] * 8)
    made = calibrate(
        Embeddings(a), Embeddings(b), np.repeat(["same", "impostor"], 4), np.zeros(8, bool), np.zeros(8, bool)
    )
    assert made.same.log_odds(np.array([0.5]))[0] == pytest.approx(0.0, abs=1e-3)


def test_what_can_not_be_calibrated(rng):
    a = Embeddings(unit(rng, 4))
    no = np.zeros(4, bool)
    for kind in ("impostor", "same"):
        with pytest.raises(ValueError, match="pairs of the same person and pairs of different people"):
            calibrate(a, a, np.full(4, kind), no, no)


def test_without_impostors_the_fakes_are_set_against(rng):
    a, b, kind, fake_a, fake_b = pairs(rng, n=100)
    kept = (kind == "same") | fake_b
    made = calibrate(a.take(np.flatnonzero(kept)), b.take(np.flatnonzero(kept)), kind[kept], fake_a[kept], fake_b[kept])
    assert made.same.slope > 0


def test_authenticity_without_fakes_keeps_its_log_odds(rng):
    a, b, kind, fake_a, fake_b = pairs(rng, n=100)
    real = np.flatnonzero(~fake_b)
    made = calibrate(a.take(real), b.take(real), kind[real], fake_a[real], fake_b[real])
    assert made.genuine == Logistic(1.0, 0.0)


def test_a_plain_model_has_no_calibration_of_authenticity(rng):
    a, b, kind, fake_a, fake_b = pairs(rng, n=50)
    assert calibrate(Embeddings(a.identity), Embeddings(b.identity), kind, fake_a, fake_b).genuine is None


@given(
    slope=positive,
    bias=finite,
    genuine=st.none() | st.tuples(positive, finite),
    wrong=st.floats(0, 0.5),
    below=st.floats(-9, 0),
)
def test_json_round_trip(slope, bias, genuine, wrong, below):
    calibration = Calibration(Logistic(slope, bias), None if genuine is None else Logistic(*genuine), wrong, below)
    for each in (calibration, replace(calibration, own_fake=OWN)):
        assert Calibration.from_dict(json.loads(json.dumps(each.as_dict()))) == each


def test_a_file_without_the_share_of_wrong_labels():
    assert Calibration.from_dict({"same": {"slope": 1.0, "bias": 2.0}}) == Calibration(Logistic(1.0, 2.0))


def test_one_in_a_hundred_genuine_photos_is_called_a_deepfake(rng):
    a, b, kind, fake_a, fake_b = pairs(rng, n=4000)
    made = calibrate(a, b, kind, fake_a, fake_b)
    real = np.concatenate([a.authenticity[~fake_a], b.authenticity[~fake_b]])
    assert made.called_fake(real).mean() == pytest.approx(0.01, abs=0.002)
    assert made.forged_below < 0
    apart = replace(a, authenticity=np.where(fake_a, -9, 9)), replace(b, authenticity=np.where(fake_b, -9, 9))
    assert calibrate(*apart, kind, fake_a, fake_b).forged_below == 0  # even odds where that costs no genuine photo


def test_a_plain_model_calls_nothing_a_deepfake():
    assert not Calibration(Logistic(1.0, 0.0)).called_fake(np.float32([-99.0, 0.0])).any()


def test_a_few_pairs_that_do_not_overlap_prove_no_more_than_so_many_can():
    """Forty pairs without an error are evidence of odds of about forty to one, not of e to the hundredth."""
    rng = np.random.default_rng(0)
    a, b = with_cosine(np.concatenate([rng.uniform(0.6, 0.9, 40), rng.uniform(-0.1, 0.2, 40)]))
    made = calibrate(Embeddings(a), Embeddings(b), np.repeat(["same", "impostor"], 40), *np.zeros((2, 80), bool))
    low, high = made.same.log_odds(np.array([0.05, 0.75]))
    assert -7 < low < -3 < 3 < high < 7
