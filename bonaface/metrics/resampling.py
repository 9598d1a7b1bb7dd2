"""Drawing people anew: what every interval of the bootstrap is made of."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bonaface.errors import DataError

__all__ = [
    "Counter",
    "Interval",
    "Statistic",
    "are_usable",
    "counter",
    "interval_of",
    "person_weights",
    "replicate",
    "usable",
]

Statistic = Callable[[NDArray[np.int64]], float]
"""A figure as a function of how often each pair counts."""

Counter = Callable[[NDArray[np.int64]], tuple[NDArray[np.int64], NDArray[np.int64]]]
"""Weights of pairs -> weights of both classes at each distinct score."""


@dataclass(frozen=True)
class Interval:
    """A figure with its interval, and how many replicates it rests on (those in which every class occurred)."""

    estimate: float
    low: float
    high: float
    level: float
    replicates: int


def person_weights(
    person_0: ArrayLike, person_1: ArrayLike, replicates: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Draw the people anew and say how often each pair counts, once for each replicate.

    Args:
        person_0: who is on the first image of each pair, shape ``(n,)``.
        person_1: who is on the second, shape ``(n,)``.
        replicates: how many draws.
        rng: where chance comes from.

    Yields:
        Whole weights of the pairs, shape ``(n,)``.

    Raises:
        DataError: if shapes differ or a person is missing.

    Example:
        >>> weights = next(person_weights(["a", "a", "b"], ["a", "b", "b"], 1, np.random.default_rng(0)))
        >>> weights.tolist()  # b was drawn twice, or a twice, or each once
        [0, 0, 2]
    """
    first, second = np.asarray(person_0), np.asarray(person_1)
    if first.shape != second.shape or first.ndim != 1:
        raise DataError(f"person: expected one an image of each pair, got shapes {first.shape} and {second.shape}")
    import pandas as pd  # slow to import, and thresholds alone don't need it

    codes, people = pd.factorize(np.concatenate([first, second]))
    if (codes < 0).any():
        raise DataError(f"person: missing in the pair at position {int(np.argmax(codes < 0)) % len(first)}")
    code_0, code_1 = codes[: len(first)], codes[len(first) :]
    alone = code_0 == code_1
    for _ in range(replicates):
        times = np.bincount(rng.integers(0, len(people), len(people)), minlength=len(people))
        yield times[code_0] * np.where(alone, 1, times[code_1])


def counter(scores: NDArray[Any], mated: NDArray[np.bool_], used: NDArray[np.bool_]) -> tuple[Counter, NDArray[Any]]:
    """Return what turns weights of pairs into weights at each distinct score, highest first, and those scores."""
    chosen = np.flatnonzero(used)
    order = chosen[np.argsort(-scores[chosen].astype(np.float64), kind="stable")]
    ranked = scores[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    is_same = mated[order].astype(np.int64)

    def count(weights: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        ranked_weights = weights[order]
        same_weights = ranked_weights * is_same
        same_counts = np.add.reduceat(same_weights, starts)
        return same_counts, np.add.reduceat(ranked_weights, starts) - same_counts

    return count, ranked[starts]


def replicate(
    statistics: dict[str, Statistic],
    person_0: ArrayLike,
    person_1: ArrayLike,
    pairs: int,
    replicates: int,
    level: float,
    rng: np.random.Generator,
) -> tuple[dict[str, float], dict[str, NDArray[np.float64]]]:
    """Compute each statistic on the pairs as they are, and on each draw of the people.

    Args:
        statistics: name -> function of the weights of the pairs; NaN where a draw lacks a class.
        person_0: who is on the first image of each pair, shape ``(pairs,)``.
        person_1: who is on the second, shape ``(pairs,)``.
        pairs: how many pairs the statistics were made for.
        replicates: how many draws.
        level: what share of draws the interval is to hold, in (0, 1).
        rng: where chance comes from.

    Returns:
        Name -> estimate, and name -> its values in the draws, shape ``(replicates,)``.

    Raises:
        DataError: if there is not one person for each image.
        ValueError: if ``replicates`` or ``level`` is out of range.
    """
    if replicates < 1 or not 0 < level < 1:
        raise ValueError(f"expected at least one replicate and a level in (0, 1), got {replicates} and {level}")
    if np.shape(person_0) != (pairs,):
        raise DataError(f"person: expected one an image of each of {pairs} pairs, got shape {np.shape(person_0)}")
    estimates = {name: statistic(np.ones(pairs, dtype=np.int64)) for name, statistic in statistics.items()}
    drawn = {name: np.empty(replicates) for name in statistics}
    for i, weights in enumerate(person_weights(person_0, person_1, replicates, rng)):
        for name, statistic in statistics.items():
            drawn[name][i] = statistic(weights)
    return estimates, drawn


_USABLE = 0.8
"""Share of draws that must have a figure. Where pairs are of one person among several, or of two people, fewer hold any of them
(63 % and at most 50 %), and those that do hold them all alike: they would give an interval of no width."""


def are_usable(values: NDArray[np.float64]) -> bool:
    """True where at least four in five draws have a figure."""
    return bool(np.count_nonzero(~np.isnan(values)) >= _USABLE * len(values))


def usable(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leave out draws without a figure; a DataError if more than a fifth are."""
    drawn = values[~np.isnan(values)]
    if not are_usable(values):
        raise DataError(
            f"too few people: only {len(drawn)} of {len(values)} draws of them hold pairs of every class; "
            "judge on pairs of more people"
        )
    return drawn


def interval_of(estimate: float, values: NDArray[np.float64], level: float) -> Interval:
    """Give the percentile interval of the values that a figure took, shape ``(replicates,)``."""
    drawn = usable(values)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(estimate), float(low), float(high), level, len(drawn))
