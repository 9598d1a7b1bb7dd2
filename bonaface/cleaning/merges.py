"""Folders that show one and the same person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from bonaface.cleaning.nearest_neighbours import nearest
from bonaface.cleaning.similarity_model import SimilarityModel
from bonaface.data.issues import COLUMNS
from bonaface.data.table import FaceTable

__all__ = ["MergeTargets", "merge_targets"]

_NEIGHBOURS = 4
_RARITY = 3.0
"""Log-odds, beside the number of people, against a folder's having a twin."""
_LEAST_ODDS = 3.0


@dataclass(frozen=True)
class MergeTargets:
    """For each person, who it is.

    Args:
        person: number of the person to merge with; its own where there is none, shape ``(people,)``.
        similarity: mean cosine of a photo of one with a photo of the other; NaN where there is none.
        typical: the same within one person.
        confidence: probability that they are one person.
    """

    person: NDArray[np.int64]
    similarity: NDArray[np.float64]
    typical: float
    confidence: NDArray[np.float64]

    def listed(self, table: FaceTable, names: NDArray[np.object_]) -> pd.DataFrame:
        """One row for every photo of the people that merge with another.

        Args:
            table: photos.
            names: of the numbered people, sorted.
        """
        number = np.searchsorted(names, table.frame["person"].to_numpy(dtype=object))
        merged = np.flatnonzero(self.person[number] != number)
        paths = table.frame["path"].to_numpy(dtype=object)
        rows = []
        for row in merged:
            who = number[row]
            target = names[self.person[who]]
            said = f"photos of {names[who]} and {target} are {self.similarity[who]:.2f} alike (one person's: {self.typical:.2f})"
            rows.append((paths[row], "merge", said, f"merge with person {target}", float(self.confidence[who])))
        return pd.DataFrame(rows, columns=COLUMNS)


def merge_targets(cores: NDArray[np.float32], sizes: NDArray[np.int64], model: SimilarityModel) -> MergeTargets:
    """Find people whose cores are as alike as one person's photos.

    The mean cosine of their photos is weighed as one cosine of two photos would be, against the chance that among so many people
    two are that alike. Whole groups merge with the largest of them.

    Args:
        cores: unit means, shape ``(people, d)``.
        sizes: number of photos in each; people with none are left alone.
        model: of one person's photos and of two people's.

    Example:
        >>> cores = np.float32([[1, 0, 0], [0, 1, 0], [1, 0, 0]])
        >>> model = SimilarityModel(0.6, 0.1, 0.0, 0.01, 0.0, 0.1)
        >>> merge_targets(cores, np.array([2, 5, 9]), model).person.tolist()
        [2, 1, 2]
    """
    people = len(sizes)
    rows = np.flatnonzero(sizes > 0)
    cosine, place = nearest(cores[rows], cores[rows], _NEIGHBOURS, np.arange(len(rows)))  # (r, 4)
    length = np.sqrt(model.mean + (1 - model.mean) / np.maximum(sizes[rows], 1))
    similarity = np.where(place >= 0, cosine * length[:, None] * length[place], -1.0)
    against = min(np.log(max(people, 1)) + _RARITY, model.highest - _LEAST_ODDS)
    odds = model.log_ratio(similarity, 1) - against
    a, k = np.nonzero((odds > 0) & (place >= 0))
    first, second = rows[a], rows[place[a, k]]
    graph = coo_array((np.ones(len(a), np.int8), (first, second)), shape=(people, people))
    group = connected_components(graph, directed=False)[1] if people else np.zeros(0, np.int64)
    by_size = np.lexsort((np.arange(people), -sizes, group))
    _, start, place_in = np.unique(group[by_size], return_index=True, return_inverse=True)
    person = np.empty(people, np.int64)
    person[by_size] = by_size[start[place_in]]
    best, confidence = np.full(people, np.nan), np.zeros(people)
    best[first[::-1]] = similarity[a, k][::-1]
    np.maximum.at(confidence, first, expit(odds[a, k]))
    return MergeTargets(person, best, model.mean, confidence)
