import time

import numpy as np
import pytest

from bonaface.errors import DataError
from bonaface.metrics import (
    KINDS,
    eer_differences,
    eer_intervals,
    eers_by_kind,
    fnmr_at_fmr,
    fnmr_intervals,
    person_weights,
    share_interval,
)


def pairs(rng, people=40, count=300, decimals=2):
    """Pairs of the four kinds; each person has an own ease, so that pairs of one person go together."""
    kind = rng.choice(KINDS, count)
    person_0 = rng.integers(0, people, count)
    other = (person_0 + rng.integers(1, people, count)) % people
    person_1 = np.where(np.isin(kind, ["same", "own_fake"]), person_0, other)
    ease = rng.normal(0, 0.7, people)
    middle = np.select([kind == "same", kind == "own_fake"], [1.5, 0.7], 0.0)
    score = (middle + ease[person_0] + ease[person_1] + rng.normal(0, 0.5, count)).round(decimals)
    return score, (kind == "same").astype(int), kind, person_0, person_1


def test_weights_are_products_of_multiplicities():
    person_0, person_1 = ["a", "a", "b", "c"], ["a", "b", "c", "c"]
    seen = set()
    for weights in person_weights(person_0, person_1, 300, np.random.default_rng(0)):
        a, c = weights[0], weights[3]
        b = 3 - a - c
        assert weights.tolist() == [a, a * b, b * c, c]
        seen.add((a, b, c))
    assert len(seen) == 10, "all ways of drawing three of three occur"


def test_replicates_are_the_figures_of_repeated_pairs():
    """Each replicate is what ``eers_by_kind`` says of a table in which each pair is written as often as it counts."""
    score, label, kind, person_0, person_1 = pairs(np.random.default_rng(1))
    draws = [np.repeat(np.arange(len(w)), w) for w in person_weights(person_0, person_1, 50, np.random.default_rng(2))]
    expected = [eers_by_kind(score[i], label[i], kind[i]) for i in draws]
    got = eer_intervals(score, label, kind, person_0, person_1, rng=np.random.default_rng(2), replicates=50)
    assert len(got) == 10
    for name, interval in got.items():
        low, high = np.quantile([rates[name] for rates in expected], [0.025, 0.975])
        assert (interval.low, interval.high) == pytest.approx((low, high))
        assert interval.estimate == eers_by_kind(score, label, kind)[name]
        assert interval.replicates == 50


def test_fnmr_replicates_are_the_figures_of_repeated_pairs():
    score, label, _, person_0, person_1 = pairs(np.random.default_rng(3))
    score = score.astype(np.float32)
    draws = [np.repeat(np.arange(len(w)), w) for w in person_weights(person_0, person_1, 50, np.random.default_rng(4))]
    points = [fnmr_at_fmr(score[i][label[i] == 1], score[i][label[i] == 0], 0.1) for i in draws]
    threshold, fnmr = fnmr_intervals(
        score, label, person_0, person_1, 0.1, rng=np.random.default_rng(4), replicates=50, level=0.8
    )
    exact = fnmr_at_fmr(score[label == 1], score[label == 0], 0.1)
    assert (threshold.estimate, fnmr.estimate) == pytest.approx((exact.threshold, exact.fnmr))
    for interval, values in ((threshold, [p.threshold for p in points]), (fnmr, [p.fnmr for p in points])):
        assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(values, [0.1, 0.9])), abs=1e-6)
    with pytest.raises(ValueError, match="cannot resolve"):
        fnmr_intervals(score, label, person_0, person_1, 1e-5, rng=np.random.default_rng(4))


def test_intervals_are_wider_than_those_of_pairs():
    """Where pairs of one person go together, taking pairs for independent is overconfident."""
    rng = np.random.default_rng(5)
    score, label, kind, person_0, person_1 = pairs(rng, people=25, count=2000, decimals=9)
    people = eer_intervals(score, label, kind, person_0, person_1, rng=rng, replicates=300)["sv_eer"]
    own = np.arange(len(score))
    alone = eer_intervals(score, label, kind, own, own, rng=rng, replicates=300)["sv_eer"]
    assert people.high - people.low > 1.5 * (alone.high - alone.low)


def test_intervals_cover_the_truth():
    """Mated scores are N(1, 1), others N(0, 1) with one pair a person: the EER is Phi(-1/2), inside 19 of 20 times."""
    rng, inside, n = np.random.default_rng(6), 0, 400
    label = np.repeat([0, 1], n)
    for _ in range(60):
        score = rng.normal(label, 1)
        got = eer_intervals(score, label, None, np.arange(2 * n), np.arange(2 * n), rng=rng, replicates=150)
        inside += got["challenge_eer"].low <= 0.308538 <= got["challenge_eer"].high
    assert 51 <= inside <= 60


def test_one_kind_of_few_people_costs_the_others_no_interval():
    """As deepfakes of one's own face beside a set of many people."""
    rng = np.random.default_rng(7)
    people = np.arange(40).astype(str)
    kind = np.repeat(["same", "impostor", "own_fake"], [40, 40, 10])
    first = np.concatenate([people, people, np.repeat("0", 10)])
    second = np.concatenate([people, np.roll(people, 1), np.repeat("0", 10)])
    label, score = (kind == "same").astype(int), rng.normal((kind == "same") * 2.0, 1)
    found = eer_intervals(score, label, kind, first, second, rng=rng, replicates=200)
    assert "spf_eer" not in found
    assert found["sv_eer"].low < found["sv_eer"].high
    assert found["challenge_eer"].low < found["challenge_eer"].high
    assert set(eer_differences(score, -score, label, kind, first, second, rng=rng, replicates=200)) == set(found)


def test_differences():
    rng = np.random.default_rng(7)
    score, label, kind, person_0, person_1 = pairs(rng, people=100, count=1500)
    noisy = score + rng.normal(0, 1.5, len(score))
    table = label, kind, person_0, person_1
    worse = eer_differences(noisy, score, *table, rng=np.random.default_rng(0), replicates=300)["challenge_eer"]
    assert 0 < worse.low < worse.estimate < worse.high
    assert 2 / 301 <= worse.p_value < 0.03
    better = eer_differences(score, noisy, *table, rng=np.random.default_rng(0), replicates=300)["challenge_eer"]
    assert (better.low, better.estimate, better.high) == pytest.approx((-worse.high, -worse.estimate, -worse.low))
    same = eer_differences(score, np.exp(score), *table, rng=rng, replicates=50)
    assert all((d.estimate, d.low, d.high, d.p_value) == (0, 0, 0, 1) for d in same.values())


def test_p_values_of_equal_models_are_spread_out():
    rng = np.random.default_rng(8)
    low = 0
    for _ in range(60):
        score, label, _, person_0, person_1 = pairs(rng, people=60, count=400)
        a, b = (score + rng.normal(0, 0.6, len(score)) for _ in range(2))
        table = label, None, person_0, person_1
        low += eer_differences(a, b, *table, rng=rng, replicates=100)["challenge_eer_rocch"].p_value < 0.1
    assert low <= 14, "at most a tenth is expected"


def test_share():
    rng = np.random.default_rng(9)
    person = rng.integers(0, 200, 1000)
    accepted = rng.random(1000) < 0.3
    got = share_interval(accepted, person, person, rng=rng)
    assert got.estimate == accepted.mean()
    spread = np.sqrt(0.3 * 0.7 / 1000)
    assert got.high - got.low == pytest.approx(2 * 1.96 * spread, rel=0.2)
    with pytest.raises(DataError, match="counted: expected true or false"):
        share_interval([0.5, 0.2], [1, 2], [1, 2], rng=rng)


def test_seeded():
    table = pairs(np.random.default_rng(10))
    first, second = (eer_intervals(*table, rng=np.random.default_rng(3), replicates=20) for _ in range(2))
    assert first == second
    assert first != eer_intervals(*table, rng=np.random.default_rng(4), replicates=20)


def test_wrong_people_and_settings():
    score, label, kind, person_0, person_1 = pairs(np.random.default_rng(11), count=50)
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="person: expected one an image of each of 50 pairs"):
        eer_intervals(score, label, kind, person_0[:9], person_1[:9], rng=rng)
    with pytest.raises(DataError, match="person: expected one an image of each pair"):
        eer_intervals(score, label, kind, person_0, person_1[:9], rng=rng)
    with pytest.raises(DataError, match="person: missing in the pair at position 7"):
        eer_intervals(score, label, kind, np.where(np.arange(50) == 7, None, person_0), person_1, rng=rng)
    with pytest.raises(ValueError, match="a level in"):
        eer_intervals(score, label, kind, person_0, person_1, rng=rng, level=95)
    with pytest.raises(DataError, match=r"too few people: only .* of 100 draws"):
        eer_intervals([1.0, 0.0], [1, 0], None, ["a", "b"], ["a", "c"], rng=rng, replicates=100)


@pytest.mark.parametrize("people", [2, 3, 40])
def test_pairs_of_two_people_have_no_interval_of_no_width(people):
    names = [f"p{i}" for i in range(people)]
    of_one = [name for name in names for _ in range(4)]
    first, second = [*of_one, *["p0"] * 30], [*of_one, *["p1"] * 30]
    score = np.random.default_rng(0).random(len(first))
    label = [1] * len(of_one) + [0] * 30
    with pytest.raises(DataError, match="too few people"):
        eer_intervals(score, label, None, first, second, rng=np.random.default_rng(0))
    with pytest.raises(DataError, match="too few people"):
        fnmr_intervals(score, label, first, second, 0.1, rng=np.random.default_rng(0))


def test_three_people_have_an_interval():
    names = [f"p{i}" for i in range(3)]
    impostors = [(a, b) for a in names for b in names if a < b] * 10
    first, second = (np.array([*names * 5, *(pair[side] for pair in impostors)]) for side in (0, 1))
    score, label = np.random.default_rng(0).random(len(first)), np.array([1] * 15 + [0] * 30)
    found = eer_intervals(score, label, None, first, second, rng=np.random.default_rng(0))["challenge_eer"]
    assert found.low < found.high


def test_a_thousand_replicates_of_two_thousand_pairs_take_seconds():
    table = pairs(np.random.default_rng(12), people=250, count=2000, decimals=9)
    start = time.process_time()
    eer_intervals(*table, rng=np.random.default_rng(0))
    assert time.process_time() - start < 3 * 2, "about 1 s on an idle core, for all ten figures"
