"""Distributions of the similarities of one person's photos and of two people's, learned from the set itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ["SimilarityModel", "first_fit", "refit"]

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]
Ints = NDArray[np.int64]

_PAIRS = 200_000
_LOOKALIKES = 1e-5
"""Share of pairs of two people that are as alike as any."""
_TAIL_DENSITY = 1 / 1.5
_LEAST_TAIL, _MOST_TAIL = 0.003, 0.05
_FEWEST = 20
_UNUSUAL = 3.0
_TYPICAL = (0.6, 0.12)


@dataclass(frozen=True)
class SimilarityModel:
    """Distributions of the cosine of a photo with the unit mean of ``k`` photos.

    Args:
        mean: of two photos of one person.
        spread: standard deviation for one person and large ``k``.
        spread_of_one: what is added to it (in squares) for ``k = 1``.
        tail: share of a person's photos that are so poor that their cosine says nothing.
        other_mean: of two people.
        other_spread: its standard deviation.
    """

    mean: float
    spread: float
    spread_of_one: float
    tail: float
    other_mean: float
    other_spread: float

    def expected(self, size: Ints | int) -> Floats:
        """Mean cosine of a person's photo with the unit mean of ``size`` others of theirs."""
        n = np.maximum(np.asarray(size, np.float64), 1)
        expected: Floats = self.mean / np.sqrt(self.mean + (1 - self.mean) / n)
        return expected

    def same(self, cosine: NDArray[np.floating], size: Ints | int) -> Floats:
        """Log density of cosines with the mean of ``size`` photos of the same person, the tail left out."""
        n = np.maximum(np.asarray(size, np.float64), 1)
        return _log_normal(cosine, self.expected(size), np.sqrt(self.spread**2 + self.spread_of_one**2 / n))

    def log_ratio(self, cosine: NDArray[np.floating], size: Ints | int) -> Floats:
        """Log of how much more likely cosines are for one person than for two; it never falls as the cosine rises.

        Example:
            >>> model = SimilarityModel(0.6, 0.1, 0.0, 0.01, 0.0, 0.1)
            >>> model.log_ratio(np.array([0.0, 0.3, 0.6]), 1).round(1).tolist()
            [-6.4, 0.1, 13.3]
        """
        x = np.clip(cosine, self.other_mean, self.expected(size))
        same = np.logaddexp(np.log1p(-self.tail) + self.same(x, size), np.log(self.tail * _TAIL_DENSITY))
        different = np.logaddexp(
            _log_normal(x, self.other_mean, self.other_spread), np.log(_LOOKALIKES * _TAIL_DENSITY)
        )
        ratio: Floats = same - different
        return ratio

    @property
    def highest(self) -> float:
        """The largest log ratio of two photos."""
        return float(self.log_ratio(np.array([1.0]), 1)[0])

    @property
    def linked(self) -> float:
        """Cosine at which two photos are as likely one person's as two people's."""
        grid = np.linspace(self.other_mean, self.mean, 201)
        return float(grid[np.argmax(self.log_ratio(grid, 1) > 0)])


def _log_normal(x: NDArray[np.floating], mean: Floats | float, spread: Floats | float) -> Floats:
    density: Floats = -0.5 * ((x - mean) / spread) ** 2 - np.log(spread * np.sqrt(2 * np.pi))
    return density


def first_fit(vectors: Vectors, person: Ints, generator: np.random.Generator) -> SimilarityModel:
    """A first guess: medians of random pairs of two people, and of folder-mates that are clearly more alike.

    Args:
        vectors: unit vectors, shape ``(n, d)``.
        person: sorted numbers, shape ``(n,)``.
        generator: draws the pairs.
    """
    other_mean, other_spread = 0.0, 1 / np.sqrt(max(vectors.shape[1], 1))
    mean, spread = _TYPICAL
    if len(vectors):
        a, b = generator.integers(0, len(vectors), (2, _PAIRS))
        apart = person[a] != person[b]
        if apart.sum() >= _FEWEST:
            other_mean, other_spread = _robust(_cosines(vectors, a[apart], b[apart]))
        mates = np.flatnonzero(person[1:] == person[:-1])
        mates = mates if len(mates) <= _PAIRS else generator.choice(mates, _PAIRS, replace=False)
        cosines = _cosines(vectors, mates, mates + 1)
        alike = cosines[cosines > other_mean + _UNUSUAL * other_spread]
        if len(alike) >= _FEWEST:
            mean, spread = _robust(alike)
    mean = max(mean, other_mean + 2 * _UNUSUAL * other_spread) if mean < 0.95 else 0.95
    return SimilarityModel(min(mean, 0.98), max(spread, 0.02), 0.0, 0.02, other_mean, max(other_spread, 0.01))


def refit(model: SimilarityModel, pair_means: Floats, cosines: Floats, sizes: Ints, genuine: Floats) -> SimilarityModel:
    """Fit the distribution of one person's photos anew.

    Args:
        model: the last one; it stays where there is too little to fit.
        pair_means: mean cosine of each photo with each of the others of its core, shape ``(n,)``.
        cosines: with the unit mean of the others, shape ``(n,)``.
        sizes: number of the others, at least 1, shape ``(n,)``.
        genuine: probability that the photo shows its person, shape ``(n,)``.
    """
    sure = genuine > 0.9
    if sure.sum() < _FEWEST:
        return model
    least = model.other_mean + _UNUSUAL * model.other_spread
    mean = float(np.clip(np.median(pair_means[sure]), least, 0.98))
    fitted = replace(model, mean=mean)
    rest = cosines[sure] - fitted.expected(sizes[sure])
    few = sizes[sure] <= 2
    spread = max(_robust(rest)[1], 0.02)
    if few.sum() >= _FEWEST and (~few).sum() >= _FEWEST:
        small, large = _robust(rest[few])[1], max(_robust(rest[~few])[1], 0.02)
        spread, extra = large, float(np.sqrt(max(small**2 - large**2, 0.0)))
        fitted = replace(fitted, spread_of_one=extra)
    fitted = replace(fitted, spread=spread)
    poor = model.tail * _TAIL_DENSITY
    lost = poor / (poor + (1 - model.tail) * np.exp(fitted.same(cosines, sizes)))
    tail = float((lost * genuine).sum() / max(genuine.sum(), 1e-9))
    return replace(fitted, tail=float(np.clip(tail, _LEAST_TAIL, _MOST_TAIL)))


def _cosines(vectors: Vectors, a: Ints, b: Ints) -> Floats:
    """Cosines of pairs, in parts, so that no copy of all vectors is made."""
    parts = [
        np.einsum("nd,nd->n", vectors[a[start : start + 8192]], vectors[b[start : start + 8192]])
        for start in range(0, len(a), 8192)
    ]
    return np.concatenate([*parts, np.zeros(0)]).astype(np.float64)


def _robust(values: Floats) -> tuple[float, float]:
    """Median and half the distance between the 16th and the 84th percentile."""
    low, middle, high = np.percentile(values, [16, 50, 84])
    return float(middle), float((high - low) / 2)
