"""All images against all: similarities counted by kind of pair, a block at a time, never N x N in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bonaface.errors import DataError
from bonaface.metrics.eer import eer_from_counts
from bonaface.metrics.operating_points import OperatingPoint, allowed_matches
from bonaface.metrics.scores import KINDS

__all__ = ["PairHistogram", "all_pairs_histogram"]

NEGATIVE = KINDS[1:]


@dataclass(frozen=True)
class PairHistogram:
    """Counts of the pairs of each kind that have a similarity in each of the equal bins of [-1, 1].

    Bin i holds ``-1 + 2 i / bins <= similarity < -1 + 2 (i + 1) / bins`` (the last one 1 too). At the edges of bins the
    error rates are exact; between them a similarity counts as its bin's lower edge.

    Args:
        counts: kind -> counts, shape ``(bins,)``.
    """

    counts: dict[str, NDArray[np.int64]]

    @property
    def lower_edges(self) -> NDArray[np.float64]:
        """Lower edges of the bins, shape ``(bins,)``."""
        bins = len(self.counts["same"])
        return -1 + 2 * np.arange(bins) / bins

    def eer(self, against: Sequence[str] = NEGATIVE) -> float:
        """Give the challenge's equal error rate of ``same`` against some kinds, of similarities rounded down to a bin's edge.

        Raises:
            DataError: if there is no pair of ``same`` or none of ``against``.
        """
        same, different = self._both(against)
        held = np.flatnonzero(same + different)[::-1]
        return eer_from_counts(same[held], different[held])

    def fnmr_at_fmr(self, fmr: float, against: Sequence[str] = ("impostor",)) -> OperatingPoint:
        """Give the lowest edge of a bin at which the false match rate is at most ``fmr``, and both rates there.

        Raises:
            ValueError: if ``fmr`` is not in (0, 1], or the number of pairs cannot resolve it.
            DataError: if there is no pair of ``same`` or none of ``against``, or too many pairs lie in the highest bin.
        """
        same, different = self._both(against)
        matches = np.cumsum(different[::-1])[::-1]  # at or above each lower edge
        fits = np.flatnonzero(matches <= allowed_matches(int(different.sum()), fmr))
        if not len(fits):
            raise DataError(f"no edge of {len(same)} bins has a false match rate of {fmr:g} or less; take more bins")
        at = int(fits[0])
        fnmr = same[:at].sum() / same.sum()
        return OperatingPoint(float(self.lower_edges[at]), float(fnmr), float(matches[at] / different.sum()))

    def accepted(self, kind: str, threshold: float) -> float:
        """Give the share of a kind's pairs in bins whose lower edge is at or above the threshold (IAPAR for ``own_fake``).

        Raises:
            DataError: if the kind is unknown or has no pair.
        """
        if kind not in self.counts or not self.counts[kind].any():
            raise DataError(f"kind: expected one that has pairs, got {kind!r}")
        counts = self.counts[kind]
        return float(counts[self.lower_edges >= threshold].sum() / counts.sum())

    def _both(self, against: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        unknown = set(against) - set(self.counts)
        if unknown or not against:
            raise DataError(
                f"against: expected some of {', '.join(NEGATIVE)}, got {', '.join(map(str, against)) or 'none'}"
            )
        same, different = self.counts["same"], np.sum([self.counts[kind] for kind in against], axis=0)
        if not same.any() or not different.any():
            raise DataError(
                f"expected pairs of same and of {', '.join(against)}, got {same.sum()} and {different.sum()}"
            )
        return same, different


def all_pairs_histogram(
    embeddings: NDArray[Any],
    labels: ArrayLike,
    is_fake: ArrayLike | None = None,
    *,
    block: int = 1024,
    bins: int = 1 << 14,
) -> PairHistogram:
    """Compare all images with all and count the cosines by kind of pair.

    Each pair of two real photos counts once as ``same`` or ``impostor``, each of a real photo and a deepfake once as
    ``own_fake`` or ``other_fake``; two deepfakes are no pair. Memory beyond the embeddings is a few blocks.

    Args:
        embeddings: unit vectors, float32, shape ``(n, d)``.
        labels: who each image shows, whole numbers or names, shape ``(n,)``; a deepfake has its person's label.
        is_fake: whether each image is a deepfake, shape ``(n,)``; None if all are real.
        block: how many images to hold against how many at a time.
        bins: how many equal bins [-1, 1] is split into. Cosines are float32 products, good to about 1e-7; so are the
            bins' edges.

    Returns:
        Counts by kind.

    Raises:
        DataError: if shapes differ, an embedding is not finite or not of length 1, or there are fewer than two images.
        ValueError: if ``block`` or ``bins`` is below 1, or ``bins`` above 65536.

    Example:
        >>> photos = np.float32([[1, 0], [0.6, 0.8], [0, 1], [0.8, 0.6]])
        >>> found = all_pairs_histogram(photos, ["a", "a", "b", "a"], [False, False, False, True], bins=20)
        >>> {kind: found.lower_edges[counts > 0].round(1).tolist() for kind, counts in found.counts.items()}
        {'same': [0.6], 'impostor': [0.0, 0.8], 'own_fake': [0.8, 0.9], 'other_fake': [0.6]}
    """
    if block < 1 or not 1 <= bins <= 1 << 16:
        raise ValueError(f"expected a block of 1 or more and 1 to 65536 bins, got {block} and {bins}")
    vectors, people, fakes = _checked(embeddings, labels, is_fake)
    order = np.argsort(people, kind="stable")
    real, fake = order[~fakes[order]], order[fakes[order]]
    counts = {kind: np.zeros(bins, dtype=np.int64) for kind in KINDS}
    for own, other, right in (("same", "impostor", real), ("own_fake", "other_fake", fake)):
        for rows, columns in _blocks(len(real), len(right), block, right is real):
            first, second = real[rows], right[columns]
            found = _bins_of(vectors[first], vectors[second], bins)  # (r, c)
            upper = right is real and rows == columns
            mine = _count_own(found, people[first], people[second], upper, bins)
            counts[own] += mine
            counts[other] += np.bincount(_flat(found, upper), minlength=bins) - mine
    return PairHistogram(counts)


def _checked(
    embeddings: NDArray[Any], labels: ArrayLike, is_fake: ArrayLike | None
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]:
    vectors = np.asarray(embeddings)
    if vectors.ndim != 2 or len(vectors) < 2 or vectors.dtype.kind != "f":
        raise DataError(
            f"embeddings: expected two or more vectors, shape (n, d), got {vectors.dtype} of {vectors.shape}"
        )
    fakes = np.zeros(len(vectors), dtype=bool) if is_fake is None else np.asarray(is_fake)
    who = np.asarray(labels)
    for name, values in (("labels", who), ("is_fake", fakes)):
        if values.shape != (len(vectors),):
            raise DataError(f"{name}: expected one an embedding, shape ({len(vectors)},), got shape {values.shape}")
    vectors = vectors.astype(np.float32, copy=False)
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    wrong = np.flatnonzero(~(np.abs(lengths - 1) < 1e-3))
    if len(wrong):
        raise DataError(f"embeddings: expected length 1, got {lengths[wrong[0]]:.4g} at position {wrong[0]}")
    return vectors, np.unique(who, return_inverse=True)[1].astype(np.int64), fakes.astype(bool)


def _blocks(rows: int, columns: int, block: int, symmetric: bool) -> Iterator[tuple[slice, slice]]:
    for top in range(0, rows, block):
        for left in range(top if symmetric else 0, columns, block):
            yield slice(top, min(rows, top + block)), slice(left, min(columns, left + block))


def _bins_of(left: NDArray[np.float32], right: NDArray[np.float32], bins: int) -> NDArray[np.intp]:
    """Cosines of all pairs as numbers of their bins, shape ``(r, c)``."""
    half = np.float32(bins / 2)
    similarity = (left * half) @ right.T  # (r, c)
    similarity += half
    np.clip(similarity, 0, bins - 1, out=similarity)
    return similarity.astype(np.intp)


def _flat(found: NDArray[np.intp], upper: bool) -> NDArray[np.intp]:
    return found[np.triu_indices(len(found), 1)] if upper else found.ravel()


def _count_own(
    found: NDArray[np.intp], left: NDArray[np.int64], right: NDArray[np.int64], upper: bool, bins: int
) -> NDArray[np.int64]:
    """Count the pairs of one person in a block whose rows and columns are sorted by person, shape ``(bins,)``."""
    if left[-1] < right[0] or right[-1] < left[0]:
        return np.zeros(bins, dtype=np.int64)
    shared = np.intersect1d(left, right)
    tops, bottoms = np.searchsorted(left, shared, "left"), np.searchsorted(left, shared, "right")
    begins, ends = np.searchsorted(right, shared, "left"), np.searchsorted(right, shared, "right")
    parts = [
        _flat(found[top:bottom, begin:end], upper)
        for top, bottom, begin, end in zip(tops, bottoms, begins, ends, strict=True)
    ]
    return np.bincount(np.concatenate([*parts, np.empty(0, np.intp)]), minlength=bins)
