"""The list of faults: put together, written, read back after people have edited it, and applied to a table."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.data.table import FaceTable
from bonaface.errors import DataError
from bonaface.io import atomic_write

__all__ = ["COLUMNS", "apply_faults", "combined", "new_people", "read_faults", "write_faults"]

COLUMNS = ["path", "fault", "evidence", "suggestion", "confidence"]
_DECISIONS = ("", "accept", "reject")
_RELABEL = re.compile(r"(?:move to|merge with) person (.+)")
_EXPECTED = "expected drop, look, move to person X, or merge with person X"


def combined(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """One list of several, a photo once: what the earlier part says of it, sorted by path."""
    rows = pd.concat([pd.DataFrame(columns=COLUMNS), *[part for part in parts if len(part)]], ignore_index=True)
    rows = rows.drop_duplicates("path").sort_values("path", ignore_index=True)
    return rows.astype({"confidence": float})


def new_people(table: FaceTable, faults: pd.DataFrame) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    """Who each photo shows once the list is applied, and whether it stays.

    Suggestions are followed unless ``decision`` is ``reject``; ``look`` is for people to judge: such a photo stays unless
    ``decision`` is ``accept``.

    Args:
        table: photos.
        faults: with ``path``, ``suggestion`` and, where people have judged them, ``decision``; all paths are in the table.

    Returns:
        Persons and a mask, both of shape ``(n,)``.
    """
    decision = faults["decision"] if "decision" in faults else pd.Series("", index=faults.index)
    followed = (decision != "reject") & ((faults["suggestion"] != "look") | (decision == "accept"))
    row_of = dict(zip(table.frame["path"], range(len(table)), strict=True))
    person = table.frame["person"].to_numpy(dtype=object).copy()
    stays = np.ones(len(table), np.bool_)
    for path, suggestion in faults.loc[followed, ["path", "suggestion"]].itertuples(index=False):
        relabel = _RELABEL.fullmatch(suggestion)
        if relabel is None:
            stays[row_of[path]] = False
        else:
            person[row_of[path]] = relabel[1]
    return person, stays


def apply_faults(table: FaceTable, faults: pd.DataFrame) -> FaceTable:
    """Leave out and relabel what the list says; no file is touched.

    Args:
        table: photos.
        faults: as ``read_faults`` returns them.

    Returns:
        The photos that stay, under the people that they show.

    Raises:
        DataError: if no photo is left.
    """
    person, stays = new_people(table, faults)
    if len(table) and not stays.any():
        raise DataError(f"{table.root}: the list of faults leaves no photo of {len(table)}; expected some to be used")
    return FaceTable(table.root, table.frame.assign(person=person)).take(stays)


def read_faults(csv: Path, table: FaceTable) -> pd.DataFrame:
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
    try:
        rows = pd.read_csv(csv, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except OSError as error:
        raise DataError(
            f"{csv}: can't be read ({(error.strerror or '').lower()}); expected a list of faults"
        ) from error
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{csv}: is no CSV in UTF-8 ({str(error).splitlines()[0]})") from error
    missing = {"path", "suggestion"} - set(rows)
    if missing:
        columns = ", ".join(map(str, rows.columns))
        raise DataError(f"{csv}: expected the columns path and suggestion, got {columns[:120]}")
    rows = rows.assign(decision=rows["decision"].str.strip().str.lower() if "decision" in rows else "")
    _check_paths(csv, rows, table)
    _check_words(csv, rows, set(table.frame["person"]))
    return rows


def _check_paths(csv: Path, rows: pd.DataFrame, table: FaceTable) -> None:
    unknown = ~rows["path"].isin(table.frame["path"])
    if unknown.any():
        first, count = rows.loc[unknown, "path"].iloc[0], int(unknown.sum())
        also = f" (nor are {count - 1} more of {len(rows)})" if count > 1 else ""
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


def write_faults(faults: pd.DataFrame, out: Path) -> int:
    """Write a list; what people decided in an older list at that place is kept where fault and suggestion are the same.

    Args:
        faults: with the columns of ``COLUMNS``.
        out: the CSV; a column ``decision`` is added.

    Returns:
        How many decisions were taken over.

    Raises:
        DataError: if it can't be written, or there is a file that is no list of faults.
    """
    rows = faults.assign(decision="")
    if out.exists():
        rows = _with_decisions(rows, out)
    with atomic_write(out) as temporary:
        rows.to_csv(temporary, index=False, float_format="%.3f")
    return int((rows["decision"] != "").sum())


def _with_decisions(rows: pd.DataFrame, out: Path) -> pd.DataFrame:
    try:
        old = pd.read_csv(out, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise DataError(
            f"{out}: is there and is no list of faults, so it isn't replaced; choose another name"
        ) from error
    keys = ["path", "fault", "suggestion"]
    if not set(keys) <= set(old):
        raise DataError(f"{out}: is there and is no list of faults, so it isn't replaced; choose another name")
    own = [column for column in old.columns if column not in COLUMNS]
    merged = rows.drop(columns="decision").merge(old[[*keys, *own]].drop_duplicates(keys), on=keys, how="left")
    merged = merged.assign(decision=merged.get("decision", ""))
    return merged.fillna(dict.fromkeys({*own, "decision"}, ""))
