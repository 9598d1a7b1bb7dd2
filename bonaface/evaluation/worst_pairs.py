"""The pairs that a model gets most wrong, as small images inside the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.data.pairs import PairTable
from bonaface.images.thumbnails import thumbnail

__all__ = ["worst_pairs", "worst_rows"]


def worst_rows(similarity: NDArray[np.float64], mask: NDArray[np.bool_], mated: bool, count: int) -> NDArray[np.int64]:
    """Rows of the pairs of one kind that are furthest on the wrong side, worst first; ties in the order of the pairs.

    Args:
        similarity: shape ``(n,)``.
        mask: the kind's pairs, shape ``(n,)``.
        mated: whether high similarities are right for them.
        count: how many at most.

    Example:
        >>> worst_rows(np.array([0.9, 0.2, 0.5]), np.array([True, True, False]), True, 1).tolist()
        [1]
    """
    rows = np.flatnonzero(mask)
    key = similarity[rows] if mated else -similarity[rows]
    return rows[np.argsort(key, kind="stable")[:count]]


def worst_pairs(
    similarity: NDArray[np.float64],
    pairs: PairTable,
    labels: pd.DataFrame,
    groups: Mapping[str, NDArray[np.bool_]],
    count: int = 24,
) -> dict[str, list[dict[str, Any]]]:
    """The worst pairs of each kind.

    Args:
        similarity: shape ``(n,)``.
        pairs: with the paths of their images.
        labels: in the same order; methods of forgery are shown where they are known.
        groups: masks of shape ``(n,)``.
        count: how many of each kind.

    Returns:
        By kind: ``pair_id``, ``similarity``, ``images`` (two data URIs), ``methods`` (two texts).
    """
    made: dict[str, list[dict[str, Any]]] = {}
    for kind, mask in groups.items():
        made[kind] = []
        for row in worst_rows(similarity, mask, kind == "same", count):
            pair = pairs.frame.iloc[row]
            methods = [str(labels[name].iloc[row]) if name in labels else "" for name in ("method_0", "method_1")]
            made[kind].append(
                {
                    "pair_id": str(pair["pair_id"]),
                    "similarity": float(similarity[row]),
                    "images": [thumbnail(pairs.root / pair[side]) for side in ("path_0", "path_1")],
                    "methods": ["" if method == "real" else method for method in methods],
                }
            )
    return made
