"""bonaface check: photos one at a time, in words, as JSON and as a table."""

import csv
import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bonaface.cli.check import main
from bonaface.errors import DataError
from bonaface.inference.verifier import Verifier


@pytest.fixture
def person(demo):
    return demo / "0000"


@pytest.fixture
def mixed(person, tmp_path):
    """A folder with a photo, one without a face, and a file that is no image."""
    folder = tmp_path / "mixed" / "below"
    folder.mkdir(parents=True)
    (folder / "a.jpg").write_bytes((person / "0.jpg").read_bytes())
    Image.fromarray(np.zeros((99, 99, 3), np.uint8)).save(folder / "b.png")
    (folder / "c.jpg").write_bytes(b"<html>")
    (folder / "notes.txt").write_text("not an image")
    return folder.parent


def test_a_photo_in_words(person, capsys):
    assert main([str(person / "0.jpg")]) == 0
    said = capsys.readouterr().out
    assert "P(genuine)" in said
    assert "px between the eyes" in said


def test_a_turned_photo_is_said_to_be_turned(person, tmp_path, capsys):
    turned = tmp_path / "turned.png"
    Image.open(person / "0.jpg").transpose(Image.Transpose.ROTATE_90).save(turned)
    assert main([str(turned), str(person / "0.jpg")]) == 0
    righted, straight = capsys.readouterr().out.splitlines()
    assert righted.endswith(" px between the eyes; was rotated by 90 degrees")
    assert "rotated" not in straight


def test_json_has_what_was_measured(person, capsys):
    assert main([str(person / "0.jpg"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["problem"] is None
    assert 0 <= said["genuine"] <= 1
    assert len(said["faces"]) == 1
    assert said["measured_on"] == "validation photos of the training"


def test_what_genuine_was_measured_on_is_said_once(person, capsys):
    assert main([str(person)]) in (0, 1)
    assert capsys.readouterr().err.count("P(genuine): measured on validation photos of the training\n") == 1


def test_a_folder_gives_a_table(mixed, tmp_path, capsys):
    out = tmp_path / "checks.csv"
    assert main([str(mixed), "--out", str(out)]) == 1
    assert "3 photos checked; 2 can't be judged" in capsys.readouterr().err
    rows = list(csv.DictReader(out.open()))
    assert [row["file"].rpartition("/")[2] for row in rows] == ["a.jpg", "b.png", "c.jpg"]
    assert rows[0]["problem"] == ""
    assert float(rows[0]["eyes"]) > 12
    assert "no face found" in rows[1]["problem"]
    assert "is a web page" in rows[2]["problem"]
    assert rows[2]["genuine"] == ""


def test_a_table_holds_no_formulas(person, tmp_path, monkeypatch):
    shutil.copy(person / "0.jpg", tmp_path / "=1+1.jpg")
    (tmp_path / "@b.jpg").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    main(["=1+1.jpg", "@b.jpg", "--out", "checks.csv"])
    rows = list(csv.DictReader(Path("checks.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["file"] for row in rows] == ["./=1+1.jpg", "./@b.jpg"]
    assert rows[1]["problem"].startswith("./@b.jpg: is empty")


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no images"):
        main([str(tmp_path)])


def test_a_missing_photo_is_named(tmp_path, capsys):
    assert main([str(tmp_path / "gone.jpg")]) == 1
    assert "gone.jpg: can't be read" in capsys.readouterr().out


def test_being_told_to_stop_leaves_no_half_table(person, tmp_path, monkeypatch):
    """As a container is stopped."""

    def stopped(*_):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Verifier, "check", stopped)
    with pytest.raises(KeyboardInterrupt):
        main([str(person), "--out", str(tmp_path / "out.csv")])
    assert list(tmp_path.glob("*out*")) == []
