"""Review page: doubtful photos beside others of their person and photos of the person that they may show."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.progress import Progress

from bonaface.charts.page import page_template
from bonaface.data.table import FaceTable
from bonaface.images.thumbnails import thumbnail
from bonaface.io import atomic_write

__all__ = ["Case", "cases_of", "write_review_page"]

_MOST_CASES = 600
_MATES, _OWNERS = 5, 4
_CERTAIN = ("unreadable", "small_class", "duplicate")
"""Nothing to see: files that aren't images, classes that are too small, duplicates of the same bytes."""
_TARGET = re.compile(r"(?:move to|merge with) person (.+)")
_RESEMBLES = re.compile(r", -?\d\.\d\d like (.+)")
_DUPLICATE = re.compile(r"the same (?:file|image) as (.+?)(?:: \d+ of 64 bits|, a (?:real photo|deepfake) of)")


@dataclass(frozen=True)
class Case:
    """One decision.

    Args:
        rows: places in the list of issues that it decides; several where two folders are one person.
        images: paths of the doubtful photos.
        mates: paths of other photos of the same person.
        owners: paths of photos of the person that it is said to be, or the image that it duplicates.
        owner: what to call them; empty where there are none.
    """

    rows: list[int]
    images: list[str]
    mates: list[str]
    owners: list[str]
    owner: str


def cases_of(table: FaceTable, issues: pd.DataFrame) -> list[Case]:
    """Group a list of issues into decisions, most doubtful first.

    Args:
        table: photos.
        issues: as ``read_issues`` returns them; files that aren't images and the like need no decision, and photos that
            people should just look at come last.
    """
    frame = table.frame[~table.frame["is_fake"]]
    clean = frame[~frame["path"].isin(issues["path"])]
    by_person = {str(person): paths.tolist() for person, paths in frame.groupby("person")["path"]}
    by_person |= {str(person): paths.tolist() for person, paths in clean.groupby("person")["path"]}
    person_of = dict(zip(table.frame["path"], table.frame["person"], strict=True))
    open_ = issues[~issues["issue"].isin(_CERTAIN)]
    merged = open_["issue"] == "merge"
    groups = [[row] for row in open_.index[~merged]]
    people = open_.loc[merged, "path"].map(person_of)
    groups += [list(rows) for _, rows in people.groupby(people).groups.items()]
    confidence = pd.to_numeric(issues["confidence"], errors="coerce").fillna(0.5)
    looked_at = (issues["suggestion"] == "look").tolist()
    doubt, paths = (confidence - 0.5).abs().tolist(), issues["path"].tolist()
    groups.sort(key=lambda rows: (looked_at[rows[0]], doubt[rows[0]], paths[rows[0]]))
    return [_case(rows, issues, by_person, person_of) for rows in groups[:_MOST_CASES]]


def _case(rows: list[int], issues: pd.DataFrame, by_person: dict[str, list[str]], person_of: dict[str, str]) -> Case:
    path, suggestion, evidence = (str(issues[name][rows[0]]) for name in ("path", "suggestion", "evidence"))
    person = person_of[path]
    target, twin = _TARGET.fullmatch(suggestion), _DUPLICATE.search(evidence)
    owners, owner = [], ""
    target = target or _RESEMBLES.search(evidence)
    if target is not None:
        owners, owner = _some(by_person.get(target[1], []), _OWNERS), target[1]
    elif twin is not None and twin[1] in person_of:
        owners, owner = [twin[1]], twin[1]
    images = [str(issues["path"][row]) for row in rows[:_OWNERS]]
    mates = [mate for mate in by_person.get(person, []) if mate not in images]
    return Case(rows, images, _some(mates, _MATES), owners, owner)


def _some(paths: list[str], count: int) -> list[str]:
    """At most ``count``, spread evenly."""
    places = np.unique(np.linspace(0, max(len(paths) - 1, 0), count).round().astype(int))
    return [paths[place] for place in places if place < len(paths)]


def write_review_page(
    table: FaceTable, issues: pd.DataFrame, name: str, out: Path, progress: Progress | None = None
) -> None:
    """Write the page: one file, no network; a and r accept and reject, j and k move, "Save CSV" gives the list back.

    Args:
        table: photos.
        issues: as ``read_issues`` returns them; decisions that are in them are shown.
        name: of the file that "Save CSV" proposes.
        out: the HTML file to write, readable by its owner alone: it holds faces.
        progress: shows how far it is.

    Raises:
        DataError: if the page can't be written.
    """
    issues = issues.assign(**{name: "" for name in ("issue", "evidence", "confidence") if name not in issues})
    cases = cases_of(table, issues)
    data = {
        "name": name,
        "columns": list(issues.columns),
        "rows": issues.to_numpy().tolist(),
        "cases": [_shown(case, issues, table) for case in cases],
        "thumbs": _thumbnails(table, cases, progress),
    }
    text = json.dumps(data, ensure_ascii=True).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    page = page_template(Path(__file__).with_name("review_page.html.j2")).render(
        title=table.root.name, cases=len(cases), issues=len(issues), data=text
    )
    with atomic_write(out, private=True) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")


def _shown(case: Case, issues: pd.DataFrame, table: FaceTable) -> dict[str, Any]:
    first = issues.loc[case.rows[0]]
    person = table.frame.loc[table.frame["path"] == first["path"], "person"].iloc[0]
    return {
        "rows": case.rows,
        "images": case.images,
        "mates": case.mates,
        "owners": case.owners,
        "owner": case.owner,
        "person": str(person),
        "issue": first["issue"],
        "evidence": first["evidence"],
        "suggestion": first["suggestion"],
        "confidence": str(first["confidence"]),
        "path": first["path"] if len(case.rows) == 1 else f"{len(case.rows)} photos of {person}",
    }


def _thumbnails(table: FaceTable, cases: Iterable[Case], progress: Progress | None) -> dict[str, str]:
    paths = dict.fromkeys(path for case in cases for path in (*case.images, *case.mates, *case.owners))
    task = progress.add_task("writing the review page", total=len(paths)) if progress is not None else None
    made = {}
    for path in paths:
        made[path] = thumbnail(table.root / path)
        if progress is not None and task is not None:
            progress.advance(task)
    return made
