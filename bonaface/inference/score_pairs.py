"""A folder of pairs to a submission.csv, every pair once, in the order of the folders' names."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from bonaface.data.pairs import PairTable
from bonaface.errors import DataError
from bonaface.inference.embedder import Embedder
from bonaface.io import atomic_write
from bonaface.verification.embeddings import Embeddings
from bonaface.verification.scoring import similarity

__all__ = ["ScoredPairs", "score_pairs", "write_submission"]


@dataclass(frozen=True)
class ScoredPairs:
    """Similarities of pairs.

    Args:
        pairs: what was scored.
        similarity: finite, in the order of the pairs, shape ``(n,)``.
        faults: why an image could not be read, by its path relative to the folder.
        spoiled: pairs that got the lowest similarity because of it, shape ``(n,)``, bool.
        log_odds: of being genuine, of both images of each pair, NaN where one can't be read, shape ``(n, 2)``; None where
            the model does not judge it.
        faceless: images in which the detector found no face, relative to the folder, sorted; None where the model aligns no faces.
    """

    pairs: PairTable
    similarity: NDArray[np.float64]
    faults: dict[str, str]
    spoiled: NDArray[np.bool_]
    log_odds: NDArray[np.float64] | None
    faceless: list[str] | None = None


def score_pairs(embedder: Embedder, pairs: PairTable, progress: Progress | None = None) -> ScoredPairs:
    """Similarity of every pair; each distinct image is embedded once."""
    files = [*pairs.path_0, *pairs.path_1]
    embedded = embedder.embed([pairs.root / file for file in files], progress)
    place = embedded.place.reshape(2, len(pairs))  # (2, n)
    spoiled = np.asarray((place < 0).any(axis=0))  # (n,)
    scores = np.full(len(pairs), -1.0)
    good = np.flatnonzero(~spoiled)
    if len(good):
        a, b = (embedded.distinct.take(side[good]) for side in place)
        scores[good] = similarity(a, b, embedder.calibration)
        scores[spoiled] = min(-1.0, scores[good].min())
    if not np.isfinite(scores).all():
        raise DataError(
            f"{embedder.name}: {np.count_nonzero(~np.isfinite(scores))} similarities are not finite; the model is damaged"
        )
    faults = {files[row]: why for row, why in embedded.faults.items()}
    faceless = None if embedded.faceless is None else sorted({files[row] for row in embedded.faceless})
    return ScoredPairs(pairs, scores, faults, spoiled, _log_odds(embedded.distinct, place), faceless)


def _log_odds(photos: Embeddings, place: NDArray[np.int64]) -> NDArray[np.float64] | None:
    if photos.authenticity is None:
        return None
    known = np.append(photos.authenticity.astype(np.float64), np.nan)
    return known[place].T  # (n, 2)


def write_submission(scored: ScoredPairs, out: Path) -> None:
    """Writes pair_id,similarity.

    Raises:
        DataError: if the file can't be written; nothing is left of it then.
    """
    with atomic_write(out, private=True) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator=os.linesep)
        table.writerow(("pair_id", "similarity"))
        rows = zip(scored.pairs.pair_id, scored.similarity.tolist(), strict=True)
        table.writerows((pair_id, f"{similarity:.9g}") for pair_id, similarity in rows)
