"""Sources of training images: read, relabelled as their lists of issues say, and cleaned."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.progress import Progress

from bonaface.config import BatchConfig, FacesConfig
from bonaface.data.filters import MIN_CLASS_SIZE, drop_issues, find_issues
from bonaface.data.inspection import inspect
from bonaface.data.issues import COLUMNS, apply_issues, combined, read_issues
from bonaface.data.table import FaceTable, read_faces
from bonaface.errors import ConfigError

__all__ = ["Source", "clean", "read_sources"]


@dataclass(frozen=True)
class Source:
    """A folder or table of faces, and the list of issues that comes with it.

    Args:
        where: as the settings name it.
        table: its images, as the list says: without those it drops, others relabelled.
        read: images before that.
        followed: rows of the list that were followed.
        kept: images that a person decided to keep, whatever the list says.
        listed: the list's file.
    """

    where: str
    table: FaceTable
    read: int
    followed: pd.DataFrame
    kept: frozenset[str] = frozenset()
    listed: str | None = None


def read_sources(settings: FacesConfig) -> list[Source]:
    """Reads the folders and tables that the settings name, and applies their lists of issues.

    Raises:
        DataError: if a folder is not there or no known layout.
        ConfigError: if no folder is named, or one twice.
    """
    if not settings.train or not all(where for where, _ in settings.sources):
        raise ConfigError(
            "faces.train: no training data named: set it to a folder of faces or to a CSV or parquet file"
        )
    named = [os.path.realpath(where) for where, _ in settings.sources]
    twice = next(
        (where for (where, _), path in zip(settings.sources, named, strict=True) if named.count(path) > 1), None
    )
    if twice is not None:
        raise ConfigError(f"faces.train: names {twice} more than once; expected each source once")
    return [_read_source(where, listed) for where, listed in settings.sources]


def _read_source(where: str, listed: str | None) -> Source:
    table = read_faces(Path(where))
    if not listed:
        return Source(where, table, len(table), pd.DataFrame(columns=COLUMNS))
    issues = read_issues(Path(listed), table)
    kept = frozenset(issues.loc[issues["decision"] == "reject", "path"])
    undecided = (issues["suggestion"] == "look") & (issues["decision"] != "accept")
    followed = issues[~issues["path"].isin(kept) & ~undecided].reindex(columns=COLUMNS, fill_value="")
    followed["confidence"] = pd.to_numeric(followed["confidence"], errors="coerce")
    return Source(where, apply_issues(table, issues), len(table), followed, kept, listed)


def clean(
    sources: Sequence[Source], settings: FacesConfig, batch: BatchConfig, console: Console, progress: Progress
) -> tuple[list[FaceTable], list[list[bytes]], pd.DataFrame]:
    """Leaves out unreadable files, duplicates and classes too small to train on.

    Paired with deepfakes a single photo of a person is enough; other batches need two of each class.

    Returns:
        The tables without them, the digest of each of their files, and the issues with the columns of ``data.issues.COLUMNS``,
        paths of several sources from the root on.

    Raises:
        DataError: if a source holds nothing to train on.
    """
    smallest = 1 if batch.sampler == "paired_fakes" else MIN_CLASS_SIZE
    tables, digests, issues = zip(
        *(_clean(each, settings, smallest, console, progress) for each in sources), strict=True
    )
    if len(tables) == 1:
        return list(tables), list(digests), issues[0]
    found = [
        each.assign(path=[str(table.root / path) for path in each["path"]])
        for table, each in zip(tables, issues, strict=True)
    ]
    return list(tables), list(digests), combined(found)


def _clean(
    source: Source, settings: FacesConfig, smallest: int, console: Console, progress: Progress
) -> tuple[FaceTable, list[bytes], pd.DataFrame]:
    read = source.table
    files = inspect([read.path(row) for row in range(len(read))], progress=progress, look=False)
    issues = find_issues(read, files, settings.fake_classes, smallest)
    issues = issues[~(issues["path"].isin(source.kept) & issues["issue"].str.startswith("duplicate"))]
    counts = ", ".join(f"{count} {issue}" for issue, count in issues["issue"].value_counts().items())
    console.log(f"{source.read:,} images read from {source.where}; left out: {counts or 'none'}")
    if source.listed:
        console.log(f"{source.listed}: {len(source.followed):,} suggestions followed, {len(source.kept):,} rejected")
    table = drop_issues(read, issues)
    digest_of = dict(zip(read.frame["path"], files.digest, strict=True))
    return table, [digest_of[path] for path in table.frame["path"]], combined([source.followed, issues])
