"""Photos that can't or shouldn't be trained on: found by their files alone, listed with a reason, left out."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pandas as pd

from bonaface.data.inspection import Inspection
from bonaface.data.issues import COLUMNS, combined, new_people
from bonaface.data.table import FaceTable, FakeClasses, class_labels
from bonaface.errors import DataError

__all__ = ["COLUMNS", "MIN_CLASS_SIZE", "drop_issues", "find_issues", "small_classes", "unusable"]

MIN_CLASS_SIZE = 2
"""Photos that a class needs: a triplet has an anchor and a positive."""

Issues = dict[int, tuple[str, str]]
"""row -> issue and evidence."""


def find_issues(
    table: FaceTable, inspection: Inspection, fake_classes: FakeClasses = "own", smallest: int = MIN_CLASS_SIZE
) -> pd.DataFrame:
    """Find photos to leave out, each for one reason.

    - ``unreadable``: it can't be decoded; the evidence is why.
    - ``duplicate``: the same file, byte for byte, is there before it, as a photo of the same person and as real or fake
      as it.
    - ``duplicate_across``: the same file is there under another person, or once as real and once as deepfake. One of
      them must be wrong, and nothing says which, so all of them are listed.
    - ``small_class``: fewer than ``smallest`` photos of its class are left for training. Photos of the split ``val`` are exempt:
      they belong to no class.

    Args:
        table: photos.
        inspection: of their files, row by row.
        fake_classes: the arrangement of classes, as :func:`bonaface.data.table.class_labels` takes it.
        smallest: class that can be trained on.

    Returns:
        One row per issue, sorted by path: ``path`` (as in ``table``), ``issue``, ``evidence`` (a sentence for people),
        ``suggestion`` (``drop``) and ``confidence`` in [0, 1], which is 1 for all of these.
    """
    issues = unusable(table, inspection)
    return combined([issues, small_classes(table, issues, fake_classes, smallest)])


def unusable(table: FaceTable, inspection: Inspection) -> pd.DataFrame:
    """List files that can't be read, and the same file more than once; see :func:`find_issues`.

    Args:
        table: photos.
        inspection: of their files, row by row.
    """
    issues: Issues = {}
    same_file: dict[bytes, list[int]] = defaultdict(list)
    for row, (digest, reason) in enumerate(zip(inspection.digest, inspection.reason, strict=True)):
        if reason is None:
            same_file[digest].append(row)
        else:
            issues[row] = ("unreadable", reason)
    return _listed(table, issues | _duplicates(table, [rows for rows in same_file.values() if len(rows) > 1]))


def small_classes(
    table: FaceTable, issues: pd.DataFrame, fake_classes: FakeClasses, smallest: int = MIN_CLASS_SIZE
) -> pd.DataFrame:
    """List the photos of classes that have too few left once a list of issues is applied.

    Args:
        table: photos.
        issues: what is found so far; those that it moves count where they go.
        fake_classes: the arrangement of classes.
        smallest: class that is not listed.
    """
    person, stays = new_people(table, issues)
    rows = np.flatnonzero((table.frame["split"] != "val").to_numpy() & stays)
    labels = class_labels(FaceTable(table.root, table.frame.assign(person=person)), fake_classes)[rows]
    rows, labels = rows[labels >= 0], labels[labels >= 0]
    sizes = np.bincount(labels, minlength=1)[labels]
    evidence = f"fewer than {smallest} usable photos in its class"
    return _listed(table, {int(row): ("small_class", evidence) for row in rows[sizes < smallest]})


def _listed(table: FaceTable, issues: Issues) -> pd.DataFrame:
    paths = table.frame["path"].to_numpy(dtype=object)
    rows = [(paths[row], issue, evidence, "drop", 1.0) for row, (issue, evidence) in issues.items()]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"confidence": float})


def drop_issues(table: FaceTable, issues: pd.DataFrame) -> FaceTable:
    """Leave out the photos that are listed.

    Args:
        table: photos.
        issues: rows with a ``path`` and a ``suggestion``; where the suggestion isn't ``drop``, the photo stays.

    Returns:
        The other photos, in the same order, numbered anew.

    Raises:
        DataError: if no photo is left.
    """
    dropped = issues.loc[issues["suggestion"] == "drop", "path"]
    keep = ~table.frame["path"].isin(dropped).to_numpy(dtype=bool)
    if len(table) and not keep.any():
        counts = ", ".join(f"{count} {issue}" for issue, count in issues["issue"].value_counts().items())
        raise DataError(f"{table.root}: no photo is left of {len(table)} ({counts}); expected some that can be used")
    return table.take(keep)


def _duplicates(table: FaceTable, groups: list[list[int]]) -> Issues:
    """Judge groups of rows with one and the same content, each in ascending order."""
    frame = table.frame
    claims = list(zip(frame["person"], frame["is_fake"], strict=True))
    paths = frame["path"].tolist()
    issues: Issues = {}
    for rows in groups:
        if len({claims[row] for row in rows}) == 1:
            issues |= dict.fromkeys(rows[1:], ("duplicate", f"the same file as {paths[rows[0]]}"))
            continue
        for row in rows:
            other = next(other for other in rows if claims[other] != claims[row])
            person, is_fake = claims[other]
            said = f"{'a deepfake' if is_fake else 'a real photo'} of {person}"
            issues[row] = ("duplicate_across", f"the same file as {paths[other]}, {said}")
    return issues
