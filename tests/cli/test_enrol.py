"""bonaface enrol and bonaface search, as a user gives them: the demo's people with the model of the package."""

import csv
import shutil

import pytest

from bonaface.assets import unpack_demo

PEOPLE = ("0000", "0001")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return unpack_demo(tmp_path_factory.mktemp("demo")) / "train" / "images"


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
        (("--k", 0), "--k 0: expected 1 to 50"),
        ((), "no such gallery; enrol people first by bonaface enrol"),
        (("--gallery", "postgres://here/x"), "postgres"),
    ],
)
def test_what_search_is_told_wrongly(words, expected, demo, uri, say):
    said = say("search", demo / "0000" / "0.jpg", "--gallery", uri, *words)
    assert said.code == 2
    assert expected in said.err
    assert len(said.lines) == 1


def test_an_empty_folder_enrols_nobody(uri, tmp_path, say):
    (tmp_path / "none").mkdir()
    said = say("enrol", tmp_path / "none", "--gallery", uri)
    assert said.code == 2
    assert said.err.startswith(f"bonaface enrol: {tmp_path / 'none'}")
    assert not (tmp_path / "people.sqlite").exists()
