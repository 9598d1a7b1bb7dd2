from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bonaface.data.issues import COLUMNS, apply_faults, combined, read_faults, write_faults
from bonaface.data.table import FaceTable, read_faces
from bonaface.errors import DataError

Maker = Callable[..., Path]


@pytest.fixture
def table(plain_tree: Maker) -> FaceTable:
    return read_faces(plain_tree({"001": 3, "Bob": 2, "O'Neill, Ann": 2}))


def faults_of(*rows: tuple[str, ...], columns: list[str] | None = None) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=columns or ["path", "fault", "evidence", "suggestion", "confidence"])


def people_of(table: FaceTable) -> dict[str, str]:
    return dict(zip(table.frame["path"], table.frame["person"], strict=True))


def test_dropped_moved_and_merged(table: FaceTable, tmp_path: Path) -> None:
    csv = tmp_path / "faults.csv"
    write_faults(
        faults_of(
            ("001/001_0001.jpg", "mislabelled", 'says "x", and y', "move to person O'Neill, Ann", 0.9),
            ("001/001_0002.jpg", "mislabelled", "", "drop", 0.9),
            ("Bob/Bob_0001.jpg", "merge", "", "merge with person 001", 0.9),
            ("Bob/Bob_0002.jpg", "several_faces", "", "look", 0.5),
        ),
        csv,
    )
    before = table.frame.copy()
    applied = apply_faults(table, read_faults(csv, table))
    assert people_of(applied) == {
        "001/001_0001.jpg": "O'Neill, Ann",
        "001/001_0003.jpg": "001",
        "Bob/Bob_0001.jpg": "001",
        "Bob/Bob_0002.jpg": "Bob",
        "O'Neill, Ann/O'Neill, Ann_0001.jpg": "O'Neill, Ann",
        "O'Neill, Ann/O'Neill, Ann_0002.jpg": "O'Neill, Ann",
    }
    pd.testing.assert_frame_equal(table.frame, before)
    assert len(list(table.root.rglob("*.jpg"))) == 7


def test_decisions_of_a_person_count(table: FaceTable, tmp_path: Path) -> None:
    csv = tmp_path / "faults.csv"
    csv.write_text(
        "decision,path,my note,suggestion\n"
        "reject,001/001_0001.jpg,keep her,drop\n"
        " Accept ,001/001_0002.jpg,,drop\n"
        "accept,Bob/Bob_0001.jpg,,look\n"
        ",Bob/Bob_0002.jpg,,look\n",
        encoding="utf-8-sig",
    )
    listed = read_faults(csv, table)
    assert listed["my note"].tolist() == ["keep her", "", "", ""]
    left = set(people_of(apply_faults(table, listed)))
    assert set(people_of(table)) - left == {"001/001_0002.jpg", "Bob/Bob_0001.jpg"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "path,suggestion\nno/such.jpg,drop\n",
            r'"no/such.jpg" is not in .*people; expected a list made of this folder',
        ),
        ("path,suggestion\nno/such.jpg,drop\nnor/this.jpg,drop\n", r"\(nor are 1 more of 2\)"),
        (
            "path,suggestion\n001/001_0001.jpg,delete\n",
            r'unknown suggestion "delete"; expected drop, look, move to person X',
        ),
        ("path,suggestion\n001/001_0001.jpg,move to person Zoe\n", "but the folder has no such person"),
        (
            "path,suggestion,decision\n001/001_0001.jpg,drop,perhaps\n",
            r'unknown decision "perhaps"; expected accept, reject',
        ),
        ("path,suggestion\n001/001_0001.jpg,drop\n001/001_0001.jpg,look\n", "a second time"),
        ("path;suggestion\n001/001_0001.jpg;drop\n", "expected the columns path and suggestion, got path;suggestion"),
        ("", "is no CSV"),
        ("path,suggestion\na,b,c,d\ne\n\x00", "faults.csv: "),
    ],
)
def test_lists_that_do_not_fit(table: FaceTable, tmp_path: Path, text: str, said: str) -> None:
    csv = tmp_path / "faults.csv"
    csv.write_text(text)
    with pytest.raises(DataError, match=said):
        read_faults(csv, table)


def test_lists_that_cannot_be_read(table: FaceTable, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv: can't be read \(no such file or directory\)"):
        read_faults(tmp_path / "none.csv", table)
    (tmp_path / "latin.csv").write_bytes("path,suggestion\n001/é.jpg,drop\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.csv: is no CSV in UTF-8"):
        read_faults(tmp_path / "latin.csv", table)


def test_a_list_that_leaves_nothing(table: FaceTable, tmp_path: Path) -> None:
    faults = faults_of(*((path, "x", "", "drop", 1.0) for path in table.frame["path"]))
    with pytest.raises(DataError, match="leaves no photo of 7"):
        apply_faults(table, faults)


def test_a_second_list_keeps_decisions_and_columns(table: FaceTable, tmp_path: Path) -> None:
    csv = tmp_path / "faults.csv"
    first = faults_of(
        ("001/001_0001.jpg", "mislabelled", "old", "drop", 0.9), ("Bob/Bob_0001.jpg", "near_duplicate", "", "drop", 0.9)
    )
    assert write_faults(first, csv) == 0
    edited = pd.read_csv(csv, dtype=str, keep_default_na=False)
    edited["decision"], edited["by"] = ["reject", "accept"], ["me", "you"]
    edited.to_csv(csv, index=False)
    second = faults_of(
        ("001/001_0001.jpg", "mislabelled", "new", "drop", 0.95),
        ("001/001_0002.jpg", "mislabelled", "new", "drop", 0.7),
        ("Bob/Bob_0001.jpg", "mislabelled", "", "drop", 0.9),
    )
    assert write_faults(second, csv) == 1
    listed = read_faults(csv, table)
    assert listed["decision"].tolist() == ["reject", "", ""]
    assert listed["by"].tolist() == ["me", "", ""]
    assert listed["evidence"].tolist() == ["new", "new", ""]


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "", "\x00\x01"])
def test_other_files_are_not_overwritten(tmp_path: Path, content: str) -> None:
    other = tmp_path / "results.csv"
    other.write_text(content)
    with pytest.raises(DataError, match="is there and is no list of faults, so it isn't replaced"):
        write_faults(faults_of(("a", "b", "c", "drop", 1.0)), other)
    assert other.read_text() == content


def test_a_list_without_faults_can_be_read(table: FaceTable, tmp_path: Path) -> None:
    csv = tmp_path / "faults.csv"
    write_faults(combined([]), csv)
    assert csv.read_text() == "path,fault,evidence,suggestion,confidence,decision\n"
    pd.testing.assert_frame_equal(apply_faults(table, read_faults(csv, table)).frame, table.frame)


parts = st.lists(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("xyz")), max_size=6), max_size=4)


@given(parts=parts)
def test_the_first_fault_of_a_photo_counts(parts: list[list[tuple[str, str]]]) -> None:
    frames = [faults_of(*((path, fault, "", "drop", 1.0) for path, fault in part)) for part in parts]
    whole = combined(frames)
    expected: dict[str, str] = {}
    for part in parts:
        for path, fault in part:
            expected.setdefault(path, fault)
    assert whole.columns.tolist() == COLUMNS
    assert dict(zip(whole["path"], whole["fault"], strict=True)) == expected
    assert whole["path"].is_monotonic_increasing
    assert whole["path"].is_unique
