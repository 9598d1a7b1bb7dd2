"""Points of the ROC and DET curves, few enough to be drawn."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bonaface.metrics.scores import checked_two, count_scores, roc_errors

__all__ = ["det_points", "roc_points", "thinned"]


def roc_points(
    same: ArrayLike, different: ArrayLike, at_most: int = 500
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners of the ROC curve, thinned for drawing.

    Args:
        same: similarities of mated pairs, shape ``(n,)``. Higher is more alike.
        different: similarities of non-mated pairs, shape ``(m,)``.
        at_most: how many points at most, at least 4. Points are kept where the curve moves, in normal deviates as
            well as on a logarithmic and a linear scale, so that the same points serve all three axes.

    Returns:
        False match rates and true match rates (1 - FNMR), rising from 0 to 1, shapes ``(k,)``. Every point is one of
        the curve's.

    Raises:
        DataError: if a class is empty, or a score is NaN or infinite.
        ValueError: if ``at_most`` is below 4.

    Example:
        >>> fmr, tmr = roc_points([0.9, 0.8, 0.4], [0.7, 0.3, 0.2, 0.1])
        >>> fmr.tolist(), tmr.round(2).tolist()
        ([0.0, 0.0, 0.25, 0.25, 1.0], [0.0, 0.67, 0.67, 1.0, 1.0])
    """
    if at_most < 4:
        raise ValueError(f"at_most: expected 4 points or more, got {at_most}")
    _, same_counts, different_counts = count_scores(*checked_two(same, different))
    fnr, fpr = roc_errors(same_counts, different_counts)
    fnr, fpr = _corners(fnr, fpr)
    keep = thinned(fnr, fpr, at_most)
    return fpr[keep], 1 - fnr[keep]


def det_points(
    same: ArrayLike, different: ArrayLike, at_most: int = 500
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points of the detection error trade-off curve in normal deviates.

    Args:
        same: similarities of mated pairs, shape ``(n,)``. Higher is more alike.
        different: similarities of non-mated pairs, shape ``(m,)``.
        at_most: how many points at most, at least 4.

    Returns:
        probit(FMR), rising, and probit(FNMR), falling, shapes ``(k,)``. Points where a rate is 0 or 1 have no finite
        place on these axes and are left out, so a verifier without errors has no points.

    Raises:
        DataError: if a class is empty, or a score is NaN or infinite.
        ValueError: if ``at_most`` is below 4.

    Source: A. Martin et al., "The DET curve in assessment of detection task performance", Eurospeech 1997.

    Example:
        >>> from scipy.stats import norm
        >>> fmr, fnmr = det_points([0.9, 0.8, 0.4], [0.7, 0.3, 0.2, 0.1])
        >>> norm.cdf(fmr).round(2).tolist(), norm.cdf(fnmr).round(2).tolist()
        ([0.25], [0.33])
    """
    from scipy.special import ndtri  # slow to import, and thresholds alone don't need it

    fmr, tmr = roc_points(same, different, at_most)
    fnmr = 1 - tmr
    drawn = (fmr > 0) & (fmr < 1) & (fnmr > 0) & (fnmr < 1)
    return ndtri(fmr[drawn]), ndtri(fnmr[drawn])


def _corners(fnr: NDArray[np.float64], fpr: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Leave out points inside level and upright stretches."""
    level = (fnr[:-2] == fnr[1:-1]) & (fnr[1:-1] == fnr[2:])
    upright = (fpr[:-2] == fpr[1:-1]) & (fpr[1:-1] == fpr[2:])
    keep = np.concatenate([[True], ~(level | upright), [True]])
    return fnr[keep], fpr[keep]


def thinned(fnr: NDArray[np.float64], fpr: NDArray[np.float64], at_most: int) -> NDArray[np.int64]:
    """Choose positions evenly along a curve's length on probit, logarithmic and linear axes together.

    Args:
        fnr: falling false non-match rates, shape ``(k,)``.
        fpr: rising false match rates, shape ``(k,)``.
        at_most: how many positions at most, at least 2; the first and the last are among them.

    Returns:
        Rising positions, shape ``(min(k, at_most),)`` or less.
    """
    if len(fnr) <= at_most:
        return np.arange(len(fnr))
    length = np.zeros(len(fnr))
    for axis in (_probit, _log, _linear):
        steps = np.abs(np.diff(axis(fnr))) + np.abs(np.diff(axis(fpr)))
        way: NDArray[Any] = np.concatenate([[0.0], np.cumsum(steps)])
        length += way / way[-1]
    positions = np.searchsorted(length, np.linspace(0, length[-1], at_most))
    positions[-1] = len(fnr) - 1
    return np.unique(np.minimum(positions, len(fnr) - 1))


def _probit(rate: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.special import ndtri

    return np.asarray(ndtri(np.clip(rate, _smallest(rate), 1 - _smallest(1 - rate))))


def _log(rate: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(np.maximum(rate, _smallest(rate)))


def _linear(rate: NDArray[np.float64]) -> NDArray[np.float64]:
    return rate


def _smallest(rate: NDArray[np.float64]) -> float:
    """Half the smallest rate above rounding: where 0 is put on an axis that has no 0."""
    return float(rate[rate > 1e-12].min()) / 2
