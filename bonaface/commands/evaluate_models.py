"""What ``bonaface evaluate --model`` judges: what each model says of the pairs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.progress import Progress

from bonaface.faces.pairs import PairTable
from bonaface.serving.runtime import Embedded, Embedder, load_embedder
from bonaface.serving.submission import score_pairs
from bonaface.verification.inputs import faceless_pictures, read_judged, stored_validation, validation_of_pairs
from bonaface.verification.pair_scores import PairScores, told_apart

__all__ = ["load_embedders", "scores_of_models"]

Labelled = tuple[PairTable, pd.DataFrame]


class _KeepingEmbedder(Embedder):
    """An embedder that keeps what it said last."""

    said: Embedded

    def embed(self, paths: Sequence[Path], progress: Progress | None = None, threads: int = 2) -> Embedded:
        """As ``Embedder.embed``."""
        self.said = super().embed(paths, progress, threads)
        return self.said


def load_embedders(options: argparse.Namespace) -> list[Embedder]:
    """The networks that ``--model`` names, with names that differ."""
    loaded = [load_embedder(model, options.detector, options.device) for model in options.model]
    names = told_apart([each.name for each in loaded])
    return [
        Embedder(each.model, each.prepare, each.calibration, name, each.device)
        for each, name in zip(loaded, names, strict=True)
    ]


def scores_of_models(
    embedders: Sequence[Embedder], options: argparse.Namespace, pairs: PairTable, progress: Progress
) -> list[PairScores]:
    """What the models say of the pairs, with thresholds from ``--val-pairs`` or from the run's folder."""
    validation = read_judged(options.val_pairs, options.val_labels) if options.val_pairs is not None else None
    return [
        _score(embedder, model, pairs, validation, options, progress)
        for embedder, model in zip(embedders, options.model, strict=True)
    ]


def _score(
    embedder: Embedder,
    model: str,
    pairs: PairTable,
    validation: Labelled | None,
    options: argparse.Namespace,
    progress: Progress,
) -> PairScores:
    found = stored_validation(Path(model)) if Path(model).is_dir() else None
    source = f"the validation photos of the run {model}"
    if validation is not None:
        other = score_pairs(embedder, validation[0], progress)
        found = validation_of_pairs(other.similarity, validation[1], options.seed)
        source = f"other pairs: {options.val_labels or options.val_pairs}"
    keeping = _KeepingEmbedder(embedder.model, embedder.prepare, embedder.calibration, embedder.name, embedder.device)
    scored = score_pairs(keeping, pairs, progress)
    return PairScores(
        embedder.name,
        model,
        scored.similarity,
        found,
        source,
        scored.faults,
        int(scored.spoiled.sum()),
        _faceless(embedder, pairs, progress),
        _authenticity(keeping.said, len(pairs)),
    )


def _faceless(embedder: Embedder, pairs: PairTable, progress: Progress) -> list[str] | None:
    aligner = embedder.prepare.aligner
    if "aligned" not in embedder.prepare.kinds or aligner.detector is None:
        return None
    return faceless_pictures(aligner, pairs.root, [*pairs.frame["path_0"], *pairs.frame["path_1"]], progress)


def _authenticity(said: Embedded, pairs: int) -> NDArray[np.float64] | None:
    """Log-odds of each picture, shape ``(n, 2)``; NaN where it can't be read."""
    if said.distinct.authenticity is None:
        return None
    odds = np.append(said.distinct.authenticity.astype(np.float64), np.nan)
    return odds[said.place].reshape(2, pairs).T
