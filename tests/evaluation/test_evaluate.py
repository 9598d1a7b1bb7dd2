"""``bonaface.evaluation.evaluate.evaluate`` from Python: values, files and what it says of them."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console

from bonaface.errors import BonafaceError, ConfigError, DataError
from bonaface.evaluation.evaluate import PairSource, evaluate
from bonaface.evaluation.inputs import copied_pairs, read_judged
from bonaface.evaluation.wording import eer_rows, headline, table_of

pytest_plugins = ("labelled_pairs",)

KINDS = ["same", "impostor", "own_fake", "other_fake"]


@pytest.fixture
def labels(rng: np.random.Generator) -> pd.DataFrame:
    kind = rng.choice(KINDS, 400, p=[0.4, 0.3, 0.2, 0.1])
    return pd.DataFrame({"label": (kind == "same").astype(int), "kind": kind})


@pytest.fixture
def mine(labels: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=400) + 2.0 * labels["label"].to_numpy()


def shown(what: object, width: int = 140) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(what)
    return console.file.getvalue()


def test_values_and_files_give_the_same_figures(labels, mine, tmp_path) -> None:
    ids = [f"{n:08d}" for n in range(400)]
    labels.assign(pair_id=ids).to_csv(tmp_path / "labels.csv", index=False)
    pd.DataFrame({"pair_id": ids, "similarity": mine}).to_csv(tmp_path / "mine.csv", index=False)
    values = evaluate(scores={"mine": mine}, labels=labels, replicates=20)
    files = evaluate(scores=tmp_path / "mine.csv", labels=tmp_path / "labels.csv", replicates=20)
    for each in (values, files):
        each.models[0].pop("source")
    assert values.models == files.models
    report = values.write(tmp_path / "out")
    assert "data:image" not in report.read_text()
    assert {file.name for file in report.parent.iterdir()} == {"metrics.json", "report.html", "scores.csv", "table.md"}


def test_what_matters_comes_first(labels, mine) -> None:
    found = evaluate(scores={"mine": mine}, labels=labels, replicates=20)
    point = found.models[0]["operating_points"][1]
    assert point["fmr_target"] == 0.01
    share = f"{100 * point['iapar']['estimate']:.1f} % of own deepfakes are accepted at FMR 1 %"
    assert found.sentences[0].startswith(share)
    assert shown(found).lstrip().startswith(share)
    assert str(found) == found.sentences[0]


def test_two_models_stand_side_by_side(labels, mine, rng) -> None:
    found = evaluate(scores={"mine": mine, "other": mine + rng.normal(size=400)}, labels=labels, replicates=20)
    text = shown(found)
    (row,) = [line for line in text.splitlines() if "own deepfake (SPF, spoofing)" in line]
    assert all(f"{figures['spf_eer']:.4f} [" in row for figures in found.models)
    assert found.sentences[0].startswith("mine: ")
    assert found.sentences[1].startswith("other: ")


def test_a_figure_is_shown_once(labels, mine) -> None:
    found = evaluate(scores={"mine": mine}, labels=labels, replicates=20)
    assert found.models[0]["sasv_eer"] == found.models[0]["challenge_eer"]
    assert [key for key, _ in eer_rows(found.models)] == ["challenge_eer", "sv_eer", "spf_eer", "other_fake_eer"]
    people = labels["kind"].isin(["same", "impostor"]).to_numpy()
    found = evaluate(scores={"mine": mine[people]}, labels=labels[people], replicates=20)
    assert [key for key, _ in eer_rows(found.models)] == ["sv_eer"]
    found = evaluate(scores={"mine": mine}, labels=labels["label"].to_numpy(), replicates=20)
    assert eer_rows(found.models) == [("challenge_eer", "all negatives")]


def test_no_error_seen_is_not_no_error(labels) -> None:
    found = evaluate(scores={"perfect": labels["label"].to_numpy(dtype=float)}, labels=labels, replicates=20)
    own = int((labels["kind"] == "own_fake").sum())
    point = found.models[0]["operating_points"][1]
    assert point["iapar"] == {"estimate": 0.0, "low": 0.0, "high": pytest.approx(3 / own)}
    assert found.models[0]["intervals"]["spf_eer"]["high"] == pytest.approx(3 / own)
    assert "0.0000 [0.0000, 0.0000]" not in shown(found)


@pytest.mark.parametrize("rate", [0.02, (0.05, 0.02)])
def test_any_rate_that_the_pairs_resolve(labels, mine, rate) -> None:
    found = evaluate(scores={"mine": mine}, labels=labels, fmr=rate, replicates=20)
    first = rate if isinstance(rate, float) else rate[0]
    rows = {row["fmr_target"]: row for row in found.models[0]["operating_points"]}
    assert {0.1, 0.02, 0.01} <= set(rows)
    impostors = mine[labels["kind"] == "impostor"]
    assert rows[0.02]["fmr"]["estimate"] == np.floor(0.02 * len(impostors)) / len(impostors)
    assert f"accepted at FMR {100 * first:g} %" in found.sentences[0]


def test_validation_pairs_give_thresholds_for_any_rate(labels, mine) -> None:
    other = PairSource(labels=labels, scores={"mine": mine + 0.5})
    found = evaluate(scores={"mine": mine}, labels=labels, validation=other, fmr=0.02, replicates=20)
    row = next(row for row in found.models[0]["operating_points"] if row["fmr_target"] == 0.02)
    assert row["source"] == "validation"
    own = evaluate(scores={"mine": mine}, labels=labels, fmr=0.02, replicates=20).models[0]["operating_points"]
    judged = next(row for row in own if row["fmr_target"] == 0.02)
    assert row["threshold"]["estimate"] == pytest.approx(judged["threshold"]["estimate"] + 0.5)


@pytest.mark.parametrize("labelled", ["frame", "series"])
def test_a_series_goes_by_its_index(labels, mine, labelled) -> None:
    indexed = labels.set_index(np.arange(len(labels)) + 7)
    given = indexed if labelled == "frame" else indexed["label"]
    series = pd.Series(mine, indexed.index)
    expected = evaluate(scores={"m": mine}, labels=given, replicates=1).models[0]["challenge_eer"]
    for scores in (series, series.sample(frac=1, random_state=0), series.reset_index(drop=True)):
        found = evaluate(scores={"m": scores}, labels=given, replicates=1).models[0]["challenge_eer"]
        assert found == expected


def test_a_series_goes_by_the_pair_ids(labels, mine) -> None:
    given = labels.assign(pair_id=[f"p{row}" for row in range(len(labels))])
    series = pd.Series(mine, given["pair_id"]).sample(frac=1, random_state=0)
    expected, found = (
        evaluate(scores={"m": scores}, labels=given, replicates=1).models[0]["challenge_eer"]
        for scores in (mine, series)
    )
    assert found == expected
    with pytest.raises(DataError, match="scores of m: have another index than the labels"):
        evaluate(scores={"m": series.rename(lambda key: f"x{key}")}, labels=given)
    shuffled = given.sample(frac=1, random_state=0)
    with pytest.raises(DataError, match="scores of m: are numbered in order, and the labels in another"):
        evaluate(scores={"m": pd.Series(mine)}, labels=shuffled)


def test_numbers_of_other_kinds(labels, mine) -> None:
    rows = [
        evaluate(scores={"m": mine}, labels=labels, fmr=fmr, replicates=1).models[0]["operating_points"]
        for fmr in (0.02, np.float64(0.02), np.array([0.02]), [np.float64(0.02)])
    ]
    assert all(row == rows[0] for row in rows)
    assert evaluate(scores={"m": mine}, labels=labels, fmr=np.float32(0.02), replicates=1)
    masked = np.ma.masked_array(mine, np.arange(len(mine)) < 2)
    with pytest.raises(DataError, match="scores of m: expected a score for each pair, got 2 that are masked"):
        evaluate(scores={"m": masked}, labels=labels)
    with pytest.raises(DataError, match="labels: expected the numbers 0 or 1, got '1'"):
        evaluate(scores={"m": mine}, labels=labels.astype({"label": str}).sort_values("label", ascending=False))


def test_distances_are_recognised(labels, mine) -> None:
    told = "Higher must mean more alike; these look like distances"
    assert not any(
        told in sentence for sentence in evaluate(scores={"m": mine}, labels=labels, replicates=20).sentences
    )
    assert any(told in sentence for sentence in evaluate(scores={"m": -mine}, labels=labels, replicates=20).sentences)


def test_copies_of_one_photo_are_counted(people_pairs, tmp_path) -> None:
    root = people_pairs()
    pairs, labels = read_judged(PairSource(root, root / "labels.csv"))
    assert copied_pairs(pairs, labels) == {"same file": [], "re-encoded": []}
    same = np.flatnonzero(labels["kind"] == "same")[:2]
    first, second = (root / pairs.frame["path_0"][row] for row in same)
    (root / pairs.frame["path_1"][same[0]]).write_bytes(first.read_bytes())
    with Image.open(second) as image:
        image.resize((120, 120)).save(root / pairs.frame["path_1"][same[1]], quality=60)
    fake = int(np.flatnonzero(labels["kind"] == "own_fake")[0])
    (root / pairs.frame["path_1"][fake]).write_bytes((root / pairs.frame["path_0"][fake]).read_bytes())
    found = copied_pairs(pairs, labels)
    ids = pairs.frame["pair_id"]
    assert found == {"same file": [ids[same[0]]], "re-encoded": [ids[same[1]]]}


def test_people_in_one_frame_are_no_copies(people_pairs, one_frame) -> None:
    root = people_pairs()
    pairs, labels = read_judged(PairSource(root, root / "labels.csv"))
    first = int(np.flatnonzero(labels["kind"] == "impostor")[0])
    for side, who in (("path_0", "ann"), ("path_1", "bob")):
        (root / pairs.frame[side][first]).write_bytes(one_frame(who).read_bytes())
    assert copied_pairs(pairs, labels) == {"same file": [], "re-encoded": []}


def test_copies_are_said_in_table_and_report(network, people_pairs, tmp_path) -> None:
    root = people_pairs()
    (root / "images" / "00000000" / "1.jpg").write_bytes((root / "images" / "00000000" / "0.jpg").read_bytes())
    found = evaluate(network, root, root / "labels.csv", replicates=20)
    told = "1 pairs of genuine photos are two copies of one photo (1 the same file twice): they prove nothing."
    assert told in " ".join(shown(found).split())
    assert told in found.write(tmp_path / "out").read_text()


def test_lists_of_one_fold_have_no_cross_validated_accuracy(network, tmp_path, write_image) -> None:
    for person in "abcd":
        for n in (1, 2):
            write_image(tmp_path / "lfw" / person / f"{person}_{n:04d}.jpg", 64)
    lines = ["2", "a\t1\t2", "b\t1\t2", "a\t1\tc\t2", "b\t1\td\t2"]
    (tmp_path / "pairsDevTest.txt").write_text("\n".join(lines), encoding="utf-8-sig")
    found = evaluate(network, tmp_path / "lfw", tmp_path / "pairsDevTest.txt", replicates=20)
    assert "lfw" not in found.models[0]
    assert found.models[0]["pairs_by_kind"] == {"same": 2, "impostor": 2}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fmr": 0.0}, "fmr: expected a rate above 0"),
        ({"fmr": [0.1, float("nan")]}, "fmr: expected a rate above 0"),
        ({"seed": -1}, "seed: expected 0 or more, got -1"),
        ({"draw": -1}, "draw: expected 4 to 1,000,000 pairs, got -1"),
        ({"draw": 999_999_999_999}, "draw: expected 4 to 1,000,000 pairs, got 999999999999"),
        ({"replicates": 0}, "replicates: expected 1 to 100,000"),
        ({"replicates": 10**9}, "replicates: expected 1 to 100,000"),
        ({"robustness": 20}, "robustness: degrades images anew"),
        ({"model": "m.onnx"}, "scores: are judged in place of a model"),
        ({"scores": None}, "pairs: a model needs"),
        ({"labels": None}, "labels: expected the CSV"),
        ({"labels": [1, 0, 2]}, "labels: expected the numbers 0 or 1, got 2"),
        ({"labels": [1, 0]}, "scores of m: expected one for each of 2 labels, got 3"),
        ({"scores": {"m": [1, float("inf"), 0]}}, "scores of m: expected finite scores"),
        ({"validation": PairSource("pairs", "labels.csv")}, "validation: expected images beside a model"),
        ({"validation": PairSource(labels=[1, 0, 0], scores={})}, "validation scores: expected as many"),
    ],
)
def test_what_is_refused(change, said) -> None:
    given = {"scores": {"m": [0.9, 0.1, 0.2]}, "labels": [1, 0, 0]} | change
    with pytest.raises((ConfigError, DataError)) as caught:
        evaluate(**given)
    assert isinstance(caught.value, BonafaceError)
    assert said in str(caught.value)


def test_scores_need_no_torch(labels, mine, tmp_path) -> None:
    """Nothing of an evaluation imports torch, not even in passing."""
    labels.assign(pair_id=range(400)).to_csv(tmp_path / "labels.csv", index=False)
    pd.DataFrame({"pair_id": range(400), "similarity": mine}).to_csv(tmp_path / "s.csv", index=False)
    words = ["--scores", tmp_path / "s.csv", "--labels", tmp_path / "labels.csv", "--out", tmp_path / "out"]
    assert "own deepfakes are accepted at FMR 1 %" in run_without_torch(*words)


def test_models_in_onnx_need_no_torch(network, people_pairs, tmp_path) -> None:
    root = people_pairs(24)
    words = ["--model", network, "--pairs", root, "--labels", root / "labels.csv", "--out", tmp_path / "out"]
    assert "own deepfake (SPF, spoofing)" in run_without_torch(*words)


WITHOUT_TORCH = """
import sys
from importlib.abc import MetaPathFinder

class Blocked(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchvision", "lightning", "timm", "onnx2torch"}:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

sys.meta_path.insert(0, Blocked())
from bonaface.cli import main
sys.exit(main(sys.argv[1:]))
"""


def run_without_torch(*words: object) -> str:
    """What ``bonaface evaluate`` prints where torch can't be imported."""
    run = [sys.executable, "-c", WITHOUT_TORCH, "evaluate", "--replicates", "20", *map(str, words)]
    done = subprocess.run(run, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_table_and_the_headline_stand_for_any_figures(labels, mine) -> None:
    """Too few impostors to resolve any rate: said, and nothing fails."""
    few = labels[~((labels["kind"] == "impostor") & (np.arange(400) > 20))]
    found = evaluate(scores={"m": mine[few.index]}, labels=few, replicates=20)
    assert headline(found.models[0]) == [
        "There are too few pairs of two people to set a threshold at any of the usual false match rates."
    ]
    assert table_of(found.models).row_count


@pytest.mark.parametrize(("rate", "takes"), [(1e-3, "1,000"), (1e-300, "1 / 1e-300")])
def test_a_rate_that_the_pairs_do_not_resolve_is_refused_with_the_pairs_it_takes(labels, mine, rate, takes) -> None:
    with pytest.raises(
        ConfigError, match=rf"^fmr {rate:g}: \d+ judged impostor pairs cannot resolve it: it takes {takes}$"
    ):
        evaluate(scores={"m": mine}, labels=labels, fmr=[0.05, rate], replicates=20)


def test_a_default_rate_that_is_not_resolved_is_said(labels, mine) -> None:
    few = labels[~((labels["kind"] == "impostor") & (np.arange(400) > 150))]
    found = evaluate(scores={"m": mine[few.index]}, labels=few, replicates=20)
    assert "at FMR 10 %" in found.sentences[0]
    assert found.sentences[1].startswith("Nothing is said at FMR 1 %: ")
    assert found.sentences[1].endswith("judged impostor pairs cannot resolve it: it takes 100.")
