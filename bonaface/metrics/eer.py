"""Equal error rates: over all pairs, by kind of pair, and by method of forgery.

Two definitions, both given everywhere:

- the challenge's: the false non-match rate at the point of ``sklearn.metrics.roc_curve`` (intermediate points
  dropped, as is its default) where false non-match and false match rate are closest. Simple, but it jumps with single
  pairs. Of scores that are all equal it is 1/2, where ``nanargmin`` would take the first of the curve's two ends and say 1.
- ROCCH: where the two rates are equal on the convex hull of the ROC, interpolated. It never exceeds what a threshold
  reaches and depends smoothly on the scores.

Sources: J.-w. Jung et al., "SASV 2022: The First Spoofing-Aware Speaker Verification Challenge", 2022 (SV-, SPF- and
SASV-EER); N. Brümmer and E. de Villiers, "The BOSARIS Toolkit", 2013 (ROCCH).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bonaface.errors import DataError
from bonaface.metrics.scores import NEGATIVES, checked_labels, checked_two, count_scores, roc_errors

__all__ = [
    "challenge_eer",
    "eer_by_method",
    "eer_from_counts",
    "eer_of_points",
    "eer_rocch",
    "eers_by_kind",
    "methods_of",
    "rocch",
    "rocch_eer_from_counts",
]

_REAL = ("real", "")


def challenge_eer(same: ArrayLike, different: ArrayLike) -> float:
    """Equal error rate as the Kryptonite ML Challenge counts it.

    With FNR(t) the share of mated pairs below the threshold t and FPR(t) the share of non-mated pairs at or above it,
    it is FNR at the point of the ROC curve where abs(FNR - FPR) is smallest (the one with the highest threshold if
    there are several). Of scores that are all equal the curve has its two ends alone, and it is their mean, 1/2, as
    of every definition that interpolates or averages the two rates.

    Args:
        same: similarities of mated pairs, shape ``(n,)``. Higher is more alike.
        different: similarities of non-mated pairs, shape ``(m,)``.

    Returns:
        The error rate in [0, 1], as a fraction.

    Raises:
        DataError: if a class is empty, or a score is NaN or infinite.

    Example:
        By hand: at the threshold 0.7 one mated pair of three is rejected and one other of four is accepted, 1/3 and
        1/4; at 0.8 it is 1/3 and 0, at 0.4 it is 0 and 1/4. The closest are 1/3 and 1/4, and FNR there is 1/3.

        >>> round(challenge_eer([0.9, 0.8, 0.4], [0.7, 0.3, 0.2, 0.1]), 4)
        0.3333
    """
    _, same_counts, different_counts = count_scores(*checked_two(same, different))
    return eer_from_counts(same_counts, different_counts)


def eer_rocch(same: ArrayLike, different: ArrayLike) -> float:
    """Equal error rate on the convex hull of the ROC.

    Args:
        same: similarities of mated pairs, shape ``(n,)``. Higher is more alike.
        different: similarities of non-mated pairs, shape ``(m,)``.

    Returns:
        The rate in [0, 0.5] at which the hull crosses FNR = FPR.

    Raises:
        DataError: if a class is empty, or a score is NaN or infinite.

    Example:
        By hand: the hull goes from (FPR 0, FNR 1/3) to (1/4, 0), that is FNR = 1/3 - 4/3 FPR, which equals FPR at 1/7.

        >>> round(eer_rocch([0.9, 0.8, 0.4], [0.7, 0.3, 0.2, 0.1]), 4)
        0.1429
    """
    _, same_counts, different_counts = count_scores(*checked_two(same, different))
    return rocch_eer_from_counts(same_counts, different_counts)


def eers_by_kind(similarity: ArrayLike, label: ArrayLike, kind: ArrayLike | None = None) -> dict[str, float]:
    """Equal error rates of ``same`` against each kind of non-mated pair, by both definitions.

    Args:
        similarity: shape ``(n,)``. Higher is more alike.
        label: 1 for ``same``, 0 otherwise, shape ``(n,)``.
        kind: one of ``KINDS`` for each pair, shape ``(n,)``; None where it is not known.

    Returns:
        ``challenge_eer`` (same against all the rest), ``sv_eer`` (impostor), ``spf_eer`` (own_fake),
        ``other_fake_eer`` and ``sasv_eer`` (impostors and fakes), and each again as ``..._rocch``. A name is absent
        where its kind is; without kinds there are only ``challenge_eer`` and ``challenge_eer_rocch``.

    Raises:
        DataError: if shapes differ, a score is not finite, a label is not 0 or 1, a class is empty, or a kind is
            unknown.

    Example:
        >>> eers_by_kind([0.9, 0.8, 0.1, 0.85], [1, 1, 0, 0], ["same", "same", "impostor", "own_fake"])["sv_eer"]
        0.0
    """
    scores, mated, kinds = checked_labels(similarity, label, kind)
    result = {}
    for name, negative in negatives_by_name(mated, kinds).items():
        result[name] = challenge_eer(scores[mated], scores[negative])
        result[f"{name}_rocch"] = eer_rocch(scores[mated], scores[negative])
    return result


def negatives_by_name(mated: NDArray[np.bool_], kinds: NDArray[np.str_] | None) -> dict[str, NDArray[np.bool_]]:
    """Say which pairs each equal error rate holds against ``same``.

    Args:
        mated: whether each pair is mated, shape ``(n,)``.
        kinds: one of ``KINDS`` for each pair, shape ``(n,)``, or None.

    Returns:
        A mask of shape ``(n,)`` for each name whose kinds occur; ``sasv_eer`` needs an impostor and a fake.
    """
    masks = {"challenge_eer": ~mated}
    if kinds is None:
        return masks
    present = set(kinds.tolist())
    for name, against in NEGATIVES.items():
        if against[0] in present and (len(against) == 1 or present & set(against[1:])):
            masks[name] = np.isin(kinds, against)
    return masks


def eer_by_method(
    similarity: ArrayLike,
    label: ArrayLike,
    kind: ArrayLike,
    method_0: ArrayLike,
    method_1: ArrayLike,
    eer: Callable[[NDArray[Any], NDArray[Any]], float] = challenge_eer,
) -> dict[str, float]:
    """Equal error rate of ``same`` against the own_fake pairs of each method of forgery, worst first.

    Args:
        similarity: shape ``(n,)``. Higher is more alike.
        label: 1 for ``same``, 0 otherwise, shape ``(n,)``.
        kind: one of ``KINDS`` for each pair, shape ``(n,)``.
        method_0: how the first image was forged, ``"real"`` if it was not, shape ``(n,)``.
        method_1: the same for the second image.
        eer: ``challenge_eer`` or ``eer_rocch``.

    Returns:
        Method -> rate; empty if there is no own_fake pair.

    Raises:
        DataError: as ``eers_by_kind`` does, or if an own_fake pair names no method.

    Example:
        >>> kinds = ["same", "own_fake", "own_fake", "same"]
        >>> real = ["real"] * 4
        >>> eer_by_method([0.8, 0.9, 0.1, 0.7], [1, 0, 0, 1], kinds, real, ["real", "blend", "swap", "real"])
        {'blend': 1.0, 'swap': 0.0}
    """
    scores, mated, kinds = checked_labels(similarity, label, kind)
    if kinds is None:
        raise DataError("kind: expected one for each pair, got none")
    methods = methods_of(kinds, method_0, method_1)
    fakes = kinds == "own_fake"
    rates = {str(m): eer(scores[mated], scores[fakes & (methods == m)]) for m in np.unique(methods[fakes])}
    return dict(sorted(rates.items(), key=lambda item: (-item[1], item[0])))


def methods_of(kinds: NDArray[np.str_], method_0: ArrayLike, method_1: ArrayLike) -> NDArray[np.str_]:
    """Name the method of forgery of each pair: the first of its two that is not ``"real"`` or empty.

    Args:
        kinds: one of ``KINDS`` for each pair, shape ``(n,)``.
        method_0: how the first image was forged, ``"real"`` or empty, shape ``(n,)``.
        method_1: the same for the second image.

    Raises:
        DataError: if shapes differ or an own_fake pair has two real images.
    """
    first, second = np.asarray(method_0).astype(str), np.asarray(method_1).astype(str)
    if first.shape != kinds.shape or second.shape != kinds.shape:
        raise DataError(f"method: expected one a pair, shape {kinds.shape}, got {first.shape} and {second.shape}")
    methods = np.where(np.isin(first, _REAL), second, first)
    unnamed = np.flatnonzero((kinds == "own_fake") & np.isin(methods, _REAL))
    if len(unnamed):
        raise DataError(f"method: the own_fake pair at position {unnamed[0]} has two real images; expected a method")
    return methods


def eer_from_counts(same_counts: NDArray[Any], different_counts: NDArray[Any]) -> float:
    """Give the challenge's equal error rate from counts at each distinct score, highest first, shapes ``(d,)``."""
    return eer_of_points(*roc_errors(same_counts, different_counts, drop_intermediate=True))


def eer_of_points(fnr: NDArray[np.float64], fpr: NDArray[np.float64]) -> float:
    """Give the challenge's equal error rate from points of the ROC curve, highest threshold first, shapes ``(k,)``."""
    gaps = np.abs(fnr - fpr)
    closest = int(np.argmin(gaps))
    return 0.5 if gaps[closest] == 1 else float(fnr[closest])  # nothing between the ends: the scores are all equal


def rocch_eer_from_counts(same_counts: NDArray[Any], different_counts: NDArray[Any]) -> float:
    """Give the hull's equal error rate from counts at each distinct score, highest first, shapes ``(d,)``."""
    fnr, fpr = rocch(same_counts, different_counts)
    after = int(np.argmax(fnr <= fpr))
    before = after - 1
    gap_before, gap_after = fnr[before] - fpr[before], fnr[after] - fpr[after]
    way = gap_before / (gap_before - gap_after)
    return float(fpr[before] + way * (fpr[after] - fpr[before]))


def rocch(same_counts: NDArray[Any], different_counts: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find the vertices of the ROC's convex hull by pooling adjacent violators.

    The hull's edges are the blocks of an isotonic regression of "is mated" on the score (T. Fawcett and A.
    Niculescu-Mizil, "PAV and the ROC convex hull", Machine Learning 68, 2007).

    Args:
        same_counts: mated pairs (or weights) at each distinct score, highest first, shape ``(d,)``; no score without
            any pair.
        different_counts: the same for non-mated pairs.

    Returns:
        False non-match and false match rates at the vertices, from (1, 0) to (0, 1).

    Example:
        >>> fnr, fpr = rocch(np.array([1, 1, 0, 1, 0]), np.array([0, 0, 1, 0, 3]))
        >>> fnr.round(3).tolist(), fpr.round(3).tolist()
        ([1.0, 0.333, 0.0, 0.0], [0.0, 0.0, 0.25, 1.0])
    """
    weights = (same_counts + different_counts).astype(np.float64)
    from scipy.optimize import isotonic_regression  # slow to import, and thresholds alone don't need it

    blocks = isotonic_regression(same_counts / weights, weights=weights, increasing=False).blocks
    starts = blocks[:-1]
    return roc_errors(np.add.reduceat(same_counts, starts), np.add.reduceat(different_counts, starts))
