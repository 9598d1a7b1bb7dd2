"""A model takes its thresholds from its user's pairs, and stays the same model."""

import contextlib
import dataclasses
import io
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import bonaface
from bonaface import ConfigError, DataError, calibrate
from bonaface.calibrating import fit
from bonaface.calibrating.fit import rates_for
from bonaface.calibrating.labelled_pairs import LabelledPairs
from bonaface.exporting.calibration_faces import calibration_faces
from bonaface.exporting.conversion import convert
from bonaface.inference.embedder import load_embedder
from bonaface.verification.calibration import Calibration, Logistic
from bonaface.verification.embeddings import Embeddings
from bonaface.verification.thresholds import Threshold, Validation, select_threshold

pytest_plugins = ("tiny_models", "labelled_pairs")

KINDS = ["same", "impostor", "own_fake", "other_fake"]


def listed(folder, people, count=60, columns=("label", "kind", "method_1"), separator=",", encoding="utf-8"):
    """A CSV of pairs of a folder of people with five photos each; one of them stands for a deepfake where the kind says so."""
    rng = np.random.default_rng(0)
    files = {person.name: sorted(person.glob("*.png")) for person in sorted(people.iterdir())}
    rows, taken = [], set()
    while len(rows) < count:
        kind = KINDS[len(rows) % (4 if "kind" in columns else 2)]
        first, other = rng.choice(sorted(files), 2, replace=False)
        second = first if kind in ("same", "own_fake") else other
        a, b = rng.choice(4, 2, replace=False)
        fake = kind.endswith("fake")
        paths = files[first][a], files[second][4 if fake else b]
        if frozenset(paths) in taken:
            continue
        taken.add(frozenset(paths))
        rows.append((*paths, int(kind == "same"), kind, first, second, "real", "swap" if fake else "real"))
    names = ["path_0", "path_1", "label", "kind", "person_0", "person_1", "method_0", "method_1"]
    frame = pd.DataFrame(rows, columns=names)
    dropped = [name for name in ("kind", "method_1") if name not in columns]
    file = folder / "pairs.csv"
    frame.drop(columns=dropped).to_csv(file, index=False, sep=separator, encoding=encoding)
    return file


@pytest.fixture
def any_deepfakes(monkeypatch):
    """However few deepfakes calibrate, and whatever they look like to the tiny network."""
    monkeypatch.setattr(fit.EmbeddedPairs, "unfit_deepfakes", lambda *_: "")


@pytest.fixture
def genuine_folder(plain_tree):
    return plain_tree({f"p{n}": 3 for n in range(8)}, "genuine")


def test_deepfakes_in_a_folder_calibrate_authenticity(tiny_exported, challenge_train, tmp_path, any_deepfakes):
    folder = challenge_train({f"{n:08d}": [0, 0, 0, 1, 1] for n in range(8)})
    made = calibrate(tiny_exported, folder, tmp_path / "mine.onnx", fmr=0.02, draw=200)
    verifier, original = bonaface.load(made), bonaface.load(tiny_exported)
    assert verifier.embedder.calibration == made.calibration != original.embedder.calibration
    assert made.calibration.genuine != original.embedder.calibration.genuine
    assert made.calibration.own_fake is not None
    assert verifier.measured_on == "24 genuine photos and 16 deepfakes that it was calibrated on"
    assert original.measured_on == "validation photos of the training"
    assert (made.authenticity.genuine, made.authenticity.deepfakes) == (24, 16)
    assert made.pairs == {"same": 24, "impostor": 50, "own_fake": 48, "other_fake": 20}

    files = sorted(folder.glob("images/*/[012].jpg"))  # the genuine ones
    photos = verifier.embed(files)
    scores = np.array(
        [
            bonaface.similarity(photos.take(np.array([i])), photos.take(np.array([j])))[0]
            for i in range(24)
            for j in range(i)
            if files[i].parent != files[j].parent
        ]
    )
    assert made.validation.impostor_pairs == len(scores) == 252
    at = verifier.threshold(0.02)
    assert np.sum(scores >= at.threshold + 1e-6) == 5  # of 252, at most 2 %
    assert at.low <= at.high
    assert np.sum(scores >= verifier.threshold(1 / 252).threshold + 1e-6) == 1

    assert verifier.fingerprint == original.fingerprint  # so that a gallery of the one fits the other
    np.testing.assert_array_equal(photos.identity, original.embed(files).identity)
    card = {each.key: each.value for each in onnx.load(made.file).metadata_props}["model_card"]
    assert card.startswith("# Tiny\n")
    assert "## Calibrated\n\nCalibrated on 142 pairs: 24 same, 50 impostor, 48 own_fake, 20 other_fake." in card


@pytest.mark.parametrize("columns", [("label", "kind", "method_1"), ("label", "kind")])
def test_few_deepfakes_leave_what_the_model_knows_of_them(tiny_exported, tiny_people, tmp_path, columns):
    """One deepfake that the model takes for genuine would have it disregard authenticity, and all others pass."""
    made = calibrate(tiny_exported, listed(tmp_path, tiny_people, columns=columns), tmp_path / "mine.onnx")
    before = load_embedder(str(tiny_exported)).calibration
    assert (made.calibration.genuine, made.calibration.own_fake) == (before.genuine, before.own_fake)
    assert made.calibration.measured_on == before.measured_on
    assert made.calibration.same != before.same
    assert re.search(r"What the model knows of deepfakes is kept: \d+ deepfakes are too few, it takes 50\.", str(made))


@pytest.mark.parametrize(
    ("logs", "people", "reason"),
    [
        (
            (np.full(60, 1.5), np.linspace(1, 2, 60)),
            12,
            "the 60 deepfakes look hardly less genuine to it than the genuine photos",
        ),
        (
            (np.linspace(0, 3, 60), np.linspace(-0.1, 2.9, 60)),
            12,
            "the 60 deepfakes look hardly less genuine to it than",
        ),
        ((np.linspace(1, 3, 60), np.linspace(-3, -1, 60)), 9, "the 60 deepfakes are of 9 people, it takes 10"),
        ((np.linspace(1, 3, 60), np.linspace(-3, -1, 60)), 1, "the 60 deepfakes are of 1 person, it takes 10"),
        ((np.linspace(-1, 3, 60), np.linspace(-3, 1, 60)), 10, ""),
    ],
)
def test_deepfakes_that_calibrate_nothing(tiny_exported, tiny_people, tmp_path, monkeypatch, logs, people, reason):
    pairs = listed(tmp_path, tiny_people)
    monkeypatch.setattr(fit.EmbeddedPairs, "_log_odds", lambda _: (logs, people))
    made = calibrate(tiny_exported, pairs, tmp_path / "mine.onnx")
    assert (made.calibration.genuine == load_embedder(str(tiny_exported)).calibration.genuine) == bool(reason)
    assert ("What the model knows of deepfakes is kept" in str(made)) == bool(reason)
    assert reason in str(made)


def test_genuine_photos_alone_move_the_threshold_of_authenticity(tiny_exported, genuine_folder, tmp_path):
    made = calibrate(tiny_exported, genuine_folder, tmp_path / "mine.onnx", draw=100)
    before = load_embedder(str(tiny_exported))
    own = before.calibration.genuine
    log_odds = own.log_odds(before.embed(sorted(genuine_folder.rglob("*.jpg"))).distinct.authenticity)
    assert made.calibration.genuine == own
    assert made.calibration.measured_on == before.calibration.measured_on
    assert made.calibration.own_fake is None
    assert made.calibration.same != before.calibration.same
    assert made.calibration.forged_below == pytest.approx(
        min(0.0, np.sort(log_odds)[0])
    )  # 1 % of 24: none is below the lowest
    assert made.authenticity.bpcer == (pytest.approx(np.mean(log_odds < 0)), 0.0)
    assert made.authenticity.missed is None
    assert "No image is known to be a deepfake" in str(made)


def test_kinds_without_methods_do_not_say_which_image_is_the_deepfake(
    tiny_exported, tiny_people, tmp_path, any_deepfakes
):
    pairs = listed(tmp_path, tiny_people, columns=("label", "kind"))
    made = calibrate(tiny_exported, pairs, tmp_path / "mine.onnx")
    assert made.calibration.genuine == load_embedder(str(tiny_exported)).calibration.genuine
    assert made.calibration.own_fake is not None
    assert made.validation.impostor_pairs == 15
    whole = calibrate(tiny_exported, listed(tmp_path, tiny_people), tmp_path / "whole.onnx")
    assert whole.calibration.genuine != made.calibration.genuine
    assert whole.authenticity.deepfakes > 0


def test_a_recogniser_learns_to_decide(network, tiny_people, tmp_path):
    pairs = listed(tmp_path, tiny_people, columns=("label",), separator=";", encoding="utf-8-sig")
    made = calibrate(network, pairs, tmp_path / "mine.onnx", fmr=[0.05])
    verifier, original = bonaface.load(made), bonaface.load(network)
    files = sorted(tiny_people.rglob("*.png"))
    same, other = (verifier.verify(files[0], files[place], fmr=0.05) for place in (1, 7))
    assert np.isfinite(verifier.embedder.calibration.same.slope)
    assert (same.threshold, other.fmr) == (made.points[1].threshold.threshold, 0.05)
    assert made.authenticity is None
    before, after = (each.embed(files).identity for each in (original, verifier))
    np.testing.assert_allclose(after, before, atol=1e-4)
    assert made.calibration.genuine is None
    scores = bonaface.similarity(verifier.embed(files[:5]), verifier.embed(files[5:10]))
    assert np.all(np.abs(scores) <= 1 + 1e-6)


def test_calibrated_twice(tiny_exported, genuine_folder, tmp_path):
    once = calibrate(tiny_exported, genuine_folder, tmp_path / "a.onnx", draw=50)
    twice = calibrate(once, genuine_folder, tmp_path / "b.onnx", draw=50)
    assert (twice.calibration, twice.validation) == (once.calibration, once.validation)
    assert bonaface.load(twice).fingerprint == bonaface.load(tiny_exported).fingerprint
    assert bonaface.load(twice).embedder.network.description.card.count("## Calibrated") == 1


def test_an_openvino_model_names_what_to_calibrate(tiny_embedder, tiny_people, genuine_folder, tmp_path):
    pytest.importorskip("openvino")
    convert(tiny_embedder, "openvino", tmp_path / "a.xml", *calibration_faces(tiny_embedder, tiny_people), "")
    with pytest.raises(ConfigError, match=r"tiny: was exported for OpenVINO; expected the run or \.onnx"):
        calibrate(tmp_path / "a.xml", genuine_folder, tmp_path / "mine.onnx")
    assert not (tmp_path / "mine.onnx").exists()


@given(pairs=st.integers(10, 3_000_000), place=st.floats(0, 1))
def test_every_rate_that_pairs_resolve_can_be_looked_up(pairs, place):
    rates = rates_for(pairs, (), "mine")
    assert rates[0] == 0.1
    assert rates[-1] == 1 / pairs
    stored = Validation(tuple(Threshold(rate, -rate, -rate, -rate, pairs) for rate in rates), None, pairs)
    wanted = (1 / pairs) ** place * 0.1 ** (1 - place)
    found = select_threshold(stored, wanted)
    assert rates[-1] * (1 - 1e-6) <= -found.threshold <= 0.1 * (1 + 1e-6)


@given(pairs=st.integers(10, 100_000), share=st.floats(0.001, 0.999))
def test_a_rate_that_pairs_do_not_resolve_says_how_many_it_takes(pairs, share):
    rate = share / pairs
    with pytest.raises(ConfigError) as refused:
        rates_for(pairs, (0.5, rate), "mine")
    needed = int(str(refused.value).split("take ")[1].split()[0].replace(",", ""))
    assert needed > pairs
    assert (needed - 1) * rate < 1 <= needed * rate * (1 + 1e-6)


def test_too_few_pairs_resolve_nothing():
    with pytest.raises(DataError, match="holds 9 pairs of two people; expected at least 10"):
        rates_for(9, (), "mine")


@pytest.mark.parametrize(("share", "said"), [(0.049, None), (0.05, "About 5 %"), (0.32, "About 32 %")])
def test_a_notable_share_of_wrong_labels_is_said(tiny_exported, genuine_folder, tmp_path, share, said):
    made = calibrate(tiny_exported, genuine_folder, tmp_path / "mine.onnx", draw=50)
    made = dataclasses.replace(made, calibration=dataclasses.replace(made.calibration, mislabelled=share))
    last = made.sentences[-1]
    assert ("bonaface clean" in last) == (said is not None)
    assert last.startswith(said or "Of ")


def test_the_result_is_printed_in_words(tiny_exported, genuine_folder, tmp_path):
    made = calibrate(tiny_exported, genuine_folder, tmp_path / "mine.onnx", draw=50)
    moved = dataclasses.replace(made.authenticity, bpcer=(0.5, 0.01), deepfakes=3, missed=(0.25, 0.5))
    assert moved.told() == (
        "Of 24 genuine photos 1.0 % are called deepfakes (50.0 % before); "
        "of 3 deepfakes 50.0 % are called genuine (25.0 % before). "
        "Before, the model called many of the genuine photos deepfakes: make sure that they are genuine."
    )


def test_two_people_are_told_to_be_too_few_for_intervals(tiny_exported, genuine_folder, tmp_path):
    made = calibrate(tiny_exported, genuine_folder, tmp_path / "mine.onnx", draw=50)
    alone = [dataclasses.replace(each.threshold, low=None, high=None) for each in made.points]
    points = tuple(dataclasses.replace(each, threshold=at) for each, at in zip(made.points, alone, strict=True))
    console = Console(file=io.StringIO(), width=120)
    console.print(dataclasses.replace(made, points=points))
    shown = " ".join(console.file.getvalue().split())
    assert "pairs of two people; too few people for intervals" in shown
    assert "[" not in shown


def test_labels_that_are_swapped_are_refused(tiny_exported, tiny_people, tmp_path, monkeypatch):
    file = listed(tmp_path, tiny_people, columns=("label",))
    frame = pd.read_csv(file)
    pairs = len(frame)
    cosines = np.where(frame["label"] == 1, 0.1, 0.8) + np.random.default_rng(0).normal(0, 0.05, pairs)
    monkeypatch.setattr("bonaface.calibrating.fit.cosine", lambda a, b: cosines)
    with pytest.raises(
        DataError, match=r"two people more alike than those of one person.*expected label 1 for two photos"
    ):
        calibrate(tiny_exported, file, tmp_path / "mine.onnx")
    assert not (tmp_path / "mine.onnx").exists()


def test_a_deepfake_of_copies_of_genuine_photos_is_refused_by_its_kind(tiny_exported, tiny_people, tmp_path):
    file = listed(tmp_path, tiny_people, columns=("label", "kind"))
    frame = pd.read_csv(file)
    same, impostor, own = (int(np.flatnonzero(frame["kind"] == kind)[0]) for kind in ("same", "impostor", "own_fake"))
    for side, row in (("path_0", same), ("path_1", impostor)):
        copy = tmp_path / f"{side}.png"
        shutil.copy(frame[side][row], copy)
        frame.loc[own, side] = str(copy)
    frame.to_csv(file, index=False)
    with pytest.raises(
        DataError, match=r"path_0\.png and .*path_1\.png have kind own_fake, and are genuine in other pairs"
    ):
        calibrate(tiny_exported, file, tmp_path / "mine.onnx")


def test_one_image_under_two_names_that_is_genuine_and_a_deepfake_is_refused(tiny_exported, tiny_people, tmp_path):
    file = listed(tmp_path, tiny_people)
    frame = pd.read_csv(file)
    same, own = (int(np.flatnonzero(frame["kind"] == kind)[0]) for kind in ("same", "own_fake"))
    copy = tmp_path / "copy.png"
    shutil.copy(frame["path_0"][same], copy)
    frame.loc[own, "path_1"] = str(copy)
    frame.to_csv(file, index=False)
    with pytest.raises(DataError, match=r"copy\.png is a deepfake in one pair and as .* genuine in another"):
        calibrate(tiny_exported, file, tmp_path / "mine.onnx")


@pytest.mark.parametrize(
    ("same", "forged", "said", "refused"),
    [(20, 20, False, True), (20, 20, True, False), (20, 2, False, False), (1, 20, False, False)],
)
def test_deepfakes_that_are_labelled_as_other_people_are_refused(same, forged, said, refused):
    """As label 0 of the challenge has them: the calibration would call deepfakes genuine, and its thresholds refuse everybody."""
    place = np.arange(80).reshape(40, 2).T  # 20 pairs of one person, and 20 of two
    log_odds = np.full(80, 2.0, np.float32)
    log_odds[40 : 40 + forged] = -2.0
    kind = np.repeat(["same", "impostor"], 20)
    used = np.arange(40) >= 20 - same
    place, kind = place[:, used], kind[used]
    pairs = LabelledPairs("mine", Path(), place.astype(str), kind, None, place.astype(str), False, said)
    embedded = fit.EmbeddedPairs(pairs, Embeddings(np.zeros((80, 2), np.float32), log_odds), place)
    known = Calibration(Logistic(30.0, -9.0), Logistic(1.0, 0.0))
    sentence = (
        "calls 50% of the photos in pairs of label 0 deepfakes, and 0% of those of label 1; expected the column kind"
    )
    with pytest.raises(DataError, match=sentence) if refused else contextlib.nullcontext():
        embedded.refuse_unsaid_deepfakes(known)


@pytest.mark.parametrize(("columns", "said"), [(("label",), True), (("label", "kind"), False)])
def test_what_label_0_was_taken_for_is_said(tiny_exported, tiny_people, tmp_path, columns, said):
    file = listed(tmp_path, tiny_people, columns=columns)
    frame = pd.read_csv(file).drop(columns="method_0")
    frame.to_csv(file, index=False)
    made = calibrate(tiny_exported, file, tmp_path / "mine.onnx")
    assert ("Nothing says of what kind they are: label 0 was taken for two people." in str(made)) == said
