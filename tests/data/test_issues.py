from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bonaface.data.issues import (
    COLUMNS,
    apply_issues,
    combined,
    count_new,
    keep_dropped,
    older_list,
    read_issues,
    write_issues,
)
from bonaface.data.table import FaceTable, read_faces
from bonaface.errors import DataError

Maker = Callable[..., Path]


@pytest.fixture
def table(plain_tree: Maker) -> FaceTable:
    return read_faces(plain_tree({"001": 3, "Bob": 2, "O'Neill, Ann": 2}))


def issues_of(*rows: tuple[str, ...], columns: list[str] | None = None) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=columns or ["path", "issue", "evidence", "suggestion", "confidence"])


def people_of(table: FaceTable) -> dict[str, str]:
    return dict(zip(table.frame["path"], table.frame["person"], strict=True))


def test_dropped_moved_and_merged(table: FaceTable, tmp_path: Path) -> None:
    csv = tmp_path / "issues.csv"
    write_issues(
        issues_of(
            ("001/001_0001.jpg", "mislabelled", 'says "x", and y', "move to person O'Neill, Ann", 0.9),
            ("001/001_0002.jpg", "mislabelled", "", "drop", 0.9),
            ("Bob/Bob_0001.jpg", "merge", "", "merge with person 001", 0.9),
            ("Bob/Bob_0002.jpg", "several_faces", "", "look", 0.5),
        ),
        csv,
    )
    before = table.frame.copy()
    applied = apply_issues(table, read_issues(csv, table))
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
    csv = tmp_path / "issues.csv"
    csv.write_text(
        "decision,path,my note,suggestion\n"
        "reject,001/001_0001.jpg,keep her,drop\n"
        " Accept ,001/001_0002.jpg,,drop\n"
        "accept,Bob/Bob_0001.jpg,,look\n"
        ",Bob/Bob_0002.jpg,,look\n",
        encoding="utf-8-sig",
    )
    listed = read_issues(csv, table)
    assert listed["my note"].tolist() == ["keep her", "", "", ""]
    left = set(people_of(apply_issues(table, listed)))
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
        ("path|suggestion\n001/001_0001.jpg|drop\n", r"expected the columns path and suggestion, got path\|suggestion"),
        ("path,suggestion,path\n001/001_0001.jpg,drop,x\n", "has the column path twice"),
        ("", "isn't a list of issues"),
        ("path,suggestion\na,b,c,d\ne\n\x00", "issues.csv: "),
    ],
)
def test_lists_that_do_not_fit(table: FaceTable, tmp_path: Path, text: str, said: str) -> None:
    csv = tmp_path / "issues.csv"
    csv.write_text(text)
    with pytest.raises(DataError, match=said):
        read_issues(csv, table)


def test_lists_that_cannot_be_read(table: FaceTable, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"none\.csv: isn't a list of issues that can be read \(no such file or directory\)"
    ):
        read_issues(tmp_path / "none.csv", table)
    (tmp_path / "latin.csv").write_bytes("path,suggestion\n001/é.jpg,drop\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.csv: isn't a list of issues as a CSV in UTF-8"):
        read_issues(tmp_path / "latin.csv", table)


def test_a_list_that_leaves_nothing(table: FaceTable, tmp_path: Path) -> None:
    issues = issues_of(*((path, "x", "", "drop", 1.0) for path in table.frame["path"]))
    with pytest.raises(DataError, match="leaves no photo of 7"):
        apply_issues(table, issues)


def test_a_second_list_keeps_decisions_and_columns(table: FaceTable, tmp_path: Path) -> None:
    csv = tmp_path / "issues.csv"
    first = issues_of(
        ("001/001_0001.jpg", "mislabelled", "old", "drop", 0.9), ("Bob/Bob_0001.jpg", "near_duplicate", "", "drop", 0.9)
    )
    assert (write_issues(first, csv)["decision"] == "").all()
    edited = pd.read_csv(csv, dtype=str, keep_default_na=False)
    edited["decision"], edited["by"] = ["reject", "accept"], ["me", "you"]
    edited.to_csv(csv, index=False)
    second = issues_of(
        ("001/001_0001.jpg", "mislabelled", "new", "drop", 0.95),
        ("001/001_0002.jpg", "mislabelled", "new", "drop", 0.7),
        ("Bob/Bob_0001.jpg", "mislabelled", "", "drop", 0.9),
    )
    written = write_issues(second, csv, older_list(csv))
    listed = read_issues(csv, table)
    pd.testing.assert_frame_equal(written, listed)
    assert listed["decision"].tolist() == ["reject", "", ""]
    assert listed["by"].tolist() == ["me", "", ""]
    assert listed["evidence"].tolist() == ["new", "new", ""]


def test_what_its_user_did_to_a_list_and_the_new_one_undoes_is_kept_in_a_copy(tmp_path: Path) -> None:
    csv = tmp_path / "issues.csv"
    first = issues_of(("a/1.jpg", "mislabelled", "", "drop", 0.9), ("b/1.jpg", "near_duplicate", "", "drop", 0.9))
    assert older_list(csv) is None
    written = write_issues(first, csv)
    assert keep_dropped(first, older_list(csv), csv) is None
    other = issues_of(("c/1.jpg", "x", "", "drop", 0.9))
    assert keep_dropped(other, older_list(csv), csv) is None  # nobody has decided anything yet
    written.assign(decision=["reject", ""]).to_csv(csv, index=False)
    assert keep_dropped(first, older_list(csv), csv) is None
    other = issues_of(("b/1.jpg", "near_duplicate", "", "drop", 0.9))
    copies = [keep_dropped(other, older_list(csv), csv) for _ in range(2)]
    assert copies == [tmp_path / "issues.before1.csv", tmp_path / "issues.before2.csv"]
    assert copies[0].read_bytes() == csv.read_bytes()
    written.assign(suggestion=["look", "drop"]).to_csv(csv, index=False)
    assert keep_dropped(first, older_list(csv), csv) == tmp_path / "issues.before3.csv"


def test_photos_that_the_previous_list_has_not_are_counted(tmp_path: Path) -> None:
    csv = tmp_path / "issues.csv"
    listed = issues_of(("a/1.jpg", "mislabelled", "", "drop", 0.9), ("b/1.jpg", "near_duplicate", "", "drop", 0.9))
    write_issues(listed.iloc[:1], csv)
    assert count_new(listed, older_list(csv)) == 1


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "", "\x00\x01"])
def test_other_files_are_not_overwritten(tmp_path: Path, content: str) -> None:
    other = tmp_path / "results.csv"
    other.write_text(content)
    with pytest.raises(DataError, match="is there and is no list of issues, so it isn't replaced"):
        older_list(other)
    assert other.read_text() == content


def test_a_list_without_issues_can_be_read(table: FaceTable, tmp_path: Path) -> None:
    csv = tmp_path / "issues.csv"
    write_issues(combined([]), csv)
    assert csv.read_text() == "path,issue,evidence,suggestion,confidence,decision\n"
    pd.testing.assert_frame_equal(apply_issues(table, read_issues(csv, table)).frame, table.frame)


parts = st.lists(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("xyz")), max_size=6), max_size=4)


@given(parts=parts)
def test_the_first_issue_of_a_photo_counts(parts: list[list[tuple[str, str]]]) -> None:
    frames = [issues_of(*((path, issue, "", "drop", 1.0) for path, issue in part)) for part in parts]
    whole = combined(frames)
    expected: dict[str, str] = {}
    for part in parts:
        for path, issue in part:
            expected.setdefault(path, issue)
    assert whole.columns.tolist() == COLUMNS
    assert dict(zip(whole["path"], whole["issue"], strict=True)) == expected
    assert whole["path"].is_monotonic_increasing
    assert whole["path"].is_unique


def test_a_list_of_the_first_version_is_read_and_continued(table: FaceTable, tmp_path: Path) -> None:
    csv = tmp_path / "faults.csv"
    csv.write_text(
        "path,fault,evidence,suggestion,confidence,decision\n001/001_0001.jpg,mislabelled,old,drop,0.900,reject\n"
    )
    assert read_issues(csv, table)["issue"].tolist() == ["mislabelled"]
    write_issues(issues_of(("001/001_0001.jpg", "mislabelled", "new", "drop", 0.9)), csv, older_list(csv))
    assert csv.read_text().splitlines()[0] == "path,issue,evidence,suggestion,confidence,decision"
    assert read_issues(csv, table)["decision"].tolist() == ["reject"]


@pytest.mark.parametrize("name", ["null", "zero"])
def test_a_device_is_written_to_and_never_read(device: Callable[[str], Path], name: str) -> None:
    listed = issues_of(("a", "b", "c", "drop", 1.0))
    assert write_issues(listed, device(name))["path"].tolist() == ["a"]
