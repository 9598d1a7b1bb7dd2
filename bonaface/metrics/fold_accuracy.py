"""Labeled Faces in the Wild's figure: mean accuracy over folds and its standard error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bonaface.errors import DataError
from bonaface.metrics.scores import checked_labels

__all__ = ["FoldAccuracy", "best_threshold", "fold_accuracy"]


@dataclass(frozen=True)
class FoldAccuracy:
    """Accuracy by cross-validation.

    Args:
        mean: over the folds.
        standard_error: standard deviation over the folds / sqrt(their number).
        folds: of each fold, in order.
    """

    mean: float
    standard_error: float
    folds: tuple[float, ...]


def best_threshold(similarity: NDArray[np.float64], mated: NDArray[np.bool_]) -> float:
    """The threshold with the highest accuracy; the highest of several, halfway to the next lower score.

    Args:
        similarity: shape ``(n,)``.
        mated: shape ``(n,)``.

    Example:
        >>> best_threshold(np.array([0.9, 0.75, 0.25, 0.2]), np.array([True, True, False, False]))
        0.5
    """
    distinct, place = np.unique(-similarity, return_inverse=True)
    gain = np.bincount(place, weights=np.where(mated, 1.0, -1.0))
    right = np.concatenate([[0.0], np.cumsum(gain)])  # right answers beyond those of refusing all
    at = int(np.argmax(right))
    scores = -distinct
    if at == 0:
        return float(np.nextafter(scores[0], np.inf))
    return float(scores[at - 1] if at == len(scores) else (scores[at - 1] + scores[at]) / 2)


def fold_accuracy(similarity: ArrayLike, label: ArrayLike, fold: ArrayLike) -> FoldAccuracy:
    """Accuracy on each fold at the threshold that is best on all the other folds.

    Args:
        similarity: shape ``(n,)``. Higher is more alike.
        label: 1 for a mated pair, 0 otherwise, shape ``(n,)``.
        fold: number of each pair's fold, shape ``(n,)``; two folds at least.

    Raises:
        DataError: if there is one fold only, or scores and labels are not as they should be.

    Source: G. B. Huang, M. Ramesh, T. Berg and E. Learned-Miller, "Labeled Faces in the Wild", 2007, 4.

    Example:
        By hand: fold 0 alone is best split at 0.6, which gets one of two right in fold 1; fold 1 alone at 0.5, which gets
        both right in fold 0.

        >>> fold_accuracy([0.9, 0.3, 0.55, 0.45], [1, 0, 1, 0], [0, 0, 1, 1])
        FoldAccuracy(mean=0.75, standard_error=0.25, folds=(1.0, 0.5))
    """
    scores, mated, _ = checked_labels(similarity, label)
    folds = np.asarray(fold)
    numbers = np.unique(folds)
    if folds.shape != scores.shape or len(numbers) < 2:
        raise DataError(f"fold: expected one of two or more for each of {len(scores)} pairs, got {len(numbers)}")
    accuracies = []
    for number in numbers:
        judged = folds == number
        threshold = best_threshold(scores[~judged].astype(np.float64), mated[~judged])
        accuracies.append(float(np.mean((scores[judged] >= threshold) == mated[judged])))
    error = np.std(accuracies, ddof=1) / np.sqrt(len(accuracies))
    return FoldAccuracy(float(np.mean(accuracies)), float(error), tuple(accuracies))
