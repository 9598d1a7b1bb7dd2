"""Error rates at the thresholds that people deploy.

A pair is accepted if its similarity is at or above the threshold. Thresholds come from other pairs than those that
are judged, or from a stated false match rate.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bonaface.errors import DataError
from bonaface.metrics.eer import challenge_eer, eer_rocch, methods_of
from bonaface.metrics.scores import KINDS, checked_scores, checked_two

__all__ = [
    "FMRS",
    "OperatingPoint",
    "allowed_matches",
    "auc",
    "fake_score_eer",
    "fake_score_errors",
    "fnmr_at_fmr",
    "fnmr_at_threshold",
    "iapar",
    "iapar_by_method",
    "operating_points",
]

FMRS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
"""The false match rates at which operating points are usually stated."""


@dataclass(frozen=True)
class OperatingPoint:
    """Effect of a threshold: the rates of both errors at it, as fractions."""

    threshold: float
    fnmr: float
    fmr: float


def fnmr_at_fmr(same: ArrayLike, different: ArrayLike, fmr: float) -> OperatingPoint:
    """False non-match rate at the lowest threshold whose false match rate is at most ``fmr``.

    With k = floor(fmr * m) matches allowed, the threshold is the next number above the (k + 1)-th highest non-mated
    score, in the precision of the scores.

    Args:
        same: similarities of mated pairs, shape ``(n,)``. Higher is more alike.
        different: similarities of non-mated pairs, shape ``(m,)``.
        fmr: target false match rate in (0, 1], as a fraction.

    Returns:
        The threshold, and both rates as they are there (ties can keep the false match rate below its target).

    Raises:
        ValueError: if ``m < 1 / fmr``: so few pairs cannot resolve that rate; or if ``fmr`` is not in (0, 1].
        DataError: if a class is empty, or a score is NaN or infinite.

    Source: ISO/IEC 19795-1:2021, 7.

    Example:
        By hand: one of ten may match, so the threshold lies just above the second highest, 0.6; of three
        mated pairs one, 0.5, is below.

        >>> point = fnmr_at_fmr([0.9, 0.7, 0.5], [0.8, 0.6, 0.4, 0.3, 0.3, 0.2, 0.2, 0.1, 0.1, 0.0], 0.1)
        >>> round(point.threshold, 6), round(point.fnmr, 3), point.fmr
        (0.6, 0.333, 0.1)
    """
    mated, non_mated = checked_two(same, different)
    allowed = allowed_matches(len(non_mated), fmr)
    if allowed == len(non_mated):
        threshold = min(mated.min(), non_mated.min())
    else:
        at = len(non_mated) - 1 - allowed
        highest_refused = np.partition(non_mated, at)[at]
        threshold = np.nextafter(highest_refused, np.inf, dtype=non_mated.dtype)
    return fnmr_at_threshold(mated, non_mated, float(threshold))


def allowed_matches(pairs: int, fmr: float) -> int:
    """Count how many of ``pairs`` non-mated pairs may match at a false match rate of at most ``fmr``.

    Raises:
        ValueError: if ``fmr`` is not in (0, 1], or if not one may: so few pairs cannot resolve that rate.

    Example:
        >>> allowed_matches(100, 0.29)
        29
    """
    if not 0 < fmr <= 1:
        raise ValueError(f"fmr: expected a rate in (0, 1], got {fmr}")
    allowed = int(fmr * pairs)
    while allowed < pairs and (allowed + 1) / pairs <= fmr:
        allowed += 1
    while allowed and allowed / pairs > fmr:
        allowed -= 1
    if not allowed:
        raise ValueError(
            f"{pairs} non-mated pairs cannot resolve a false match rate of {fmr:g}: it takes {1 / fmr:.0f}"
        )
    return allowed


def fnmr_at_threshold(same: ArrayLike, different: ArrayLike, threshold: float) -> OperatingPoint:
    """Both error rates at a threshold that was found elsewhere, on validation pairs say.

    Args:
        same: similarities of mated pairs, shape ``(n,)``. Higher is more alike.
        different: similarities of non-mated pairs, shape ``(m,)``.
        threshold: pairs at or above it are accepted.

    Raises:
        DataError: if a class is empty, or a score is NaN or infinite.

    Example:
        >>> fnmr_at_threshold([0.9, 0.4], [0.5, 0.4, 0.1, 0.0], 0.5)
        OperatingPoint(threshold=0.5, fnmr=0.5, fmr=0.25)
    """
    mated, non_mated = checked_two(same, different)
    limit = np.float64(threshold)  # a Python float would be rounded to the precision of the scores
    return OperatingPoint(float(threshold), float(np.mean(mated < limit)), float(np.mean(non_mated >= limit)))


def operating_points(
    same: ArrayLike, different: ArrayLike, fmrs: Sequence[float] = FMRS
) -> dict[float, OperatingPoint]:
    """Operating points at those false match rates that the number of non-mated pairs resolves.

    Args:
        same: similarities of mated pairs, shape ``(n,)``. Higher is more alike.
        different: similarities of non-mated pairs, shape ``(m,)``.
        fmrs: target false match rates, each in (0, 1].

    Returns:
        Target -> point, in the order of ``fmrs``; a rate that cannot be resolved is absent.

    Raises:
        DataError: if a class is empty, or a score is NaN or infinite.
        ValueError: if a rate is not in (0, 1].

    Example:
        >>> list(operating_points([0.9, 0.7], list(range(50))))
        [0.1]
    """
    mated, non_mated = checked_two(same, different)
    return {fmr: fnmr_at_fmr(mated, non_mated, fmr) for fmr in fmrs if 1 / len(non_mated) <= fmr or not 0 < fmr <= 1}


def iapar(fakes: ArrayLike, threshold: float) -> float:
    """Impostor attack presentation accept rate: the share of deepfakes that a threshold accepts.

    Args:
        fakes: similarities of pairs of a real photo and a fake of the same person, shape ``(n,)``.
        threshold: pairs at or above it are accepted.

    Raises:
        DataError: if there is no score, or one is NaN or infinite.

    Source: ISO/IEC 30107-3:2023 (IAPAR; IAPMR in the edition of 2017).

    Example:
        >>> iapar([0.7, 0.5, 0.2, 0.1], 0.5)
        0.5
    """
    return float(np.mean(checked_scores(fakes, "fakes") >= np.float64(threshold)))


def iapar_by_method(
    similarity: ArrayLike, kind: ArrayLike, method_0: ArrayLike, method_1: ArrayLike, threshold: float
) -> dict[str, float]:
    """Share of own_fake pairs that a threshold accepts, for each method of forgery, worst first.

    Args:
        similarity: shape ``(n,)``. Higher is more alike.
        kind: one of ``KINDS`` for each pair, shape ``(n,)``.
        method_0: how the first image was forged or ``"real"``, shape ``(n,)``.
        method_1: the same for the second image.
        threshold: pairs at or above it are accepted.

    Raises:
        DataError: if shapes differ, a score is not finite, a kind is unknown, or an own_fake pair names no method.

    Example:
        >>> fakes, real = ["own_fake"] * 3, ["real"] * 3
        >>> iapar_by_method([0.1, 0.6, 0.7], fakes, ["swap", "swap", "blend"], real, 0.5)
        {'blend': 1.0, 'swap': 0.5}
    """
    scores, kinds = checked_scores(similarity, "similarity"), np.asarray(kind).astype(str)
    if kinds.shape != scores.shape or not np.isin(kinds, KINDS).all():
        raise DataError(f"kind: expected one of {', '.join(KINDS)} for each of {len(scores)} similarities")
    methods, fakes = methods_of(kinds, method_0, method_1), kinds == "own_fake"
    rates = {str(m): iapar(scores[fakes & (methods == m)], threshold) for m in np.unique(methods[fakes])}
    return dict(sorted(rates.items(), key=lambda item: (-item[1], item[0])))


def fake_score_errors(genuine: ArrayLike, fakes: ArrayLike, threshold: float) -> tuple[float, float]:
    """APCER and BPCER of a score of single photos at a threshold.

    Args:
        genuine: how genuine each real photo is judged to be (log-odds, say), shape ``(n,)``. Higher is more genuine.
        fakes: the same for deepfakes, shape ``(m,)``.
        threshold: a photo at or above it passes for genuine.

    Returns:
        APCER, the share of fakes that pass, and BPCER, the share of real photos that do not.

    Raises:
        DataError: if a class is empty, or a score is NaN or infinite.

    Source: ISO/IEC 30107-3:2023.

    Example:
        >>> fake_score_errors([2.0, 1.0, -1.0, 3.0], [-2.0, 0.5], 0.0)
        (0.5, 0.25)
    """
    point = fnmr_at_threshold(genuine, fakes, threshold)
    return point.fmr, point.fnmr


def fake_score_eer(genuine: ArrayLike, fakes: ArrayLike, interpolated: bool = True) -> float:
    """Rate at which APCER and BPCER are equal (D-EER).

    Args:
        genuine: how genuine each real photo is judged to be, shape ``(n,)``. Higher is more genuine.
        fakes: the same for deepfakes, shape ``(m,)``.
        interpolated: on the convex hull of the ROC; otherwise by the challenge's rule.

    Raises:
        DataError: if a class is empty, or a score is NaN or infinite.

    Example:
        >>> fake_score_eer([2.0, 1.0, 0.8], [-2.0, 0.5])
        0.0
    """
    return eer_rocch(genuine, fakes) if interpolated else challenge_eer(genuine, fakes)


def auc(same: ArrayLike, different: ArrayLike) -> float:
    """Area under the ROC curve: the chance that a mated pair scores above a non-mated one, ties counting half.

    Args:
        same: similarities of mated pairs, shape ``(n,)``. Higher is more alike.
        different: similarities of non-mated pairs, shape ``(m,)``.

    Raises:
        DataError: if a class is empty, or a score is NaN or infinite.

    Source: H. B. Mann and D. R. Whitney, 1947: AUC = U / (n m).

    Example:
        By hand: 0.9 beats both, 0.5 beats one and ties with the other: (1 + 1 + 1 + 1/2) / 4.

        >>> auc([0.9, 0.5], [0.5, 0.1])
        0.875
    """
    mated, non_mated = checked_two(same, different)
    from scipy.stats import rankdata  # slow to import, and thresholds alone don't need it

    ranks = rankdata(np.concatenate([mated, non_mated]))[: len(mated)]
    return float((ranks.sum() - len(mated) * (len(mated) + 1) / 2) / (len(mated) * len(non_mated)))
