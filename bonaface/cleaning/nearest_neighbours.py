"""The nearest people of many photos in bounded memory: exact block by block, or an inverted file where that would take long."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["nearest"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

_BLOCK = 1024
_EXACT_PRODUCTS = 2_000_000_000
"""Up to so many dot products are taken one by one: about 20 s at 128 dimensions on one core."""
_MOST_POINTS_PER_CELL = 64
_PROBES = 24


def nearest(
    queries: Floats,
    references: Floats,
    count: int,
    excluded: Ints | None = None,
    advance: Callable[[int], None] | None = None,
    exact: bool | None = None,
) -> tuple[Floats, Ints]:
    """The references that are most alike to each query.

    Above 2e9 pairs, references are sorted into about ``4 sqrt(m)`` cells by k-means and each query looks into the 24 nearest cells
    (faiss' IndexIVFFlat: Jégou, Douze & Schmid 2011, "Product quantization for nearest neighbor search", without the
    quantisation), so that the time grows as ``n sqrt(m)``. A few of the nearest are missed then: of 50,000 points without
    any structure in 128 dimensions, which is the worst case, 6 % of those at a cosine of 0.79 and 21 % at 0.67.

    Args:
        queries: unit vectors, shape ``(n, d)``, float32.
        references: unit vectors, shape ``(m, d)``, float32.
        count: how many are wanted.
        excluded: one reference that each query shall not find (its own), -1 for none, shape ``(n,)``.
        advance: called with the number of queries that have been looked up since.
        exact: whether to compare all with all; None decides by the number of pairs.

    Returns:
        Cosines, highest first, and the references' positions, both ``(n, count)``; -2 and -1 where there are fewer.

    Example:
        >>> people = np.float32([[1, 0], [0, 1], [0.6, 0.8]])
        >>> cosines, found = nearest(people, people, 1, excluded=np.arange(3))
        >>> cosines.astype(float).ravel().round(1).tolist(), found.ravel().tolist()
        ([0.6, 0.8, 0.8], [2, 2, 1])
    """
    own = np.full(len(queries), -1) if excluded is None else excluded
    cosines = np.full((len(queries), count), -2, np.float32)
    found = np.full((len(queries), count), -1, np.int64)
    if not len(references):
        return cosines, found
    if exact is None:
        exact = len(queries) * len(references) <= _EXACT_PRODUCTS
    look_up = _exact(references) if exact else _inverted_file(references)
    for start in range(0, len(queries), _BLOCK):
        part = slice(start, start + _BLOCK)
        cosines[part], found[part] = look_up(queries[part], own[part], count)
        if advance is not None:
            advance(len(queries[part]))
    return cosines, found


Lookup = Callable[[Floats, Ints, int], tuple[Floats, Ints]]


def _exact(references: Floats) -> Lookup:
    def look_up(queries: Floats, own: Ints, count: int) -> tuple[Floats, Ints]:
        similarity = queries @ references.T  # (q, m)
        rows = np.flatnonzero(own >= 0)
        similarity[rows, own[rows]] = -2
        kept = min(count, similarity.shape[1])
        best = np.argpartition(similarity, -kept, axis=1)[:, -kept:]  # (q, kept)
        return _ordered(np.take_along_axis(similarity, best, axis=1), best, count)

    return look_up


def _inverted_file(references: Floats) -> Lookup:
    import faiss  # costs 0.2 s and is needed for large sets only

    cells = int(4 * np.sqrt(len(references)))
    index = faiss.IndexIVFFlat(
        faiss.IndexFlatIP(references.shape[1]), references.shape[1], cells, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.max_points_per_centroid = _MOST_POINTS_PER_CELL
    index.cp.min_points_per_centroid = 1
    index.cp.seed = 0
    index.nprobe = _PROBES
    index.train(references)
    index.add(references)

    def look_up(queries: Floats, own: Ints, count: int) -> tuple[Floats, Ints]:
        cosines, found = index.search(np.ascontiguousarray(queries), count + 1)
        cosines = np.where((found == own[:, None]) | (found < 0), -2, cosines)
        return _ordered(cosines, found, count)

    return look_up


def _ordered(cosines: Floats, found: NDArray[np.intp], count: int) -> tuple[Floats, Ints]:
    """Highest first, ``count`` of them, with -1 for what isn't there."""
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    cosines, found = np.take_along_axis(cosines, order, axis=1), np.take_along_axis(found, order, axis=1)
    found = np.where(cosines > -2, found, -1)
    lacking = ((0, 0), (0, count - found.shape[1]))
    return np.pad(cosines, lacking, constant_values=-2), np.pad(found, lacking, constant_values=-1)
