import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bonaface.errors import DataError
from bonaface.faces.faults import read_faults, write_faults
from bonaface.faces.table import FaceTable, read_faces
from bonaface.verification.fault_sheet import cases_of, write_sheet

Maker = Callable[..., Path]


@pytest.fixture
def table(plain_tree: Maker) -> FaceTable:
    return read_faces(plain_tree({"Ann": 4, "Bob": 9, "Cyd": 2, "<script>": 2}))


@pytest.fixture
def csv(table: FaceTable, tmp_path: Path) -> Path:
    copy = "the same picture as Bob/Bob_0001.jpg: 2 of 64 bits differ, and the faces are 0.98 alike"
    rows = [
        ("<script>/<script>_0001.jpg", "mislabelled", "</script><b>", "drop", 0.7),
        ("Ann/Ann_0001.jpg", "several_faces", "2 faces of similar size", "look", 0.5),
        ("Ann/Ann_0002.jpg", "mislabelled", "0.1 like", "move to person Bob", 0.99),
        ("Ann/Ann_0003.jpg", "unreadable", "is empty", "drop", 1.0),
        ("Bob/Bob_0002.jpg", "near_duplicate", copy, "drop", 0.95),
        ("Cyd/Cyd_0001.jpg", "merge", "alike", "merge with person Ann", 0.8),
        ("Cyd/Cyd_0002.jpg", "merge", "alike", "merge with person Ann", 0.8),
    ]
    out = tmp_path / "faults.csv"
    write_faults(pd.DataFrame(rows, columns=["path", "fault", "evidence", "suggestion", "confidence"]), out)
    return out


def shown(sheet: Path) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', sheet.read_text("utf-8"), re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_cases_most_doubtful_first(table: FaceTable, csv: Path) -> None:
    cases = cases_of(table, read_faults(csv, table))
    assert [case.pictures for case in cases] == [
        ["<script>/<script>_0001.jpg"],
        ["Cyd/Cyd_0001.jpg", "Cyd/Cyd_0002.jpg"],
        ["Bob/Bob_0002.jpg"],
        ["Ann/Ann_0002.jpg"],
        ["Ann/Ann_0001.jpg"],
    ]
    stranger, merge, copy, moved, several = cases
    assert stranger.mates == ["<script>/<script>_0002.jpg"]
    assert (stranger.owners, stranger.owner) == ([], "")
    assert (merge.owners, merge.owner, merge.rows) == (["Ann/Ann_0004.jpg"], "Ann", [5, 6])
    assert copy.owners == ["Bob/Bob_0001.jpg"]
    assert len(copy.mates) == 5
    assert moved.owner == "Bob"
    assert len(moved.owners) == 4
    assert not set(moved.owners) & {"Bob/Bob_0002.jpg"}
    assert several.mates == ["Ann/Ann_0004.jpg"]


def test_the_page_holds_all_rows_and_loads_nothing(table: FaceTable, csv: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.html"
    edited = pd.read_csv(csv, dtype=str, keep_default_na=False)
    edited.loc[2, "decision"], edited["note"] = "reject", "häßlich"
    edited.to_csv(csv, index=False)
    write_sheet(table, csv, sheet)
    page, data = sheet.read_text("utf-8"), shown(sheet)
    assert not re.search(r"https?://|src=\"(?!data:)|url\(|@import", page)
    assert "</script><b>" not in page
    assert data["columns"] == edited.columns.tolist()
    assert data["rows"] == edited.to_numpy().tolist()
    assert sorted(row for case in data["cases"] for row in case["rows"]) == [0, 1, 2, 4, 5, 6]
    wanted = {path for case in data["cases"] for key in ("pictures", "mates", "owners") for path in case[key]}
    assert set(data["thumbs"]) == wanted
    assert all(uri.startswith("data:image/jpeg;base64,") for uri in data["thumbs"].values())


def test_a_list_of_nothing(table: FaceTable, tmp_path: Path) -> None:
    (tmp_path / "faults.csv").write_text("path,suggestion\n")
    write_sheet(table, tmp_path / "faults.csv", tmp_path / "sheet.html")
    assert shown(tmp_path / "sheet.html")["cases"] == []


def test_a_list_of_another_folder(table: FaceTable, tmp_path: Path) -> None:
    (tmp_path / "faults.csv").write_text("path,suggestion\nother.jpg,drop\n")
    with pytest.raises(DataError, match="is not in"):
        write_sheet(table, tmp_path / "faults.csv", tmp_path / "sheet.html")
    assert not (tmp_path / "sheet.html").exists()
