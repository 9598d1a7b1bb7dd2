"""A page on which a person judges the doubtful photos: beside their folder-mates and the person they are said to be."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from rich.progress import Progress

from bonaface.assets import ASSETS
from bonaface.data.issues import read_faults
from bonaface.data.table import FaceTable
from bonaface.images.thumbnails import thumbnail
from bonaface.io import atomic_write

__all__ = ["Case", "cases_of", "write_sheet"]

_MOST_CASES = 600
_MATES, _OWNERS = 5, 4
_CERTAIN = ("unreadable", "small_class", "duplicate")
"""Nothing to see: files that aren't images, classes that are too small, copies of the same bytes."""
_TARGET = re.compile(r"(?:move to|merge with) person (.+)")
_RESEMBLES = re.compile(r", -?\d\.\d\d like (.+)")
_COPY = re.compile(r"the same (?:file|image) as (.+?)(?:: \d+ of 64 bits|, a (?:real photo|deepfake) of)")


@dataclass(frozen=True)
class Case:
    """One decision.

    Args:
        rows: places in the list of faults that it decides; several where two folders are one person.
        images: paths of the doubtful photos.
        mates: paths of other photos of the same person.
        owners: paths of photos of the person that it is said to be, or the image it is a copy of.
        owner: what to call them; empty where there are none.
    """

    rows: list[int]
    images: list[str]
    mates: list[str]
    owners: list[str]
    owner: str


def cases_of(table: FaceTable, faults: pd.DataFrame) -> list[Case]:
    """The decisions that a list of faults asks for, most doubtful first.

    Args:
        table: photos.
        faults: as ``read_faults`` returns them; files that aren't images and the like need no decision, and what is there
            just to be looked at comes last.
    """
    frame = table.frame[~table.frame["is_fake"]]
    clean = frame[~frame["path"].isin(faults["path"])]
    by_person = {str(person): paths.tolist() for person, paths in frame.groupby("person")["path"]}
    by_person |= {str(person): paths.tolist() for person, paths in clean.groupby("person")["path"]}
    person_of = dict(zip(table.frame["path"], table.frame["person"], strict=True))
    open_ = faults[~faults["fault"].isin(_CERTAIN)]
    merged = open_["fault"] == "merge"
    groups = [[row] for row in open_.index[~merged]]
    people = open_.loc[merged, "path"].map(person_of)
    groups += [list(rows) for _, rows in people.groupby(people).groups.items()]
    confidence = pd.to_numeric(faults["confidence"], errors="coerce").fillna(0.5)
    looked_at = (faults["suggestion"] == "look").tolist()
    doubt, paths = (confidence - 0.5).abs().tolist(), faults["path"].tolist()
    groups.sort(key=lambda rows: (looked_at[rows[0]], doubt[rows[0]], paths[rows[0]]))
    return [_case(rows, faults, by_person, person_of) for rows in groups[:_MOST_CASES]]


def _case(rows: list[int], faults: pd.DataFrame, by_person: dict[str, list[str]], person_of: dict[str, str]) -> Case:
    path, suggestion, evidence = (str(faults[name][rows[0]]) for name in ("path", "suggestion", "evidence"))
    person = person_of[path]
    target, copy = _TARGET.fullmatch(suggestion), _COPY.search(evidence)
    owners, owner = [], ""
    target = target or _RESEMBLES.search(evidence)
    if target is not None:
        owners, owner = _some(by_person.get(target[1], []), _OWNERS), target[1]
    elif copy is not None and copy[1] in person_of:
        owners, owner = [copy[1]], copy[1]
    images = [str(faults["path"][row]) for row in rows[:_OWNERS]]
    mates = [mate for mate in by_person.get(person, []) if mate not in images]
    return Case(rows, images, _some(mates, _MATES), owners, owner)


def _some(paths: list[str], count: int) -> list[str]:
    """At most ``count``, spread evenly."""
    places = np.unique(np.linspace(0, max(len(paths) - 1, 0), count).round().astype(int))
    return [paths[place] for place in places if place < len(paths)]


def write_sheet(table: FaceTable, csv: Path, sheet: Path, progress: Progress | None = None) -> None:
    """Write the page: one file, no network; a and r accept and reject, j and k move, "save CSV" gives the list back.

    Args:
        table: photos.
        csv: the list of faults; decisions that are in it are shown.
        sheet: the HTML file to write.
        progress: shows how far it is.

    Raises:
        DataError: if the list does not fit the table, or the page can't be written.
    """
    faults = read_faults(csv, table)
    faults = faults.assign(**{name: "" for name in ("fault", "evidence", "confidence") if name not in faults})
    cases = cases_of(table, faults)
    data = {
        "name": csv.name,
        "columns": list(faults.columns),
        "rows": faults.to_numpy().tolist(),
        "cases": [_shown(case, faults, table) for case in cases],
        "thumbs": _thumbnails(table, cases, progress),
    }
    loader = jinja2.FileSystemLoader([Path(__file__).parent, ASSETS])
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    text = json.dumps(data, ensure_ascii=True).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    page = environment.get_template("review_page.html.j2").render(
        title=table.root.name, cases=len(cases), faults=len(faults), data=text
    )
    with atomic_write(sheet) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _shown(case: Case, faults: pd.DataFrame, table: FaceTable) -> dict[str, Any]:
    first = faults.loc[case.rows[0]]
    person = table.frame.loc[table.frame["path"] == first["path"], "person"].iloc[0]
    return {
        "rows": case.rows,
        "images": case.images,
        "mates": case.mates,
        "owners": case.owners,
        "owner": case.owner,
        "person": str(person),
        "fault": first["fault"],
        "evidence": first["evidence"],
        "suggestion": first["suggestion"],
        "confidence": str(first["confidence"]),
        "path": first["path"] if len(case.rows) == 1 else f"{len(case.rows)} photos of {person}",
    }


def _thumbnails(table: FaceTable, cases: Iterable[Case], progress: Progress | None) -> dict[str, str]:
    paths = dict.fromkeys(path for case in cases for path in (*case.images, *case.mates, *case.owners))
    task = progress.add_task("drawing the sheet", total=len(paths)) if progress is not None else None
    made = {}
    for path in paths:
        made[path] = thumbnail(table.root / path)
        if progress is not None and task is not None:
            progress.advance(task)
    return made
