"""Graph construction: photos of a folder linked by similarity, and the components that may be the folder's person."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

__all__ = ["Components", "linked_components", "sums", "unit"]

Vectors = NDArray[np.float32]
Ints = NDArray[np.int64]

_LARGE_FOLDER = 2000
"""Above so many photos a folder's graph is not built: its core is what lies around its mean."""


@dataclass(frozen=True)
class Components:
    """Connected components of photos sorted by person.

    Args:
        label: number of the component of each photo, shape ``(n,)``.
        candidate: whether the photo's component may be the folder's person: no other has two photos more.
        contested: whether several components may be, by person.
    """

    label: Ints
    candidate: NDArray[np.bool_]
    contested: NDArray[np.bool_]


def linked_components(vectors: Vectors, starts: Ints, linked: float) -> Components:
    """Link the photos of each person that are more alike than ``linked``.

    Args:
        vectors: unit vectors, sorted by person, shape ``(n, d)``.
        starts: where each person's photos begin, and ``n``: shape ``(people + 1,)``.
        linked: cosine.

    Example:
        >>> photos = np.float32([[1, 0], [1, 0], [0, 1], [1, 0], [0, 1]])
        >>> found = linked_components(photos, np.array([0, 3, 5]), 0.5)
        >>> found.label.tolist(), found.candidate.tolist(), found.contested.tolist()
        ([0, 0, 1, 2, 3], [True, True, True, True, True], [True, True])
    """
    n = len(vectors)
    links = [_links(vectors[start:end], linked) + start for start, end in pairwise(starts)]
    a, b = np.concatenate([*links, np.zeros((2, 0), np.int64)], axis=1)
    graph = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(n, n))
    label = connected_components(graph, directed=False)[1].astype(np.int64) if n else np.zeros(0, np.int64)
    person = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    size = np.bincount(label, minlength=1)[label]
    largest = np.zeros(len(starts) - 1, np.int64)
    np.maximum.at(largest, person, size)
    candidate = size >= largest[person] - 1
    owners = person[candidate][np.unique(label[candidate], return_index=True)[1]]
    return Components(label, candidate, np.bincount(owners, minlength=len(starts) - 1) > 1)


def _links(vectors: Vectors, linked: float) -> Ints:
    """Pairs of photos, shape ``(2, k)``."""
    if len(vectors) > _LARGE_FOLDER:
        core = np.flatnonzero(vectors @ unit(vectors.sum(axis=0)) > linked)
        return np.stack([core[:-1], core[1:]])
    return np.stack(np.nonzero(np.triu(vectors @ vectors.T > linked, 1)))


def sums(vectors: Vectors, group: Ints, groups: int) -> Vectors:
    """Sum the vectors of each group, shape ``(groups, d)``; ``group`` may come in any order."""
    order = np.argsort(group, kind="stable")
    total = np.zeros((groups, vectors.shape[1]), np.float32)
    present, first = np.unique(group[order], return_index=True)
    if len(present):
        total[present] = np.add.reduceat(vectors[order], first, axis=0)
    return total


def unit(vectors: Vectors) -> Vectors:
    """Scale vectors to length 1; zero stays zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Vectors = vectors / np.maximum(length, 1e-9)
    return scaled
