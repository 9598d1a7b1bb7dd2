import csv
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from bonaface.errors import DataError
from bonaface.metrics import KINDS, challenge_eer, eer_by_method, eer_rocch, eers_by_kind

SHARED = Path(__file__).resolve().parents[3] / "shared"
LABELS = SHARED / "lfw-deepfakes" / "test_public" / "labels.csv"

# Few distinct values, so that ties within and between the classes are common.
tied_scores = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=25)
any_scores = st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=25)
scores = tied_scores | any_scores


def by_sklearn(same, different):
    label = np.r_[np.ones(len(same)), np.zeros(len(different))]
    fpr, tpr, _ = roc_curve(label, np.r_[same, different])
    fnr = 1 - tpr
    return 0.5 if len({*same, *different}) == 1 else fnr[np.nanargmin(np.abs(fnr - fpr))]


def by_sorting(same, different):
    """The same definition from sorted lists and exact integers, without numpy or scikit-learn."""
    values = sorted(set(same) | set(different), reverse=True)
    points = [(sum(s >= v for s in same), sum(d >= v for d in different)) for v in values]
    steps = [(b[0] - a[0], b[1] - a[1]) for a, b in zip([(0, 0), *points], points, strict=False)]
    last = len(points) - 1
    kept = [p for i, p in enumerate(points) if i in (0, last) or steps[i] != steps[i + 1]]
    n, m = len(same), len(different)
    gaps = [(abs((n - tp) * m - fp * n), n - tp) for tp, fp in [(0, 0), *kept]]
    return {0.5} if len(values) == 1 else {misses / n for gap, misses in gaps if gap == min(gaps)[0]}


def by_mixing_thresholds(same, different):
    """The hull's EER is the best rate at which a coin between two thresholds makes both errors equal: try all."""
    values = [np.inf, *np.unique(np.r_[same, different])[::-1]]
    points = [(np.mean(np.array(same) < v), np.mean(np.array(different) >= v)) for v in values]
    best = 1.0
    for fnr_a, fpr_a in points:
        for fnr_b, fpr_b in points:
            gap_a, gap_b = fnr_a - fpr_a, fnr_b - fpr_b
            if gap_a >= 0 >= gap_b:
                way = 0.0 if gap_a == gap_b else gap_a / (gap_a - gap_b)
                best = min(best, fnr_a + way * (fnr_b - fnr_a))
    return best


@settings(max_examples=150, deadline=None)
@given(scores, scores)
def test_challenge_eer_is_sklearn_to_the_bit(same, different):
    assert challenge_eer(same, different) == by_sklearn(same, different)


@settings(max_examples=150, deadline=None)
@given(scores, scores)
def test_challenge_eer_is_the_reference_by_sorting(same, different):
    assert any(challenge_eer(same, different) == pytest.approx(x, abs=1e-12) for x in by_sorting(same, different))


@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 1), (2, 40)])
def test_scores_that_are_all_equal_are_a_coin(n, m):
    assert challenge_eer([0.3] * n, [0.3] * m) == eer_rocch([0.3] * n, [0.3] * m) == 0.5
    assert challenge_eer([0.1] * n, [0.3] * m) == 1
    assert challenge_eer([0.3] * n, [0.1] * m) == 0


@settings(max_examples=60, deadline=None)
@given(scores, scores)
def test_rocch_is_the_best_mixture_of_two_thresholds(same, different):
    assert eer_rocch(same, different) == pytest.approx(by_mixing_thresholds(same, different), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(tied_scores, tied_scores)
def test_monotone_maps_change_nothing(same, different):
    same, different = np.array(same), np.array(different)
    for eer in (challenge_eer, eer_rocch):
        plain = eer(same, different)
        assert eer(np.exp(same), np.exp(different)) == plain
        assert eer(same**3 + 7, different**3 + 7) == plain


@settings(max_examples=60, deadline=None)
@given(scores, scores, st.randoms(use_true_random=False))
def test_order_changes_nothing(same, different, random):
    shuffled = list(same), list(different)
    for values in shuffled:
        random.shuffle(values)
    assert challenge_eer(*shuffled) == challenge_eer(same, different)
    assert eer_rocch(*shuffled) == eer_rocch(same, different)


@settings(max_examples=60, deadline=None)
@given(scores, scores)
def test_swapped_roles(same, different):
    """Seen from the other side, with scores negated, both errors trade places and the hull's crossing stays."""
    negated = -np.array(different), -np.array(same)
    assert eer_rocch(*negated) == pytest.approx(eer_rocch(same, different), abs=1e-9)


def test_random_scores_against_sklearn():
    rng = np.random.default_rng(0)
    for n, m in [(1, 1), (7, 2000), (2000, 7), (5000, 5000)]:
        for decimals in (1, 2, 12):
            same, different = rng.normal(1, 1, n).round(decimals), rng.normal(0, 1, m).round(decimals)
            assert challenge_eer(same, different) == by_sklearn(same, different)
            assert challenge_eer(np.float32(same), np.float32(different)) == by_sklearn(
                np.float32(same), np.float32(different)
            )


@pytest.mark.parametrize(
    ("same", "different", "challenge", "rocch"),
    [
        ([0.9, 0.8], [0.1, 0.2], 0.0, 0.0),  # separated
        (
            [0.1, 0.2],
            [0.9, 0.8],
            1.0,
            0.5,
        ),  # inverted: all three points are equally far; a coin reaches 0.5
        ([0.5] * 4, [0.5] * 3, 0.5, 0.5),  # all equal: nothing or everything is accepted
        ([0.7], [0.3], 0.0, 0.0),  # one pair of each
        ([0.3], [0.7], 1.0, 0.5),
        ([0.5], [0.5], 0.5, 0.5),
    ],
)
def test_degenerate(same, different, challenge, rocch):
    assert challenge_eer(same, different) == challenge == by_sklearn(same, different)
    assert eer_rocch(same, different) == pytest.approx(rocch)


@pytest.mark.parametrize(
    ("same", "different", "message"),
    [
        ([], [0.1], "same: expected at least one score"),
        ([0.1], [], "different: expected at least one score"),
        ([0.1, np.nan], [0.1], "same: expected finite scores, got nan at position 1"),
        ([0.1], [0.1, 0.2, np.inf], "different: expected finite scores, got inf at position 2"),
        ([[0.1]], [0.1], r"same: expected one score a pair, shape \(n,\), got shape \(1, 1\)"),
        (["high"], [0.1], "same: expected numbers"),
    ],
)
def test_bad_scores(same, different, message):
    for eer in (challenge_eer, eer_rocch):
        with pytest.raises(DataError, match=message):
            eer(same, different)


def labelled(rng, n=400):
    kind = rng.choice(KINDS, n)
    label = (kind == "same").astype(int)
    return rng.normal(label, 0.8).round(2), label, kind


def test_by_kind_compares_the_right_pairs():
    similarity, label, kind = labelled(np.random.default_rng(1))
    rates = eers_by_kind(similarity, label, kind)
    against = {"sv_eer": ["impostor"], "spf_eer": ["own_fake"], "other_fake_eer": ["other_fake"], "sasv_eer": KINDS[1:]}
    for name, kinds in (against | {"challenge_eer": KINDS[1:]}).items():
        assert rates[name] == by_sklearn(similarity[kind == "same"], similarity[np.isin(kind, kinds)])
        assert rates[f"{name}_rocch"] == eer_rocch(similarity[kind == "same"], similarity[np.isin(kind, kinds)])
    assert len(rates) == 10
    assert len({rates[name] for name in against}) > 1


def test_by_kind_without_kinds():
    similarity, label, kind = labelled(np.random.default_rng(2))
    assert set(eers_by_kind(similarity, label)) == {"challenge_eer", "challenge_eer_rocch"}
    few = np.isin(kind, ["same", "own_fake"])
    names = set(eers_by_kind(similarity[few], label[few], kind[few]))
    assert names == {"challenge_eer", "challenge_eer_rocch", "spf_eer", "spf_eer_rocch"}
    assert eers_by_kind(pd.Series(similarity), pd.Series(label), pd.Series(kind))["sv_eer"] >= 0


@pytest.mark.parametrize(
    ("label", "kind", "message"),
    [
        ([1, 1, 0], None, r"label: expected one a similarity, shape \(2,\), got shape \(3,\)"),
        ([1, 2], None, "label: expected 0 or 1, got 2 at position 1"),
        ([1, 1], None, "label: expected both 0 and 1, got only 1"),
        ([0, 0], None, "label: expected both 0 and 1, got only 0"),
        (
            [1, 0],
            ["same", "fake"],
            "kind: expected one of same, impostor, own_fake, other_fake, got 'fake' at position 1",
        ),
        ([1, 0], ["same", None], "got 'None' at position 1"),
        ([1, 0], ["impostor", "own_fake"], "kind: impostor at position 0 contradicts its label 1"),
        ([1, 0], ["same"], r"kind: expected one a similarity, shape \(2,\)"),
    ],
)
def test_bad_tables(label, kind, message):
    with pytest.raises(DataError, match=message):
        eers_by_kind([0.5, 0.4], label, kind)


def test_by_method_is_worst_first_and_looks_at_own_fakes_only():
    rng = np.random.default_rng(3)
    kind = np.repeat(["same", "own_fake", "own_fake", "own_fake", "other_fake"], 60)
    method_0 = np.repeat(["real", "easy", "real", "middling", "unseen"], 60)
    method_1 = np.repeat(["real", "real", "hard", "real", "real"], 60)
    similarity = rng.normal(np.repeat([1, -3, 1.5, 0, 5], 60), 1)
    rates = eer_by_method(similarity, kind == "same", kind, method_0, method_1)
    assert list(rates) == ["hard", "middling", "easy"]
    assert rates["hard"] == by_sklearn(similarity[kind == "same"], similarity[method_1 == "hard"])
    with pytest.raises(DataError, match="own_fake pair at position 60 has two real images"):
        eer_by_method(similarity, kind == "same", kind, ["real"] * 300, ["real"] * 300)
    with pytest.raises(DataError, match="method: expected one a pair"):
        eer_by_method(similarity, kind == "same", kind, ["real"], ["real"])


@pytest.mark.skipif(not LABELS.exists(), reason="../shared with the measuring data and its score.py is not here")
def test_equal_to_the_outside_script(tmp_path):
    labels = pd.read_csv(LABELS, dtype={"pair_id": str})
    rng = np.random.default_rng(4)
    middle = labels["kind"].map({"same": 0.6, "own_fake": 0.45, "impostor": 0.05, "other_fake": 0.0})
    similarity = rng.normal(middle, 0.2).round(3)
    submission = tmp_path / "submission.csv"
    with submission.open("w", newline="") as file:
        csv.writer(file).writerows([["pair_id", "similarity"], *zip(labels["pair_id"], similarity, strict=True)])
    script = [sys.executable, str(SHARED / "score.py"), str(submission), str(LABELS)]
    printed = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    theirs = {name.split("/")[-1]: float(rate) for name, rate in re.findall(r"(EER|vs \S+)\s+([\d.]+)", printed)}
    ours = eers_by_kind(similarity, labels["label"], labels["kind"])
    names = {
        "EER": "challenge_eer",
        "vs impostor": "sv_eer",
        "vs own_fake": "spf_eer",
        "vs other_fake": "other_fake_eer",
    }
    methods = eer_by_method(similarity, labels["label"], labels["kind"], labels["method_0"], labels["method_1"])
    expected = {theirs_name: ours[name] for theirs_name, name in names.items()} | methods
    assert theirs == {name: pytest.approx(rate, abs=5.1e-5) for name, rate in expected.items()}
