"""Photos that can't or shouldn't be trained on: found, listed with a reason, left out."""

import hashlib
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from rich.progress import Progress

from bonaface.errors import DataError
from bonaface.faces.decoding import decode_bytes
from bonaface.faces.table import FaceTable, FakeClasses, class_labels

__all__ = ["COLUMNS", "drop_faults", "find_faults"]

COLUMNS = ["path", "fault", "evidence", "suggestion", "confidence"]

_MIN_CLASS_SIZE = 2
"""A triplet needs an anchor and a positive."""

Faults = dict[int, tuple[str, str]]
"""row -> fault and evidence."""


def find_faults(
    table: FaceTable, fake_classes: FakeClasses = "own", workers: int = 2, progress: Progress | None = None
) -> pd.DataFrame:
    """Find photos to leave out, each for one reason, reading each file once.

    - ``unreadable``: it can't be decoded; the evidence is why.
    - ``duplicate``: the same file, byte for byte, is there before it, as a photo of the same person and as real or fake
      as it.
    - ``duplicate_across``: the same file is there under another person, or once as real and once as deepfake. One of
      them must be wrong, and nothing says which, so every copy is a fault.
    - ``small_class``: fewer than two photos of its class are left for training. Photos of the split ``val`` are exempt:
      they belong to no class.

    Args:
        table: photos.
        fake_classes: the arrangement of classes, as :func:`bonaface.faces.table.class_labels` takes it.
        workers: number of threads that read and decode.
        progress: where to show how far the reading is.

    Returns:
        One row per fault, sorted by path: ``path`` (as in ``table``), ``fault``, ``evidence`` (a sentence for people),
        ``suggestion`` (``drop``) and ``confidence`` in [0, 1], which is 1 for all of these.
    """
    faults: Faults = {}
    copies: dict[bytes, list[int]] = defaultdict(list)
    for row, (digest, reason) in enumerate(_looked_at(table, workers, progress)):
        if reason is None:
            copies[digest].append(row)
        else:
            faults[row] = ("unreadable", reason)
    faults |= _duplicates(table, [rows for rows in copies.values() if len(rows) > 1])
    faults |= _small_classes(table, fake_classes, set(faults))
    paths = table.frame["path"].to_numpy(dtype=object)
    rows = [(paths[row], fault, evidence, "drop", 1.0) for row, (fault, evidence) in faults.items()]
    return pd.DataFrame(sorted(rows), columns=COLUMNS).astype({"confidence": float})


def drop_faults(table: FaceTable, faults: pd.DataFrame) -> FaceTable:
    """Leave out the photos that are listed.

    Args:
        table: photos.
        faults: rows with a ``path`` and a ``suggestion``; where the suggestion isn't ``drop``, the photo stays.

    Returns:
        The other photos, in the same order, numbered anew.

    Raises:
        DataError: if no photo is left.
    """
    dropped = faults.loc[faults["suggestion"] == "drop", "path"]
    keep = ~table.frame["path"].isin(dropped).to_numpy(dtype=bool)
    if len(table) and not keep.any():
        counts = ", ".join(f"{count} {fault}" for fault, count in faults["fault"].value_counts().items())
        raise DataError(f"{table.root}: no photo is left of {len(table)} ({counts}); expected some that can be used")
    return table.take(keep)


def _looked_at(table: FaceTable, workers: int, progress: Progress | None) -> list[tuple[bytes, str | None]]:
    """For each row the digest of its file, and why it can't be decoded, or None."""
    paths = [table.root / path for path in table.frame["path"]]
    task = progress.add_task("checking pictures", total=len(paths)) if progress is not None else None
    looked_at = []
    with ThreadPoolExecutor(workers) as pool:
        for result in pool.map(_look_at, paths):
            looked_at.append(result)
            if progress is not None and task is not None:
                progress.advance(task)
    return looked_at


def _look_at(path: Path) -> tuple[bytes, str | None]:
    try:
        data = path.read_bytes()
    except OSError as error:
        return b"", f"can't be read ({(error.strerror or str(error)).lower()})"
    try:
        decode_bytes(data, path.name)
    except DataError as error:
        return b"", str(error).removeprefix(f"{path.name}: ")
    return hashlib.blake2b(data, digest_size=16).digest(), None


def _duplicates(table: FaceTable, groups: list[list[int]]) -> Faults:
    """Judge groups of rows with one and the same content, each in ascending order."""
    frame = table.frame
    claims = list(zip(frame["person"], frame["is_fake"], strict=True))
    paths = frame["path"].tolist()
    faults: Faults = {}
    for rows in groups:
        if len({claims[row] for row in rows}) == 1:
            faults |= dict.fromkeys(rows[1:], ("duplicate", f"the same file as {paths[rows[0]]}"))
            continue
        for row in rows:
            other = next(other for other in rows if claims[other] != claims[row])
            person, is_fake = claims[other]
            said = f"{'a deepfake' if is_fake else 'a real photo'} of {person}"
            faults[row] = ("duplicate_across", f"the same file as {paths[other]}, {said}")
    return faults


def _small_classes(table: FaceTable, fake_classes: FakeClasses, faulty: set[int]) -> Faults:
    """Rows of training classes that have too few photos once the faulty ones are gone."""
    rows = np.setdiff1d(np.flatnonzero(table.frame["split"] != "val"), np.array(sorted(faulty), np.int64))
    labels = class_labels(table, fake_classes)[rows]
    rows, labels = rows[labels >= 0], labels[labels >= 0]
    sizes = np.bincount(labels, minlength=1)[labels]
    evidence = f"fewer than {_MIN_CLASS_SIZE} usable photos in its class"
    return {int(row): ("small_class", evidence) for row in rows[sizes < _MIN_CLASS_SIZE]}
