"""bonaface enrol and bonaface search, as a user gives them: the demo's people with the model of the package."""

import contextlib
import csv
import os
import shutil
import signal
import sqlite3
from pathlib import Path

import pytest
from PIL import Image

from bonaface.gallery.gallery import Gallery

PEOPLE = ("0000", "0001")


@pytest.fixture
def staff(demo, tmp_path):
    """Two people with two photos each, and a file that is no image."""
    folder = tmp_path / "staff"
    for person in PEOPLE:
        (folder / person).mkdir(parents=True)
        for name in ("0.jpg", "1.jpg"):
            shutil.copy(demo / person / name, folder / person)
    (folder / "0001" / "x.jpg").write_bytes(b"<html>")
    return folder


@pytest.fixture
def uri(tmp_path):
    return str(tmp_path / "people.sqlite")


def test_people_are_enrolled_and_found(demo, staff, uri, tmp_path, say):
    enrolled = say("enrol", staff, "--gallery", uri)
    assert enrolled.code == 1
    assert enrolled.device.startswith("device: ")
    assert f"{uri}: 4 enrolled, 1 refused" in enrolled.lines
    assert any(line.startswith("0001: 0001/x.jpg: is a web page") for line in enrolled.lines)

    report = tmp_path / "report.csv"
    again = say("enrol", staff, "--gallery", uri, "--report", report)
    assert (again.code, again.lines) == (1, [f"{uri}: 4 already enrolled, 1 refused"])
    rows = list(csv.DictReader(report.open()))
    assert [row["status"] for row in rows] == ["already enrolled"] * 4 + ["refused"]

    photo, stranger = demo / "0000" / "2.jpg", demo / "0005" / "0.jpg"
    found = say("search", photo, stranger, "--gallery", uri, "--k", 1)
    assert found.code == 0, found.err
    assert found.device.startswith("device: ")
    first, second = found.out.splitlines()
    assert first.startswith(f"{photo}: 1. 0000: same person, ")
    assert second.startswith(f"{stranger}: 1. ")
    assert "same person" not in second
    copy = say("search", staff / "0000" / "0.jpg", "--gallery", uri, "--k", 1)
    assert copy.out.endswith(": 1. 0000: cannot tell: This is the file of an enrolled photo: nothing is proved.\n")

    impossible = say("search", photo, "--gallery", uri, "--fmr", 2)
    assert impossible.code == 2
    assert "fmr" in impossible.err

    hits = tmp_path / "hits.csv"
    tabled = say("search", photo, stranger, staff / "0001" / "x.jpg", "--gallery", uri, "--k", 1, "--out", hits)
    assert (tabled.code, tabled.out) == (1, "")
    assert f"{hits}: 3 photos searched, 1 show someone who is enrolled; 1 can't be judged" in tabled.lines
    assert [row["rank"] for row in csv.DictReader(hits.open())] == ["1", "1", "0"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--k", 0), "--k 0: expected a whole number from 1 to 50"),
        ((), "no such gallery; enrol people first by bonaface enrol"),
        (("--gallery", "postgres://here/x"), "postgres"),
        (("--gallery", "none"), "--gallery none: names no gallery"),
    ],
)
def test_what_search_is_told_wrongly(words, expected, demo, uri, say):
    said = say("search", demo / "0000" / "0.jpg", "--gallery", uri, *words)
    assert said.code == 2
    assert expected in said.err
    assert len(said.lines) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_being_told_to_stop_leaves_a_report(staff, uri, tmp_path, say, monkeypatch, number):
    """As a container is stopped, or a terminal closed."""
    enrol = Gallery.enrol

    def stopped(self, person, *rest):
        if person == PEOPLE[1]:
            os.kill(os.getpid(), number)
        enrol(self, person, *rest)

    monkeypatch.setattr(Gallery, "enrol", stopped)
    said = say("enrol", staff, "--gallery", uri, "--report", tmp_path / "report.csv")
    assert (said.code, said.err.splitlines()[-1]) == (130, "bonaface enrol: interrupted")
    assert [line["person"] for line in csv.DictReader((tmp_path / "report.csv").open())] == [PEOPLE[0]] * 2


def test_images_of_people_who_were_enrolled_before_are_kept_too(staff, uri, tmp_path, say):
    assert say("enrol", staff, "--gallery", uri).code == 1
    assert say("enrol", staff, "--gallery", uri, "--keep-photos", tmp_path / "kept").code == 1
    with contextlib.closing(sqlite3.connect(tmp_path / "people.sqlite")) as gallery:
        (table,) = gallery.execute("SELECT live FROM gallery").fetchone()
        ids = gallery.execute(f"SELECT id FROM {table}").fetchall()  # noqa: S608 - a parsed name
        rows = {key.partition(":")[2] for (key,) in ids}
    assert {path.name for path in (tmp_path / "kept").glob("*/*")} == rows


def test_an_empty_folder_enrols_nobody(uri, tmp_path, say):
    (tmp_path / "none").mkdir()
    said = say("enrol", tmp_path / "none", "--gallery", uri)
    assert said.code == 2
    assert said.err.startswith(f"bonaface enrol: {tmp_path / 'none'}")
    assert not (tmp_path / "people.sqlite").exists()


def test_a_table_replaces_nothing_but_such_a_table(demo, staff, uri, tmp_path, say):
    """Neither a gallery nor a photo nor the list of people becomes a CSV of answers."""
    assert say("enrol", staff, "--gallery", uri).code == 1
    photo = shutil.copy(demo / "0000" / "2.jpg", tmp_path / "p.jpg")
    people = tmp_path / "people.csv"
    people.write_text(f"person,path\n0000,{photo}\n")
    pairs = tmp_path / "pairs.csv"
    pairs.write_text(f"path_0,path_1\n{photo},{photo}\n")
    before = {name: (tmp_path / name).read_bytes() for name in ("people.sqlite", "p.jpg", "people.csv", "pairs.csv")}
    for words in (
        ("search", photo, "--gallery", uri, "--out", uri),
        ("search", photo, "--gallery", uri, "--out", photo),
        ("check", photo, "--out", photo),
        ("enrol", people, "--gallery", uri, "--report", people),
        ("verify", "--pairs", pairs, "--out", pairs),
    ):
        said = say(*words)
        assert said.code == 2, words
        assert said.lines[-1].endswith("so it isn't replaced; choose another name"), said.err
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_a_name_that_is_no_text_is_written(demo, staff, uri, tmp_path, say):
    assert say("enrol", staff, "--gallery", uri).code == 1
    photo = tmp_path / os.fsdecode(b"a\xff.jpg")
    shutil.copy(demo / "0000" / "2.jpg", photo)
    assert say("search", photo, "--gallery", uri, "--out", tmp_path / "hits.csv").code == 0
    assert "a\\udcff.jpg" in (tmp_path / "hits.csv").read_text()


def test_a_turned_photo_is_enrolled_and_said_to_be_turned(demo, uri, tmp_path, say):
    (tmp_path / "staff" / "ann").mkdir(parents=True)
    shutil.copy(demo / "0000" / "0.jpg", tmp_path / "staff" / "ann")
    with Image.open(demo / "0000" / "1.jpg") as photo:
        photo.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "staff" / "ann" / "turned.png")
    said = say("enrol", tmp_path / "staff", "--gallery", uri)
    assert said.code == 0, said.err
    assert said.lines == [f"{uri}: 2 enrolled", "ann: ann/turned.png: was rotated by 90 degrees"]


@pytest.mark.parametrize("content", ["", "other"])
def test_search_makes_no_gallery_of_another_file(content, demo, uri, say):
    """An empty file, and an SQLite file of another program that has no tables yet."""
    if content:
        with sqlite3.connect(uri) as other:
            other.execute("PRAGMA user_version = 7")
        other.close()
    else:
        Path(uri).touch()
    before = Path(uri).read_bytes()
    assert say("search", demo / "0000" / "0.jpg", "--gallery", uri).code == 2
    assert Path(uri).read_bytes() == before
