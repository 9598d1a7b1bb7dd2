"""Checks of photos put together as a list of issues: each photo once, with evidence that a person can check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.cleaning.duplicates import AreCopies, HeldOutSet, leaks, near_duplicates
from bonaface.cleaning.label_noise import Judgement, judge_labels
from bonaface.cleaning.merges import merge_targets
from bonaface.data.filters import small_classes, unusable
from bonaface.data.inspection import Inspection
from bonaface.data.issues import COLUMNS, combined, new_people
from bonaface.data.table import FaceTable, FakeClasses
from bonaface.images.copied_files import CopiedFiles

__all__ = ["Observations", "collect_issues"]

_LISTED = 0.45
"""Photos that are wrong with this probability are listed: of two that contradict each other, both."""
_SURE = 0.9
_GENUINE = 0.05


@dataclass(frozen=True)
class Observations:
    """Findings of the photos of a table, row by row.

    Args:
        inspection: of the files.
        embeddings: unit vectors, shape ``(n, d)``; NaN where a photo wasn't embedded; None without a model.
        genuine: log probability that the photo is no deepfake, shape ``(n,)``; NaN where unknown; None without such a model.
        test: the test set, or None.
        are_copies: says of two files whether they are copies of one photo, where embeddings don't.
    """

    inspection: Inspection
    embeddings: NDArray[np.float32] | None = None
    genuine: NDArray[np.float64] | None = None
    test: HeldOutSet | None = None
    are_copies: AreCopies = field(default_factory=CopiedFiles)


def collect_issues(
    table: FaceTable,
    seen: Observations,
    fake_classes: FakeClasses = "own",
    advance: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """List everything that is wrong with photos, each for its gravest reason.

    In this order: ``unreadable``, ``duplicate``, ``duplicate_across`` (see
    :func:`bonaface.data.filters.find_issues`; where one of them fits its folder and the others don't, it stays), ``no_face``,
    ``mislabelled``, ``fake_as_real``, ``leak`` (it is in the test set too), ``near_duplicate`` and ``near_duplicate_across`` (real
    photos), ``merge`` (two folders are one person), ``several_faces``, ``small_class``.

    Args:
        table: photos.
        seen: findings of them.
        fake_classes: the arrangement of classes.
        advance: called with the number of photos whose like has been looked up since.

    Returns:
        ``path``, ``issue``, ``evidence``, ``suggestion``, ``confidence``, sorted by path.
    """
    found = unusable(table, seen.inspection)
    # Before what would move a photo: one that is in the test set too has to leave, whoever is on it.
    gravest = [leaks(table, seen.inspection, seen.embeddings, seen.test, seen.are_copies)]
    judged, merge = None, pd.DataFrame(columns=COLUMNS)
    if seen.embeddings is not None:
        judged, names = _judged(table, seen.embeddings, found, advance)
        target = merge_targets(judged.cores, judged.core_sizes, judged.model)
        found = _settled(table, seen.inspection, found, judged.wrong)
        gravest.append(_mislabelled(table, judged, names, target.person, _faceless(seen, judged)))
        merge = target.listed(table, names)
    found = combined([found, *gravest, _fakes_as_real(table, seen.genuine)])
    person, stays = new_people(table, combined([found, merge]))
    near = near_duplicates(table, seen.inspection, seen.embeddings, person, stays, seen.are_copies)
    found = combined([near, found, merge, _faces(table, seen, judged)])
    # Training finds small classes anew: batches that pair photos with deepfakes take them.
    return combined([found, small_classes(table, found, fake_classes).assign(suggestion="look")])


def _judged(
    table: FaceTable, embeddings: NDArray[np.float32], found: pd.DataFrame, advance: Callable[[int], None] | None
) -> tuple[Judgement, NDArray[np.object_]]:
    """Judge labels, duplicates of a file left out: they would vouch for the first."""
    names, person = np.unique(table.frame["person"].to_numpy(dtype=object), return_inverse=True)
    duplicates = table.frame["path"].isin(found.loc[found["issue"] == "duplicate", "path"]).to_numpy()
    vectors = np.where(duplicates[:, None], np.float32(np.nan), embeddings) if duplicates.any() else embeddings
    is_fake = table.frame["is_fake"].to_numpy(dtype=bool)
    return judge_labels(vectors, person.astype(np.int64), is_fake, advance=advance), names


def _settled(table: FaceTable, inspection: Inspection, found: pd.DataFrame, wrong: NDArray[np.float64]) -> pd.DataFrame:
    """Take the one duplicate that fits its folder off the list, where the others don't fit theirs."""
    row_of = dict(zip(table.frame["path"], range(len(table)), strict=True))
    real = ~table.frame["is_fake"].to_numpy(dtype=bool)
    across = found[found["issue"] == "duplicate_across"]
    digests = [inspection.digest[row_of[path]] for path in across["path"]]
    fits: list[str] = []
    for _, group in across.groupby(digests):
        rows = np.array([row_of[path] for path in group["path"]])
        at_home = rows[(wrong[rows] < 1 - _SURE) & real[rows]]
        if len(at_home) == 1 and (wrong[np.setdiff1d(rows, at_home)] > 0.5).all():
            fits.append(str(table.frame["path"].iat[at_home[0]]))
    return found[~found["path"].isin(fits)]


def _faceless(seen: Observations, judged: Judgement) -> NDArray[np.bool_]:
    """Find photos without a face that nobody's core looks like: they're no face, rather than a wrong one."""
    unlike = np.isfinite(judged.own) & (judged.own < judged.model.linked) & (judged.moved < _SURE)
    faceless: NDArray[np.bool_] = (seen.inspection.faces == 0) & unlike
    return faceless


def _mislabelled(
    table: FaceTable,
    judged: Judgement,
    names: NDArray[np.object_],
    target: NDArray[np.int64],
    faceless: NDArray[np.bool_],
) -> pd.DataFrame:
    paths = table.frame["path"].to_numpy(dtype=object)
    rows = []
    for row in np.flatnonzero(faceless):
        evidence = f"no face is found, and it is {judged.own[row]:.2f} like its person's photos"
        rows.append((paths[row], "no_face", evidence, "drop", _SURE))
    typical = judged.model.expected(1_000_000)
    for row in np.flatnonzero((judged.wrong >= _LISTED) & ~faceless):
        own, other, owner = judged.own[row], judged.other[row], judged.owner[row]
        said = f"{own:.2f} like its person's other photos (usual: {typical:.2f})" if np.isfinite(own) else "alone"
        if owner >= 0:
            said += f", {other:.2f} like {names[owner]}"
        sure = owner >= 0 and judged.moved[row] >= _SURE
        suggestion = f"move to person {names[target[owner]]}" if sure else "drop"
        rows.append((paths[row], "mislabelled", said, suggestion, float(judged.wrong[row])))
    return pd.DataFrame(rows, columns=COLUMNS)


def _fakes_as_real(table: FaceTable, genuine: NDArray[np.float64] | None) -> pd.DataFrame:
    if genuine is None:
        return pd.DataFrame(columns=COLUMNS)
    real = ~table.frame["is_fake"].to_numpy(dtype=bool)
    paths = table.frame["path"].to_numpy(dtype=object)
    rows = [
        (
            paths[row],
            "fake_as_real",
            f"genuine with probability {np.exp(genuine[row]):.3f}",
            "drop",
            1 - np.exp(genuine[row]),
        )
        for row in np.flatnonzero(real & (genuine < np.log(_GENUINE)))
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _faces(table: FaceTable, seen: Observations, judged: Judgement | None) -> pd.DataFrame:
    """List photos without a face where no model says more, and photos with several: for people to look at."""
    known = np.zeros(len(table), np.bool_) if judged is None else np.isfinite(judged.own)
    paths = table.frame["path"].to_numpy(dtype=object)
    faces = seen.inspection.faces
    none, several = np.flatnonzero((faces == 0) & ~known), np.flatnonzero(faces > 1)
    rows = [(paths[row], "no_face", "no face is found", "look", 0.5) for row in none]
    rows += [(paths[row], "several_faces", f"{faces[row]} faces of similar size", "look", 0.5) for row in several]
    return pd.DataFrame(rows, columns=COLUMNS)
