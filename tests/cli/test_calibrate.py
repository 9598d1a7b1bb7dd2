"""``bonaface calibrate`` as a user runs it, on pairs of theirs and on what are none."""

import re
import shutil

import pytest

from bonaface.inference.embedder import load_embedder

pytest_plugins = ("tiny_models",)


@pytest.fixture
def base(tiny_exported, people, tmp_path):
    return {"--model": tiny_exported, "--pairs": people, "--out": tmp_path / "mine.onnx", "--draw": 200}


def words(options):
    return [word for pair in options.items() for word in pair]


def test_calibrate_then_verify(say, base, people, tmp_path):
    said = say("calibrate", *words(base), "--fmr", 0.005)
    assert said.code == 0, said.err
    assert "Calibrated on 174 pairs: 54 same, 50 impostor, 50 own_fake, 20 other_fake." in said.out
    assert re.search(r"0\.5 % +│ +-?\d+\.\d{3} \[", said.out)
    assert "--fmr 0.005" in said.err
    assert said.device == "device: ONNX Runtime on CPU\n"
    model = tmp_path / "mine.onnx"
    photos = sorted((people / "images" / "00000000").iterdir())[:2]
    verdict = say("verify", *photos, "--model", model, "--fmr", 0.005)
    assert verdict.code == 0, verdict.err
    judged = say(
        "evaluate", "--model", model, "--pairs", people, "--draw", 40, "--fmr", 0.005, "--out", tmp_path / "out"
    )
    assert judged.code == 0, judged.err


def test_a_model_of_few_pairs_decides_at_the_lowest_rate_that_they_resolve(say, base, people, tmp_path):
    assert say("calibrate", *words(base)).code == 0
    photos = sorted((people / "images" / "00000000").iterdir())[:2]
    options = ("verify", *photos, "--model", tmp_path / "mine.onnx")
    said = say(*options)
    assert said.code == 0, said.err
    warning = (
        "bonaface verify: warning: tiny: decides at a false match rate of 0.00174, the lowest that its 576 pairs of two people "
        "resolve; the usual one is 0.001"
    )
    assert said.err.splitlines() == [warning]
    assert "(false match rate 0.00173611)" in said.out
    asked = say(*options, "--fmr", 0.001)
    assert asked.code == 2
    assert "reach down to 0.00173611: it would take 1,000 impostor pairs, and they rest on 576" in asked.err
    assert say(*options, "--fmr", 0.01).err == ""


def test_images_that_cannot_be_read_are_left_out_and_named(say, base, people, tmp_path):
    copy = shutil.copytree(people, tmp_path / "copy")
    (copy / "images" / "00000000" / "0.png").write_bytes(b"no image")
    said = say("calibrate", *words(base | {"--pairs": copy}))
    assert said.code == 1
    assert "00000000/0.png" in said.err
    assert load_embedder(str(tmp_path / "mine.onnx")).validation is not None


def labels(pairs, kept):
    """The labels of some kinds of pairs, and a CSV of these pairs."""
    lines = (pairs / "labels.csv").read_text().splitlines()
    rows = [line for line in lines[1:] if line.split(",")[2] in kept]
    file = pairs / "chosen.csv"
    header = "path_0,path_1,label,kind"
    listed = [
        f"images/{number}/0.png,images/{number}/1.png,{label},{kind}"
        for number, label, kind in (row.split(",")[:3] for row in rows)
    ]
    file.write_text("\n".join([header, *listed]) + "\n")
    return file


REFUSED = {
    "a rate of 0": ({"--fmr": 0}, "fmr: expected a rate above 0 and below 1, got 0"),
    "a rate of 2": ({"--fmr": 2}, "fmr: expected a rate above 0 and below 1, got 2"),
    "a rate that is not resolved": (
        {"--fmr": 1e-4},
        "fmr 0.0001: it would take 10,000 pairs of two people, and .*people holds 576; expected a rate of 0.0017 or more",
    ),
    "a folder that is not there": (
        {"--pairs": "gone"},
        "gone: no such file or folder; expected pairs, or a folder of faces",
    ),
    "a model that is not there": ({"--model": "gone.onnx"}, "gone.onnx: "),
    "another suffix": ({"--out": "mine.xml"}, "mine.xml: expected a name that ends in .onnx"),
    "no pairs drawn": ({"--draw": 0}, "draw: expected 4 to 1,000,000 pairs, got 0"),
    "pairs without end": ({"--draw": 999_999_999_999}, "draw: expected 4 to 1,000,000 pairs, got 999999999999"),
}


@pytest.mark.parametrize(("change", "sentence"), REFUSED.values(), ids=REFUSED)
def test_refusals_are_one_sentence(say, base, tmp_path, change, sentence):
    refused(say, base | change, sentence, tmp_path)


def refused(say, options, sentence, folder):
    before = sorted(folder.rglob("*"))
    said = say("calibrate", *words(options))
    assert said.code == 2, said.err
    (line,) = said.lines
    assert re.search(sentence, line), line
    assert said.out == ""
    assert sorted(folder.rglob("*")) == before


def test_people_whom_nothing_can_be_learnt_from(say, base, make_people, tmp_path):
    (tmp_path / "empty").mkdir()
    refused(say, base | {"--pairs": tmp_path / "empty"}, "empty: ", tmp_path)
    single = make_people("single", fakes=[0])
    refused(say, base | {"--pairs": single}, "no pair of kind same among 9 photos of 9 people", tmp_path)
    alone = make_people("alone", people=1)
    refused(say, base | {"--pairs": alone}, "no pair of kind impostor among 7 photos of 1 people", tmp_path)
    two = make_people("two", fakes=[0, 0], people=2)
    refused(say, base | {"--pairs": two}, "two: holds 4 pairs of two people; expected at least 10", tmp_path)


def test_pairs_of_one_kind(say, base, make_pairs, tmp_path):
    pairs = make_pairs(count=40)
    for kept, sentence in [
        (["same"], "every label is 1; expected pairs of one person"),
        (["impostor", "own_fake"], "every label is 0"),
        (["same", "own_fake"], r"holds no pair of two people \(impostor\)"),
    ]:
        refused(say, base | {"--pairs": labels(pairs, kept)}, sentence, tmp_path)


def test_where_the_file_cannot_be(say, base, tmp_path):
    there = tmp_path / "there.onnx"
    there.write_text("mine")
    refused(say, base | {"--out": there}, "there.onnx: is there already; choose another name", tmp_path)
    assert there.read_text() == "mine"
    refused(say, base | {"--out": there / "below.onnx"}, "below.onnx: can't be written", tmp_path)


def test_adapting_is_calibrating_now(say, tmp_path):
    said = say("export", "--format", "onnx", "--out", tmp_path / "a.onnx", "--adapt", tmp_path)
    assert (said.code, said.lines) == (2, ["bonaface export: --adapt is called bonaface calibrate --pairs DIR now"])
