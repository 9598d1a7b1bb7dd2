"""Checked scores and how often each value occurs: what every other figure is computed from."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bonaface.errors import DataError

__all__ = ["KINDS", "NEGATIVES", "checked_labels", "checked_scores", "checked_two", "count_scores", "roc_errors"]

KINDS = ("same", "impostor", "own_fake", "other_fake")
"""The four kinds of pair: ``same`` is the mated one, the other three are not."""

NEGATIVES: dict[str, tuple[str, ...]] = {
    "sv_eer": ("impostor",),
    "spf_eer": ("own_fake",),
    "other_fake_eer": ("other_fake",),
    "sasv_eer": ("impostor", "own_fake", "other_fake"),
}
"""Which kinds each equal error rate holds against ``same``."""


def checked_scores(values: ArrayLike, name: str) -> NDArray[Any]:
    """Return ``values`` as a one-dimensional array of finite numbers in their own precision.

    Args:
        values: scores, shape ``(n,)``, n at least 1.
        name: what the scores are, for the message.

    Raises:
        DataError: if they are not numbers, not one-dimensional, none at all, masked, NaN or infinite.
    """
    scores = np.asarray(values)
    if scores.dtype.kind not in "fiu":
        raise DataError(f"{name}: expected numbers, got values of type {scores.dtype}")
    if scores.ndim != 1:
        raise DataError(f"{name}: expected one score a pair, shape (n,), got shape {scores.shape}")
    if not len(scores):
        raise DataError(f"{name}: expected at least one score, got none")
    if isinstance(values, np.ma.MaskedArray) and (masked := int(np.sum(values.mask))):
        raise DataError(f"{name}: expected a score for each pair, got {masked} that are masked")
    bad = np.flatnonzero(~np.isfinite(scores)) if scores.dtype.kind == "f" else np.array([], int)
    if len(bad):
        raise DataError(
            f"{name}: expected finite scores, got {scores[bad[0]]} at position {bad[0]} ({len(bad)} in all)"
        )
    return scores


def checked_two(same: ArrayLike, different: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Check the scores of both classes (see ``checked_scores``) and bring them to one precision.

    Returns:
        Both arrays, shapes ``(n,)`` and ``(m,)``, in the coarsest floating type that holds both exactly.

    Raises:
        DataError: as ``checked_scores`` does.
    """
    mated, non_mated = checked_scores(same, "same"), checked_scores(different, "different")
    kind = np.result_type(mated, non_mated)
    kind = kind if kind.kind == "f" else np.dtype(np.float64)
    return mated.astype(kind, copy=False), non_mated.astype(kind, copy=False)


def checked_labels(
    similarity: ArrayLike, label: ArrayLike, kind: ArrayLike | None = None
) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.str_] | None]:
    """Check a scored table of pairs.

    Args:
        similarity: shape ``(n,)``.
        label: 1 for a mated pair, 0 otherwise, shape ``(n,)``; both have to occur.
        kind: one of ``KINDS`` for each pair, shape ``(n,)``, or None where it is not known.

    Returns:
        Similarities, whether each pair is mated, and the kinds.

    Raises:
        DataError: if lengths differ, a label is not 0 or 1, a class is empty, or a kind is unknown or contradicts its
            label.
    """
    scores, labels = checked_scores(similarity, "similarity"), np.asarray(label)
    if labels.shape != scores.shape:
        raise DataError(f"label: expected one a similarity, shape {scores.shape}, got shape {labels.shape}")
    wrong = np.flatnonzero((labels != 0) & (labels != 1))
    if len(wrong):
        raise DataError(f"label: expected 0 or 1, got {labels[wrong[0]]} at position {wrong[0]}")
    mated = labels == 1
    if mated.all() or not mated.any():
        raise DataError(f"label: expected both 0 and 1, got only {int(mated[0])}")
    return scores, mated, None if kind is None else _checked_kinds(kind, mated)


def _checked_kinds(kind: ArrayLike, mated: NDArray[np.bool_]) -> NDArray[np.str_]:
    kinds = np.asarray(kind).astype(str)
    if kinds.shape != mated.shape:
        raise DataError(f"kind: expected one a similarity, shape {mated.shape}, got shape {kinds.shape}")
    unknown = np.flatnonzero(~np.isin(kinds, KINDS))
    if len(unknown):
        raise DataError(
            f"kind: expected one of {', '.join(KINDS)}, got {str(kinds[unknown[0]])!r} at position {unknown[0]}"
        )
    contrary = np.flatnonzero((kinds == "same") != mated)
    if len(contrary):
        at = contrary[0]
        raise DataError(
            f"kind: {kinds[at]} at position {at} contradicts its label {int(mated[at])}; same has label 1, others 0"
        )
    return kinds


def count_scores(
    same: NDArray[Any], different: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]:
    """Count how often each distinct score occurs in each class.

    Args:
        same: checked similarities of mated pairs, shape ``(n,)``.
        different: checked similarities of non-mated pairs, shape ``(m,)``, same type.

    Returns:
        Distinct scores from the highest to the lowest, shape ``(d,)``, and the counts of each class, shape ``(d,)``.

    Example:
        >>> [column.tolist() for column in count_scores(np.array([0.9, 0.5]), np.array([0.5, 0.5, 0.1]))]
        [[0.9, 0.5, 0.1], [1, 1, 0], [0, 2, 1]]
    """
    distinct = np.unique(np.concatenate([same, different]))
    counts = []
    for scores in (same, different):
        above = np.searchsorted(np.sort(scores), distinct, side="right")
        counts.append(np.diff(above, prepend=0)[::-1].astype(np.int64))
    return distinct[::-1], counts[0], counts[1]


def roc_errors(
    same_counts: NDArray[Any], different_counts: NDArray[Any], drop_intermediate: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Error rates at every threshold, from the one that accepts nothing to the one that accepts all.

    Args:
        same_counts: mated pairs (or their weights) at each distinct score, highest score first, shape ``(d,)``.
        different_counts: the same for non-mated pairs, shape ``(d,)``.
        drop_intermediate: leave out points between two equal steps, as ``sklearn.metrics.roc_curve`` does by default.

    Returns:
        False non-match rates and false match rates, both of shape ``(k + 1,)`` where k is d or, with dropping, less.

    Example:
        >>> fnr, fpr = roc_errors(np.array([1, 1, 0]), np.array([0, 2, 1]))
        >>> fnr.tolist(), fpr.round(3).tolist()
        ([1.0, 0.5, 0.0, 0.0], [0.0, 0.0, 0.667, 1.0])
    """
    accepted_same, accepted_different = np.cumsum(same_counts), np.cumsum(different_counts)
    if drop_intermediate and len(accepted_same) > 2:
        corner = (np.diff(same_counts[1:]) != 0) | (np.diff(different_counts[1:]) != 0)
        keep = np.concatenate([[True], corner, [True]])
        accepted_same, accepted_different = accepted_same[keep], accepted_different[keep]
    tpr = np.concatenate([[0.0], accepted_same / accepted_same[-1]])
    fpr = np.concatenate([[0.0], accepted_different / accepted_different[-1]])
    return 1 - tpr, fpr
