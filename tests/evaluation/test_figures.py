"""Figures beside slow references: operating points, folds, calibration."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from bonaface.errors import DataError
from bonaface.evaluation.figures import bootstrap_of, calibration_figures, compare, groups_of, judge
from bonaface.evaluation.scores import PairScores
from bonaface.evaluation.threshold_table import Bootstrap, operating_rows
from bonaface.evaluation.wording import single_photos
from bonaface.metrics import fnmr_at_fmr, reliability
from bonaface.metrics.fold_accuracy import fold_accuracy
from bonaface.verification.calibration import Logistic
from bonaface.verification.thresholds import Threshold, Validation

KINDS = ["same", "impostor", "own_fake", "other_fake"]


def table(rng: np.random.Generator, n: int = 400, people: int = 40) -> tuple[np.ndarray, pd.DataFrame]:
    kind = rng.choice(KINDS, n, p=[0.4, 0.3, 0.2, 0.1])
    first, second = rng.integers(0, people, (2, n))
    second = np.where(np.isin(kind, ["same", "own_fake"]), first, second)
    method = np.where(np.isin(kind, ["own_fake", "other_fake"]), rng.choice(["swap", "blend"], n), "real")
    score = rng.normal(size=n) + np.select([kind == "same", kind == "own_fake"], [2.0, 1.0], 0.0)
    columns = {"label": (kind == "same").astype(int), "kind": kind, "person_0": first.astype(str)}
    return score, pd.DataFrame(columns | {"person_1": second.astype(str), "method_0": "real", "method_1": method})


def test_thresholds_of_the_judged_pairs_are_those_of_fnmr_at_fmr(rng: np.random.Generator) -> None:
    score, labels = table(rng)
    groups = groups_of(labels)
    rows = operating_rows(score, groups, None, bootstrap_of(labels, 50))
    assert [row["fmr_target"] for row in rows] == [0.1, 0.01, 0.001, 0.0001, 0.00001]
    for row in rows[:2]:
        wanted = fnmr_at_fmr(score[groups["same"]], score[groups["impostor"]], row["fmr_target"])
        assert row["threshold"]["estimate"] == wanted.threshold
        assert row["fnmr"]["estimate"] == pytest.approx(wanted.fnmr)
        assert row["fmr"]["estimate"] == pytest.approx(wanted.fmr)
        assert row["iapar"]["estimate"] == pytest.approx(np.mean(score[groups["own_fake"]] >= wanted.threshold))
        assert row["source"] == "judged"
        assert row["fnmr"]["low"] <= row["fnmr"]["estimate"] <= row["fnmr"]["high"]
    assert all("cannot resolve" in row["refused"] for row in rows[2:])


def test_thresholds_from_elsewhere_stay_as_they_are(rng: np.random.Generator) -> None:
    score, labels = table(rng)
    groups = groups_of(labels)
    known = Validation((Threshold(1e-3, 0.7, 0.6, 0.8, 5000),), None, 5000)
    rows = operating_rows(score, groups, known, bootstrap_of(labels, 50))
    row = rows[2]
    assert row["source"] == "validation"
    assert row["threshold"] == {"estimate": 0.7, "low": 0.6, "high": 0.8}
    for name, mask in groups.items():
        assert row["accepted"][name]["estimate"] == pytest.approx(np.mean(score[mask] >= 0.7))
    assert ["threshold" in each for each in rows] == [False, False, True, False, False]


def test_intervals_over_people_are_wider_where_pairs_hang_together(rng: np.random.Generator) -> None:
    person = np.repeat(np.arange(30), 20)
    score = np.concatenate([rng.normal(size=30)[person], rng.normal(size=600)])
    kind = np.repeat(["own_fake", "impostor"], 600)
    groups = {name: kind == name for name in ("own_fake", "impostor")}
    widths = []
    for unit in (np.concatenate([person, 30 + np.arange(600)]), np.arange(1200)):
        row = operating_rows(score, groups, None, Bootstrap(unit, unit, "people", 200))[0]
        widths.append(row["iapar"]["high"] - row["iapar"]["low"])
    assert widths[0] > 2 * widths[1]


def test_without_kinds_there_is_no_word_of_deepfakes(rng: np.random.Generator) -> None:
    score, labels = table(rng)
    figures = judge(PairScores("m", "s", score), labels[["label"]], bootstrap_of(labels[["label"]], 50))
    assert figures["bootstrap"]["unit"] == "pairs"
    assert "spf_eer" not in figures
    assert "iapar" not in figures["operating_points"][0]
    assert figures["operating_points"][0]["fmr"]["estimate"] <= 0.1


def test_figures_as_scikit_learn_has_them(rng: np.random.Generator) -> None:
    score, labels = table(rng)
    figures = judge(PairScores("m", "s", score), labels, bootstrap_of(labels, 50))
    for name, kinds in (("sv_eer", ["impostor"]), ("spf_eer", ["own_fake"]), ("challenge_eer", KINDS[1:])):
        used = labels["kind"].isin(["same", *kinds]).to_numpy()
        fpr, tpr, _ = roc_curve(labels["label"][used], score[used])
        assert figures[name] == (1 - tpr)[np.nanargmin(np.abs(1 - tpr - fpr))]
    assert figures["auc"]["all"] == pytest.approx(roc_auc_score(labels["label"], score))
    assert list(figures["by_method"].values()) == sorted(figures["by_method"].values(), reverse=True)
    assert set(figures["operating_points"][0]["iapar_by_method"]) == {"swap", "blend"}
    assert figures["pairs_by_kind"] == labels["kind"].value_counts().to_dict()


def test_few_people_have_figures_without_intervals() -> None:
    labels = pd.DataFrame(
        {"label": [1, 0], "kind": ["same", "impostor"], "person_0": ["a", "a"], "person_1": ["a", "b"]}
    )
    figures = judge(PairScores("m", "s", np.array([0.9, 0.1])), labels, bootstrap_of(labels, 50))
    assert figures["challenge_eer"] == 0
    assert figures["intervals"]["challenge_eer"] == {
        "estimate": 0.0,
        "low": 0.0,
        "high": 1.0,
    }  # one pair proves nothing
    figures = judge(PairScores("m", "s", np.array([0.1, 0.9])), labels, bootstrap_of(labels, 50))
    assert figures["intervals"]["challenge_eer"]["low"] == 0
    assert (
        compare([PairScores("m", "s", np.array([0.9, 0.1]))] * 2, labels, bootstrap_of(labels, 50))[0]["differences"]
        == {}
    )


def test_a_better_model_is_told_apart_and_a_copy_is_not(rng: np.random.Generator) -> None:
    score, labels = table(rng, 400, 60)
    better = score + 2.0 * (labels["kind"] == "same").to_numpy()
    scores = [PairScores("a", "", score), PairScores("b", "", better), PairScores("c", "", score.copy())]
    rows = compare(scores, labels, bootstrap_of(labels, 100))
    assert rows[0]["differences"]["spf_eer"]["high"] < 0
    assert rows[0]["differences"]["spf_eer"]["p_value"] < 0.05
    assert rows[1]["differences"]["spf_eer"]["p_value"] == 1


def test_single_photos_are_judged_where_the_model_does(rng: np.random.Generator) -> None:
    score, labels = table(rng)
    odds = np.where(labels[["method_0", "method_1"]] == "real", 1.0, -1.0)
    odds[0] = np.nan
    scores = PairScores("m", "s", score, authenticity=odds)
    found = judge(scores, labels, bootstrap_of(labels, 20))["fake_score"]
    assert (found["d_eer"], found["apcer_at_0"], found["bpcer_at_0"], found["auc"]) == (0, 0, 0, 1)
    assert found["genuine"] + found["fakes"] == 2 * len(labels) - 2


def test_single_photos_are_judged_at_the_models_threshold(rng: np.random.Generator) -> None:
    score, labels = table(rng)
    real = (labels[["method_0", "method_1"]] == "real").to_numpy()
    odds = np.where(real, 1.0, -1.0)
    scores = PairScores("m", "s", score, authenticity=odds, forged_below=-2.0)
    figures = judge(scores, labels, bootstrap_of(labels, 20))
    found = figures["fake_score"]
    assert (found["bpcer"], found["apcer"], found["bpcer_at_0"], found["apcer_at_0"]) == (0, 1, 0, 0)
    assert (
        f"0 % of {real.sum():,} genuine ones are classified as fake (BPCER), 100 % of {(~real).sum():,}"
        in single_photos(figures)
    )


def test_of_real_photos_alone_is_said_how_many_are_taken_for_fakes(rng: np.random.Generator) -> None:
    score, labels = table(rng)
    photos = labels["kind"].isin(["same", "impostor"]).to_numpy()
    score, labels = score[photos], labels[photos].reset_index(drop=True)
    odds = np.ones((len(labels), 2))
    odds[: len(labels) // 4] = -1.0
    figures = judge(PairScores("m", "s", score, authenticity=odds), labels, bootstrap_of(labels, 20))
    called = (len(labels) // 4) / len(labels)
    counts = {"genuine": 2 * len(labels), "fakes": 0}
    assert figures["fake_score"] == {**counts, "threshold": 0.0, "bpcer": called, "bpcer_at_0": called}
    assert "are classified as fake (BPCER)." in single_photos(figures)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_folds_as_a_slow_search_has_them(data: st.DataObject) -> None:
    n = data.draw(st.integers(4, 24))
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    score = rng.integers(0, 9, n) / 8
    label, fold = np.arange(n) % 2, (np.arange(n) // 2) % 2
    found = fold_accuracy(score, label, fold)
    for number, accuracy in enumerate(found.folds):
        train, test = fold != number, fold == number
        known = np.unique(score[train])
        middles = np.concatenate([[known[0]], (known[1:] + known[:-1]) / 2, [np.nextafter(known[-1], np.inf)]])
        best = max(np.mean((score[train] >= t) == label[train]) for t in middles)
        able = [t for t in middles if np.mean((score[train] >= t) == label[train]) == best]
        assert any(np.mean((score[test] >= t) == label[test]) == accuracy for t in able)
    assert found.mean == pytest.approx(np.mean(found.folds))
    assert found.standard_error == pytest.approx(np.std(found.folds, ddof=1) / np.sqrt(2))


def test_one_fold_is_refused() -> None:
    with pytest.raises(DataError, match="two or more"):
        fold_accuracy([0.9, 0.1], [1, 0], [0, 0])


def test_calibrated_ratios_lie_on_the_diagonal(rng: np.random.Generator) -> None:
    ratio = np.concatenate([rng.normal(2, 2, 40000), rng.normal(-2, 2, 40000)])  # N(m, 2m) ratios are calibrated
    mated = np.arange(80000) < 40000
    rows = reliability(ratio, mated)
    assert sum(row["weight"] for row in rows) == pytest.approx(1)
    assert all(abs(row["predicted"] - row["observed"]) < 0.03 for row in rows)


def test_calibration_says_where_it_comes_from(rng: np.random.Generator) -> None:
    score, mated = rng.normal(size=200), np.arange(200) < 100
    score[mated] += 2
    own, given_ = (calibration_figures(score, mated, llr) for llr in (None, Logistic(20.0, 0.0)))
    assert (own["source"], given_["source"]) == ("judged", "validation")
    assert own["min_cllr"] <= own["cllr"] < given_["cllr"]
    assert own["min_cllr"] == given_["min_cllr"]


def test_an_interval_needs_people() -> None:
    one = pd.DataFrame({"label": [1, 0], "person_0": "a", "person_1": "a"})
    assert bootstrap_of(one).unit == "pairs"
    assert bootstrap_of(one.assign(person_1=["a", ""])).unit == "pairs"
    assert isinstance(bootstrap_of(one.assign(person_1=["a", "b"])), Bootstrap)
    assert bootstrap_of(one.assign(person_1=["a", "b"])).unit == "people"
