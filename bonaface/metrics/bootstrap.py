"""Confidence intervals: bootstrap over people, not over pairs.

Pairs that share a person are not independent, so resampling pairs gives intervals that are too narrow. Here people
are drawn with replacement, and a pair counts as often as the draw holds its people: the product of the multiplicities
of two different people, or the multiplicity of the one person of a mated or own_fake pair. Intervals are percentiles
of the replicates.

Sources: A. B. Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1(2), 2007 (product weights; slightly
conservative); R. M. Bolle, N. K. Ratha and S. Pankanti, "Error analysis of pattern recognition systems: the subsets
bootstrap", CVIU 93, 2004.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bonaface.errors import DataError
from bonaface.metrics.eer import eer_from_counts, negatives_by_name, rocch_eer_from_counts
from bonaface.metrics.operating_points import allowed_matches
from bonaface.metrics.resampling import (
    Counter,
    Interval,
    Statistic,
    are_usable,
    counter,
    interval_of,
    replicate,
    usable,
)
from bonaface.metrics.scores import checked_labels

__all__ = [
    "Difference",
    "eer_differences",
    "eer_intervals",
    "fnmr_intervals",
    "share_interval",
]


@dataclass(frozen=True)
class Difference:
    """First minus second of two models on the same pairs, its interval, and the two-sided p value of no difference."""

    estimate: float
    low: float
    high: float
    level: float
    p_value: float
    replicates: int


def eer_intervals(
    similarity: ArrayLike,
    label: ArrayLike,
    kind: ArrayLike | None,
    person_0: ArrayLike,
    person_1: ArrayLike,
    *,
    rng: np.random.Generator,
    replicates: int = 1000,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Every figure of ``eers_by_kind`` with its interval.

    Args:
        similarity: shape ``(n,)``. Higher is more alike.
        label: 1 for ``same``, 0 otherwise, shape ``(n,)``.
        kind: one of ``KINDS`` for each pair, shape ``(n,)``, or None.
        person_0: who is on the first image of each pair, shape ``(n,)``.
        person_1: who is on the second, shape ``(n,)``.
        rng: where chance comes from.
        replicates: how many draws of the people.
        level: what share of draws the interval holds, in (0, 1).

    Returns:
        The names of ``eers_by_kind``, each with its interval, but for those of which more than a fifth of the draws lack a class.

    Raises:
        DataError: as ``eers_by_kind`` does, if a person is missing, or if there are so few people that no name has an interval.
        ValueError: if ``replicates`` or ``level`` is out of range.

    Example:
        >>> people = [str(i) for i in range(20)]
        >>> labels, kinds = [1] * 20 + [0] * 20, ["same"] * 20 + ["own_fake"] * 20
        >>> scores = [0.9 - i / 100 for i in range(20)] + [0.75 - i / 100 for i in range(20)]
        >>> eers_by = eer_intervals(scores, labels, kinds, people * 2, people * 2, rng=np.random.default_rng(0))
        >>> spf = eers_by["spf_eer"]
        >>> spf.low <= spf.estimate <= spf.high
        True
    """
    statistics = _eer_statistics(similarity, label, kind)
    estimates, drawn = replicate(statistics, person_0, person_1, np.size(label), replicates, level, rng)
    return {name: interval_of(estimates[name], drawn[name], level) for name in _with_enough_draws(drawn)}


def _with_enough_draws(drawn: Mapping[str, NDArray[np.float64]]) -> list[str]:
    """Names of the figures that most draws of the people have: one kind of few people does not cost the others their intervals."""
    names = [name for name, values in drawn.items() if are_usable(values)]
    if not names:
        usable(next(iter(drawn.values())))  # raises the error that says what is missing
    return names


def eer_differences(
    similarity_a: ArrayLike,
    similarity_b: ArrayLike,
    label: ArrayLike,
    kind: ArrayLike | None,
    person_0: ArrayLike,
    person_1: ArrayLike,
    *,
    rng: np.random.Generator,
    replicates: int = 1000,
    level: float = 0.95,
) -> dict[str, Difference]:
    """Paired bootstrap of the difference between two models on the same pairs: both see the same draws of people.

    Args:
        similarity_a: of the first model, shape ``(n,)``.
        similarity_b: of the second, for the same pairs in the same order.
        label: as in ``eer_intervals``.
        kind: as in ``eer_intervals``.
        person_0: as in ``eer_intervals``.
        person_1: as in ``eer_intervals``.
        rng: where chance comes from.
        replicates: how many draws of the people.
        level: what share of draws the interval holds, in (0, 1).

    Returns:
        The names that ``eer_intervals`` would return, each with a minus b. The p value is twice the smaller share of draws on
        either side of 0, each share as (count + 1) / (replicates + 1), so it is never 0.

    Raises:
        DataError: as ``eer_intervals`` does.
        ValueError: if ``replicates`` or ``level`` is out of range.

    Source: B. Efron and R. J. Tibshirani, "An Introduction to the Bootstrap", 1993, 15.4 and 16.

    Example:
        >>> people, labels = [str(i) for i in range(20)] * 2, [1] * 20 + [0] * 20
        >>> good, bad = [1.0] * 20 + [0.0] * 20, [1.0, 0.0] * 20
        >>> rng = np.random.default_rng(0)
        >>> eer_differences(good, bad, labels, None, people, people, rng=rng)["challenge_eer"].p_value < 0.01
        True
    """
    first = _eer_statistics(similarity_a, label, kind)
    second = _eer_statistics(similarity_b, label, kind)
    differences = {name: _minus(first[name], second[name]) for name in first}
    estimates, drawn = replicate(differences, person_0, person_1, np.size(label), replicates, level, rng)
    result = {}
    for name in _with_enough_draws(drawn):
        interval, values = interval_of(estimates[name], drawn[name], level), usable(drawn[name])
        one_sided = (min((values <= 0).sum(), (values >= 0).sum()) + 1) / (len(values) + 1)
        p_value = float(min(1.0, 2 * one_sided))
        result[name] = Difference(interval.estimate, interval.low, interval.high, level, p_value, len(values))
    return result


def fnmr_intervals(
    similarity: ArrayLike,
    label: ArrayLike,
    person_0: ArrayLike,
    person_1: ArrayLike,
    fmr: float,
    *,
    rng: np.random.Generator,
    replicates: int = 1000,
    level: float = 0.95,
) -> tuple[Interval, Interval]:
    """The threshold and the false non-match rate of ``fnmr_at_fmr``, with their intervals.

    Args:
        similarity: shape ``(n,)``. Higher is more alike.
        label: 1 for a mated pair, 0 otherwise, shape ``(n,)``.
        person_0: who is on the first image of each pair, shape ``(n,)``.
        person_1: who is on the second, shape ``(n,)``.
        fmr: target false match rate in (0, 1].
        rng: where chance comes from.
        replicates: how many draws of the people.
        level: what share of draws the interval holds, in (0, 1).

    Returns:
        The intervals of the threshold and of the false non-match rate.

    Raises:
        DataError: as ``eer_intervals`` does.
        ValueError: if the number of non-mated pairs cannot resolve ``fmr``.

    Example:
        >>> people, labels = [str(i) for i in range(20)] * 2, [1] * 20 + [0] * 20
        >>> scores = [0.5 + i / 50 for i in range(20)] + [i / 30 for i in range(20)]
        >>> _, fnmr = fnmr_intervals(scores, labels, people, people, 0.1, rng=np.random.default_rng(0))
        >>> fnmr.low <= fnmr.estimate <= fnmr.high
        True
    """
    scores, mated, _ = checked_labels(similarity, label)
    scores = scores if scores.dtype.kind == "f" else scores.astype(np.float64)
    allowed_matches(int((~mated).sum()), fmr)
    count, distinct = counter(scores, mated, np.ones_like(mated))
    lowest_refused = np.append(np.nextafter(distinct[1:], np.inf, dtype=distinct.dtype), distinct[-1])

    def point(weights: NDArray[np.int64]) -> tuple[float, float]:
        same_counts, different_counts = count(weights)
        if not same_counts.any() or not different_counts.any():
            return np.nan, np.nan
        accepted = np.cumsum(different_counts)
        last = np.searchsorted(accepted / accepted[-1], fmr, side="right") - 1
        if last < 0:
            return float(np.nextafter(distinct[0], np.inf, dtype=distinct.dtype)), 1.0
        return float(lowest_refused[last]), float(1 - same_counts[: last + 1].sum() / same_counts.sum())

    statistics: dict[str, Statistic] = {"threshold": lambda w: point(w)[0], "fnmr": lambda w: point(w)[1]}
    estimates, drawn = replicate(statistics, person_0, person_1, np.size(label), replicates, level, rng)
    threshold, fnmr = (interval_of(estimates[name], drawn[name], level) for name in statistics)
    return threshold, fnmr


def share_interval(
    counted: ArrayLike,
    person_0: ArrayLike,
    person_1: ArrayLike,
    *,
    rng: np.random.Generator,
    replicates: int = 1000,
    level: float = 0.95,
) -> Interval:
    """A share of pairs with its interval: IAPAR from ``fakes >= threshold``, say, or an accuracy.

    Args:
        counted: whether each pair counts, shape ``(n,)``, bool.
        person_0: who is on the first image of each pair, shape ``(n,)``.
        person_1: who is on the second, shape ``(n,)``.
        rng: where chance comes from.
        replicates: how many draws of the people.
        level: what share of draws the interval holds, in (0, 1).

    Raises:
        DataError: if there is no pair, ``counted`` is not bool, or a person is missing.

    Example:
        >>> share_interval([True] * 8, ["a"] * 8, ["a"] * 8, rng=np.random.default_rng(0)).low
        1.0
    """
    counts = np.asarray(counted)
    if counts.dtype != bool or counts.ndim != 1 or not len(counts):
        raise DataError(f"counted: expected true or false for each pair, got {counts.dtype} of shape {counts.shape}")

    def share(weights: NDArray[np.int64]) -> float:
        total = weights.sum()
        return float(weights[counts].sum() / total) if total else np.nan

    estimates, drawn = replicate({"share": share}, person_0, person_1, len(counts), replicates, level, rng)
    return interval_of(estimates["share"], drawn["share"], level)


def _eer_statistics(similarity: ArrayLike, label: ArrayLike, kind: ArrayLike | None) -> dict[str, Statistic]:
    """Make each figure of ``eers_by_kind`` a function of the pairs' weights; scores are sorted once, here."""
    scores, mated, kinds = checked_labels(similarity, label, kind)
    statistics: dict[str, Statistic] = {}
    for name, negative in negatives_by_name(mated, kinds).items():
        count, _ = counter(scores, mated, mated | negative)
        statistics[name] = _of_counts(count, eer_from_counts)
        statistics[f"{name}_rocch"] = _of_counts(count, rocch_eer_from_counts)
    return statistics


def _of_counts(count: Counter, figure: Callable[[NDArray[Any], NDArray[Any]], float]) -> Statistic:
    def statistic(weights: NDArray[np.int64]) -> float:
        same_counts, different_counts = count(weights)
        drawn = (same_counts + different_counts) > 0
        same_counts, different_counts = same_counts[drawn], different_counts[drawn]
        if not same_counts.any() or not different_counts.any():
            return np.nan
        return figure(same_counts, different_counts)

    return statistic


def _minus(first: Statistic, second: Statistic) -> Statistic:
    return lambda weights: first(weights) - second(weights)
