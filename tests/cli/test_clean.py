"""``clean`` as a user runs it, and a training that follows its list."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

SHARED = Path(__file__).parents[3] / "shared"
NETWORK = SHARED / "weights" / "mobilefacenet_512.onnx"
DETECTOR = SHARED / "weights" / "yunet_2023mar_int8bq.onnx"


@pytest.fixture
def dirty(make_people: Callable[..., Path]) -> Path:
    """One broken file, one copy, one photo that is in two folders."""
    root = make_people("dirty", people=9)
    images = root / "images"
    (images / "00000000" / "0.png").write_bytes(b"")
    shutil.copy(images / "00000001" / "0.png", images / "00000001" / "1.png")
    shutil.copy(images / "00000002" / "0.png", images / "00000003" / "0.png")
    return root


def listed(csv: Path) -> dict[str, str]:
    rows = pd.read_csv(csv, dtype=str, keep_default_na=False)
    return dict(zip(rows["path"].str.removeprefix("images/"), rows["issue"], strict=True))


def test_without_a_model(say, dirty, tmp_path):
    before = {file: file.read_bytes() for file in dirty.rglob("*") if file.is_file()}
    said = say("clean", dirty, "--files-only", "--out", tmp_path / "issues.csv", "--review", tmp_path / "review.html")
    assert said.code == 0, said.err
    found = listed(tmp_path / "issues.csv")
    certain = {"00000000/0.png": "unreadable", "00000001/1.png": "duplicate"}
    across = dict.fromkeys(["00000002/0.png", "00000003/0.png"], "duplicate_across")
    assert found.items() >= (certain | across).items()
    assert "63 images checked in " in said.err
    assert "1 unreadable" in said.err
    assert "duplicates within a person: 1 photo (1 the same file, 0 re-encoded)" in said.err
    assert (tmp_path / "review.html").stat().st_size > 10_000
    assert {file: file.read_bytes() for file in dirty.rglob("*") if file.is_file()} == before


def test_with_a_run_and_again_from_the_cache(say, run_folder, dirty, tmp_path):
    words = ("clean", dirty, "--model", run_folder, "--cache", tmp_path / "kept", "--device", "cpu", "--out")
    assert say(*words, tmp_path / "a.csv").code == 0
    shards = list((tmp_path / "kept").rglob("*.npz"))
    assert len(shards) == 1
    assert say(*words, tmp_path / "b.csv").code == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert list((tmp_path / "kept").rglob("*.npz")) == shards
    assert listed(tmp_path / "a.csv")["00000000/0.png"] == "unreadable"


def test_against_a_test_set(say, make_people, make_pairs, tmp_path):
    people, pairs = make_people("people"), make_pairs("pairs", count=4)
    said = say("clean", people, "--files-only", "--against", pairs, "--out", tmp_path / "issues.csv")
    assert said.code == 0, said.err
    rows = pd.read_csv(tmp_path / "issues.csv")
    leaked = rows[rows["issue"] == "leak"]
    assert "images/00000000/0.png" in set(leaked["path"])
    assert leaked["evidence"].str.contains("of the test set").all()


def test_people_in_one_frame_are_no_copies_and_copies_are(say, one_frame, tmp_path):
    ann, _, test = one_frame("ann"), one_frame("bob"), tmp_path / "test" / "1" / "0.png"
    test.parent.mkdir(parents=True)
    with Image.open(ann) as image:
        image.save(ann.with_name("1.jpg"), quality=80)
        image.save(test)
    people, out = ann.parents[1], tmp_path / "issues.csv"
    lonely = dict.fromkeys(["ann/0.jpg", "bob/0.jpg"], "small_class")
    assert say("clean", people, "--files-only", "--out", out).code == 0
    assert listed(out) == {"ann/1.jpg": "near_duplicate"} | lonely
    assert say("clean", people, "--files-only", "--against", test.parents[1], "--out", out).code == 0
    assert listed(out) == {"ann/0.jpg": "leak", "ann/1.jpg": "leak", "bob/0.jpg": "small_class"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--model", "none.onnx"], "none.onnx: can't be read (no such file"),
        (["--detector", "none.onnx"], "none.onnx: no such file; expected a YuNet"),
        (["--files-only", "--model", "none.onnx"], "--files-only: works without a model"),
        (["--against", "none"], "none: no such folder; expected a test set"),
    ],
)
def test_refusals_are_one_line(say, people, tmp_path, more, said):
    heard = say("clean", people, "--out", tmp_path / "issues.csv", *more)
    assert heard.code == 2
    assert len(heard.lines) == 1
    assert heard.lines[0].startswith(f"bonaface clean: {said}")
    assert not (tmp_path / "issues.csv").exists()


def test_a_folder_that_is_not_there(say, tmp_path):
    said = say("clean", tmp_path / "none", "--out", tmp_path / "issues.csv")
    assert (said.code, len(said.lines)) == (2, 1)
    assert "no such file or folder" in said.err


def test_training_follows_the_list(say, words, dirty, tmp_path):
    say("clean", dirty, "--files-only", "--out", tmp_path / "issues.csv")
    rows = pd.read_csv(tmp_path / "issues.csv", dtype=str, keep_default_na=False)
    rows.loc[rows["path"] == "images/00000002/0.png", "decision"] = "reject"
    moved = ["images/00000004/0.png", "mislabelled", "looks so", "move to person 00000005", "0.9", ""]
    rows.loc[len(rows)] = moved
    rows.to_csv(tmp_path / "issues.csv", index=False)
    settings = {"faces.train": dirty, "faces.issues": tmp_path / "issues.csv", "name": "cleaned"}
    said = say("train", *words(**settings))
    assert said.code == 0, said.err
    assert f"{len(rows) - 1} suggestions followed, 1 rejected" in said.err.replace("\n", " ")
    kept = listed(tmp_path / "runs" / "cleaned" / "issues.csv")
    assert "00000002/0.png" not in kept
    assert kept["00000003/0.png"] == "duplicate_across"
    assert kept["00000004/0.png"] == "mislabelled"


def test_training_refuses_a_list_of_another_folder(say, words, tmp_path):
    (tmp_path / "issues.csv").write_text("path,suggestion\nelse.jpg,drop\n")
    said = say("train", *words(**{"faces.issues": tmp_path / "issues.csv"}))
    assert (said.code, len(said.lines)) == (2, 1)
    assert '"else.jpg" is not in' in said.err


@pytest.mark.skipif(not NETWORK.is_file(), reason="../shared, a face network and photos, isn't there")
def test_real_photos_in_the_wrong_folder(say, tmp_path):
    folders = sorted(folder for folder in (SHARED / "celeba-faces").iterdir() if folder.is_dir())
    source = [folder for folder in folders if len(list(folder.iterdir())) >= 6]
    for folder in source[:16]:
        for photo in sorted(folder.iterdir())[:6]:
            target = tmp_path / "faces" / folder.name / photo.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(photo, target)
    first, second = source[0].name, source[1].name
    wrong = sorted((tmp_path / "faces" / first).iterdir())[0]
    wrong.rename(tmp_path / "faces" / second / "moved.jpg")
    said = say(
        *("clean", tmp_path / "faces", "--out", tmp_path / "issues.csv", "--cache", tmp_path / "kept"),
        *("--model", NETWORK, "--detector", DETECTOR, "--device", "cpu"),
    )
    assert said.code == 0, said.err
    rows = pd.read_csv(tmp_path / "issues.csv").set_index("path")
    assert rows.loc[f"{second}/moved.jpg", "issue"] == "mislabelled"
    assert rows.loc[f"{second}/moved.jpg", "suggestion"] == f"move to person {first}"
    assert rows["suggestion"].str.startswith("move to").sum() == 1


def test_the_shipped_model_and_its_detector_are_the_defaults(say, dirty, tmp_path):
    said = say("clean", dirty, "--cache", tmp_path / "kept", "--out", tmp_path / "issues.csv")
    assert said.code == 0, said.err
    assert list((tmp_path / "kept").rglob("*.npz"))
    found = listed(tmp_path / "issues.csv")
    assert found["00000000/0.png"] == "unreadable"


def test_an_option_of_the_first_version_is_refused_with_its_new_name(say, people, tmp_path):
    said = say("clean", people, "--out", tmp_path / "a.csv", "--sheet", tmp_path / "sheet.html")
    assert (said.code, said.lines) == (2, ["bonaface clean: --sheet is called --review now"])


def test_names_that_are_no_text_are_refused(say, dirty, tmp_path):
    folder = dirty / "images" / "00000004"
    (folder / "0.png").rename(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png"))
    said = say("clean", dirty, "--files-only", "--out", tmp_path / "issues.csv")
    assert (said.code, len(said.lines)) == (2, 1)
    assert r"00000004: the name b'caf\xe9.png' is not UTF-8 text; rename the file" in said.err


@pytest.mark.parametrize("below", ["", "kept"])
def test_a_cache_that_is_a_file_is_told_before_anything_is_read(say, tmp_path, below):
    (tmp_path / "cache").write_text("notes")
    said = say("clean", tmp_path / "gone", "--cache", tmp_path / "cache" / below, "--out", tmp_path / "issues.csv")
    assert (said.code, len(said.lines)) == (2, 1)
    assert "embeddings: can't be written (not a directory)" in said.err


def test_the_list_is_written_through_a_device(say, dirty, device):
    null = device("null")
    said = say("clean", dirty, "--files-only", "--out", null)
    assert said.code == 0, said.err
    assert null.is_char_device()
