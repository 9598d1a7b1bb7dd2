"""The list of issues: merged, written, read back after people have edited it, and applied to a table."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.data.table import FaceTable
from bonaface.data.text_tables import read_text_table
from bonaface.errors import DataError
from bonaface.io import atomic_write
from bonaface.reading import read_regular

__all__ = [
    "COLUMNS",
    "apply_issues",
    "combined",
    "count_new",
    "keep_dropped",
    "new_people",
    "older_list",
    "read_issues",
    "write_issues",
]

_KEYS = ["path", "issue", "suggestion"]
COLUMNS = ["path", "issue", "evidence", "suggestion", "confidence"]
_OLD_NAMES = {"fault": "issue"}
"""Columns of lists that bonaface 0.1 wrote."""
_DECISIONS = ("", "accept", "reject")
_RELABEL = re.compile(r"(?:move to|merge with) person (.+)")
_EXPECTED = "expected drop, look, move to person X, or merge with person X"


def combined(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Merge lists into one that names a photo once, as its first list does; sorted by path."""
    rows = pd.concat([pd.DataFrame(columns=COLUMNS), *[part for part in parts if len(part)]], ignore_index=True)
    rows = rows.drop_duplicates("path").sort_values("path", ignore_index=True)
    return rows.astype({"confidence": float})


def new_people(table: FaceTable, issues: pd.DataFrame) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    """Apply a list to people: whom each photo shows then, and whether it stays.

    Suggestions are followed unless ``decision`` is ``reject``; ``look`` is for people to judge: such a photo stays unless
    ``decision`` is ``accept``.

    Args:
        table: photos.
        issues: with ``path``, ``suggestion`` and, where people have judged them, ``decision``; all paths are in the table.

    Returns:
        Persons and a mask, both of shape ``(n,)``.
    """
    decision = issues["decision"] if "decision" in issues else pd.Series("", index=issues.index)
    followed = (decision != "reject") & ((issues["suggestion"] != "look") | (decision == "accept"))
    row_of = dict(zip(table.frame["path"], range(len(table)), strict=True))
    person = table.frame["person"].to_numpy(dtype=object).copy()
    stays = np.ones(len(table), np.bool_)
    for path, suggestion in issues.loc[followed, ["path", "suggestion"]].itertuples(index=False):
        relabel = _RELABEL.fullmatch(suggestion)
        if relabel is None:
            stays[row_of[path]] = False
        else:
            person[row_of[path]] = relabel[1]
    return person, stays


def apply_issues(table: FaceTable, issues: pd.DataFrame) -> FaceTable:
    """Leave out and relabel what the list says; no file is touched.

    Args:
        table: photos.
        issues: as ``read_issues`` returns them.

    Returns:
        The photos that stay, under the people that they show.

    Raises:
        DataError: if no photo is left.
    """
    person, stays = new_people(table, issues)
    if len(table) and not stays.any():
        raise DataError(f"{table.root}: the list of issues leaves no photo of {len(table)}; expected some to be used")
    return FaceTable(table.root, table.frame.assign(person=person)).take(stays)


def read_issues(csv: Path, table: FaceTable) -> pd.DataFrame:
    """Read a list that ``bonaface clean`` wrote and people may have edited.

    Only ``path`` and ``suggestion`` are needed; ``decision`` is ``accept``, ``reject`` or empty; further columns are kept.

    Args:
        csv: the list.
        table: the photos that it is about.

    Returns:
        The rows as text, in the file's order, with ``decision`` filled by ``""`` where it is missing.

    Raises:
        DataError: if it can't be read, names a photo that isn't there or names it twice, or has an unknown suggestion, person or
            decision.
    """
    rows = _read_text(csv)
    missing = {"path", "suggestion"} - set(rows)
    if missing:
        columns = ", ".join(map(str, rows.columns))
        raise DataError(f"{csv}: expected the columns path and suggestion, got {columns[:120]}")
    rows = rows.assign(decision=rows["decision"].str.strip().str.lower() if "decision" in rows else "")
    _check_paths(csv, rows, table)
    _check_words(csv, rows, set(table.frame["person"]))
    return rows


def _read_text(csv: Path) -> pd.DataFrame:
    """Read every cell as text, under the names that columns have today."""
    rows = read_text_table(csv, "a list of issues", "expected the columns path and suggestion")
    return rows if "issue" in rows else rows.rename(columns=_OLD_NAMES)


def _check_paths(csv: Path, rows: pd.DataFrame, table: FaceTable) -> None:
    unknown = ~rows["path"].isin(table.frame["path"])
    if unknown.any():
        first, many = rows.loc[unknown, "path"].iloc[0], int(unknown.sum())
        also = f" (nor are {many - 1} more of {len(rows)})" if many > 1 else ""
        raise DataError(f'{csv}: "{first}" is not in {table.root}{also}; expected a list made of this folder')
    twice = rows["path"].duplicated()
    if twice.any():
        raise DataError(f'{csv}: names "{rows.loc[twice, "path"].iloc[0]}" a second time; expected each image once')


def _check_words(csv: Path, rows: pd.DataFrame, people: set[str]) -> None:
    for path, suggestion, decision in rows[["path", "suggestion", "decision"]].itertuples(index=False):
        relabel = _RELABEL.fullmatch(suggestion)
        if relabel is None and suggestion not in ("drop", "look"):
            raise DataError(f'{csv}: "{path}": unknown suggestion "{suggestion}"; {_EXPECTED}')
        if relabel is not None and relabel[1] not in people:
            raise DataError(f'{csv}: "{path}": {suggestion}, but the folder has no such person')
        if decision not in _DECISIONS:
            raise DataError(f'{csv}: "{path}": unknown decision "{decision}"; expected accept, reject, or nothing')


def older_list(out: Path) -> pd.DataFrame | None:
    """The list that a new one is going to replace, as text; None where there is none. A device or a pipe is never read.

    Raises:
        DataError: if there is a file that is no list of issues.
    """
    if not out.is_file():
        return None
    foreign = f"{out}: is there and is no list of issues, so it isn't replaced; choose another name"
    try:
        old = _read_text(out)
    except DataError as error:
        raise DataError(foreign) from error
    if not set(_KEYS) <= set(old):
        raise DataError(foreign)
    return old


def write_issues(issues: pd.DataFrame, out: Path, older: pd.DataFrame | None = None) -> pd.DataFrame:
    """Write a list; what people decided in the one that it replaces is kept where issue and suggestion are the same.

    Args:
        issues: with the columns of ``COLUMNS``.
        out: the CSV; a column ``decision`` is added.
        older: the list that it replaces, by :func:`older_list`.

    Returns:
        The rows as text, as ``read_issues`` would return them.

    Raises:
        DataError: if it can't be written.
    """
    rows = issues.assign(decision="") if older is None else _with_decisions(issues, older)
    rows = rows.assign(confidence=[f"{value:.3f}" for value in rows["confidence"]]).astype(str)
    with atomic_write(out) as temporary:
        rows.to_csv(temporary, index=False)
    return rows


def count_new(issues: pd.DataFrame, older: pd.DataFrame) -> int:
    """How many photos of a list are not in the one that it replaces: found since, or rows that its user has removed."""
    return int((~issues["path"].isin(older["path"])).sum())


def keep_dropped(issues: pd.DataFrame, older: pd.DataFrame, out: Path) -> Path | None:
    """Copy a list that is going to be replaced, if it has something of its user's which the new one has not.

    That is a column of its user's, or a photo with another suggestion than the new list makes for it.

    Args:
        issues: the new list.
        older: the one that it replaces, by :func:`older_list`.
        out: the file of both.

    Returns:
        The copy; None where nothing is lost.

    Raises:
        DataError: if it can't be written.
    """
    own = [column for column in older.columns if column not in COLUMNS]
    judged = older[(older[own] != "").any(axis=1) | older["path"].isin(issues["path"])]
    if judged[_KEYS].merge(issues[_KEYS].astype(str).drop_duplicates(), on=_KEYS).shape[0] == len(judged):
        return None
    names = (out.with_name(f"{out.stem}.before{number}{out.suffix}") for number in count(1))
    copy = next(name for name in names if not name.exists())
    with atomic_write(copy) as temporary:
        temporary.write_bytes(read_regular(out))
    return copy


def _with_decisions(issues: pd.DataFrame, older: pd.DataFrame) -> pd.DataFrame:
    own = [column for column in older.columns if column not in COLUMNS]
    merged = issues.merge(older[[*_KEYS, *own]].drop_duplicates(_KEYS), on=_KEYS, how="left")
    merged = merged.assign(decision=merged.get("decision", ""))
    return merged.fillna(dict.fromkeys({*own, "decision"}, ""))
