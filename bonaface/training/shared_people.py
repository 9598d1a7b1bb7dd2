"""People of several sources: whom one of them validates on, no other trains on."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from rich.console import Console

from bonaface.data.issues import COLUMNS
from bonaface.data.table import FaceTable
from bonaface.errors import DataError

__all__ = ["keep_apart"]

Digests = Sequence[Sequence[bytes]]


def keep_apart(tables: Sequence[FaceTable], digests: Digests, console: Console) -> tuple[list[FaceTable], pd.DataFrame]:
    """Leaves people out of training who share a file with people of another source that are validated on.

    Who they are is known by the same file alone: numbered folders of different sources have names in common too. That is said,
    where it concerns validation.

    Args:
        tables: one a source, split by person.
        digests: of each table's files, row by row.
        console: where it is said.

    Returns:
        The tables without them, and a list of their photos with the columns of ``data.issues.COLUMNS``, paths from the root on.

    Raises:
        DataError: if a source has nobody left to train on.
    """
    left = [_leave_out(at, tables, digests, console) for at in range(len(tables))]
    kept = [table for table, _ in left]
    _tell_names(kept, console)
    return kept, pd.concat([listed for _, listed in left], ignore_index=True)


def _leave_out(
    at: int, tables: Sequence[FaceTable], digests: Digests, console: Console
) -> tuple[FaceTable, pd.DataFrame]:
    table, frame = tables[at], tables[at].frame
    validated = {
        digest: str(other.path(row))
        for place, other in enumerate(tables)
        if place != at
        for row, (digest, split) in enumerate(zip(digests[place], other.frame["split"], strict=True))
        if split == "val"
    }
    trained = (frame["split"] == "train").to_numpy()
    copies = {
        person: validated[digest]
        for person, digest, here in zip(frame["person"], digests[at], trained, strict=True)
        if here and digest in validated
    }
    out = trained & frame["person"].isin(copies.keys()).to_numpy()
    if not out.any():
        return table, pd.DataFrame(columns=COLUMNS)
    if out.sum() == trained.sum():
        raise DataError(
            f"{table.root}: everybody there shares a file with people of another source who are validated on; expected "
            "sources of different people, or one split for all"
        )
    people = "1 person" if len(copies) == 1 else f"{len(copies):,} people"
    console.log(
        f"{people} of {table.root} left out of training: another source has photos of theirs, and validates on them"
    )
    said = "its person shares a file with {}, which is validated on"
    rows = [
        (str(table.root / path), "leak", said.format(copies[person]), "drop", 1.0)
        for path, person in zip(frame.loc[out, "path"], frame.loc[out, "person"], strict=True)
    ]
    return table.take(~out), pd.DataFrame(rows, columns=COLUMNS)


def _tell_names(tables: Sequence[FaceTable], console: Console) -> None:
    people = [
        {split: set(table.frame.loc[table.frame["split"] == split, "person"]) for split in ("train", "val")}
        for table in tables
    ]
    for first, one in zip(tables, people, strict=True):
        for second, other in zip(tables, people, strict=True):
            names = one["val"] & other["train"] if first is not second else set()
            if names:
                console.log(
                    f"of the people whom {first.root} validates on {len(names):,} {'has' if len(names) == 1 else 'have'} the name "
                    f"of somebody whom {second.root} trains on ({min(names)}): where they are the same, validation flatters"
                )
