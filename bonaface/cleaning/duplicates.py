"""Duplicates: real photos that are there twice in different files, and photos that are in the test set too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.data.inspection import Inspection
from bonaface.data.issues import COLUMNS
from bonaface.data.table import FaceTable
from bonaface.images.copies import near_pairs

__all__ = ["AreCopies", "HeldOutSet", "leak_candidates", "leaks", "near_duplicates"]

RADIUS = 12
"""Bits in which the hashes of duplicates may differ, where embeddings confirm them."""
_ALONE = 2
"""Bits within which the files are compared where embeddings aren't known: faces in the same place look alike to a hash."""
_ALIKE, _ALIKE_TOO = 0.9, 0.8
"""Cosine that confirms a duplicate, and the one that does where hardly a bit differs."""

AreCopies = Callable[[Path, Path], bool]
Pairs = NDArray[np.int64]
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class HeldOutSet:
    """Images of a test set.

    Args:
        names: what to call its images, in order.
        inspection: of its files.
        embeddings: unit vectors, shape ``(m, d)``, NaN where an image wasn't embedded; None without a model.
        root: what the names are relative to.
    """

    names: list[str]
    inspection: Inspection
    embeddings: Vectors | None = None
    root: Path = Path()


def near_duplicates(
    table: FaceTable,
    inspection: Inspection,
    embeddings: Vectors | None,
    person: NDArray[np.object_],
    stays: NDArray[np.bool_],
    are_copies: AreCopies,
) -> pd.DataFrame:
    """List real photos that show the same image: of one person all but one, of several people all.

    Of one person the first stays, but rather one of those that were that person's to begin with.

    Two files are the same image if their hashes differ in at most 12 of 64 bits and their embeddings have a cosine of at
    least 0.9, or in at most 2 bits and they have one of at least 0.8; where it isn't known, the faces in the files have to be those
    of copies. Deepfakes are left out: they are made to look like the photo they come from.

    Args:
        table: photos.
        inspection: of their files.
        embeddings: shape ``(n, d)``, NaN where a photo wasn't embedded; None without a model.
        person: who each shows as far as is known, shape ``(n,)``; another than the table's where it is moved.
        stays: whether it is still in use, shape ``(n,)``.
        are_copies: says it of two files.
    """
    real = ~table.frame["is_fake"].to_numpy(dtype=bool)
    rows = np.flatnonzero(real & stays & inspection.readable)
    pairs, bits = near_pairs(inspection.look[rows], RADIUS)
    pairs = rows[pairs]
    cosine = _cosine(embeddings, embeddings, pairs)
    same = _are_duplicates(bits, cosine)
    _confirm(same, cosine, pairs, table.path, table.path, are_copies)
    paths = table.frame["path"].to_numpy(dtype=object)
    moved = person != table.frame["person"].to_numpy(dtype=object)
    listed: dict[int, tuple[str, str, str, str, float]] = {}
    for (a, b), differing, alike in zip(pairs[same], bits[same], cosine[same], strict=True):
        sure = _confidence(differing, alike)
        if person[a] == person[b]:
            a, b = (b, a) if moved[a] and not moved[b] else (a, b)
            said = _evidence(paths[a], differing, alike) + (f", of {person[a]}" if moved[b] else "")
            listed.setdefault(b, (paths[b], "near_duplicate", said, "drop", sure))
            continue
        for row, other in ((a, b), (b, a)):
            said = f"{_evidence(paths[other], differing, alike)}, of {person[other]}"
            listed[row] = (paths[row], "near_duplicate_across", said, "drop", sure)
    return pd.DataFrame(list(listed.values()), columns=COLUMNS)


def leak_candidates(inspection: Inspection, test: Inspection) -> tuple[Pairs, NDArray[np.int64]]:
    """Find pairs of a photo and a test image that may be the same, shape ``(k, 2)``, and the bits that differ."""
    rows, test_rows = np.flatnonzero(inspection.readable), np.flatnonzero(test.readable)
    pairs, bits = near_pairs(np.concatenate([inspection.look[rows], test.look[test_rows]]), RADIUS)
    across = (pairs[:, 0] < len(rows)) & (pairs[:, 1] >= len(rows))
    pairs, bits = pairs[across], bits[across]
    return np.stack([rows[pairs[:, 0]], test_rows[pairs[:, 1] - len(rows)]], axis=1), bits


def leaks(
    table: FaceTable,
    inspection: Inspection,
    embeddings: Vectors | None,
    test: HeldOutSet | None,
    are_copies: AreCopies,
) -> pd.DataFrame:
    """List photos that are in the test set too, as the same file or as the same image.

    Args:
        table: photos.
        inspection: of their files.
        embeddings: shape ``(n, d)``, or None.
        test: the test set; None finds nothing.
        are_copies: says it of two files.
    """
    if test is None:
        return pd.DataFrame(columns=COLUMNS)
    paths = table.frame["path"].to_numpy(dtype=object)
    readable = test.inspection.readable
    named = {
        digest: name for digest, name, good in zip(test.inspection.digest, test.names, readable, strict=True) if good
    }
    listed: dict[str, tuple[str, str, str, str, float]] = {}
    for path, digest in zip(paths, inspection.digest, strict=True):
        if digest and digest in named:
            listed[path] = (path, "leak", f"the same file as {named[digest]} of the test set", "drop", 1.0)
    pairs, bits = leak_candidates(inspection, test.inspection)
    cosine = _cosine(embeddings, test.embeddings, pairs)
    same = _are_duplicates(bits, cosine)
    _confirm(same, cosine, pairs, table.path, lambda row: test.root / test.names[row], are_copies)
    for (a, b), differing, alike in zip(pairs[same], bits[same], cosine[same], strict=True):
        said = f"{_evidence(test.names[b], differing, alike)} of the test set"
        listed.setdefault(paths[a], (paths[a], "leak", said, "drop", _confidence(differing, alike)))
    return pd.DataFrame(list(listed.values()), columns=COLUMNS)


def _cosine(left: Vectors | None, right: Vectors | None, pairs: Pairs) -> NDArray[np.float64]:
    if left is None or right is None:
        return np.full(len(pairs), np.nan)
    cosine: NDArray[np.float64] = np.einsum("kd,kd->k", left[pairs[:, 0]], right[pairs[:, 1]]).astype(np.float64)
    return cosine


def _are_duplicates(bits: NDArray[np.int64], cosine: NDArray[np.float64]) -> NDArray[np.bool_]:
    nearly_equal = (bits <= _ALONE) & ~(cosine < _ALIKE_TOO)
    same: NDArray[np.bool_] = (cosine >= _ALIKE) | nearly_equal
    return same


def _confirm(
    same: NDArray[np.bool_],
    cosine: NDArray[np.float64],
    pairs: Pairs,
    left: Callable[[int], Path],
    right: Callable[[int], Path],
    are_copies: AreCopies,
) -> None:
    """Take out of ``same`` the pairs without embeddings whose files aren't copies."""
    for place in np.flatnonzero(same & ~np.isfinite(cosine)):
        same[place] = are_copies(left(pairs[place, 0]), right(pairs[place, 1]))


def _evidence(other: str, bits: int, cosine: float) -> str:
    alike = f", and the faces are {cosine:.2f} alike" if np.isfinite(cosine) else ""
    return f"the same image as {other}: {bits} of 64 bits differ{alike}"


def _confidence(bits: int, cosine: float) -> float:
    return float((1 - bits / 64) * (min(1.0, cosine) if np.isfinite(cosine) else 1.0))
