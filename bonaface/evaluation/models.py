"""What ``bonaface evaluate --model`` judges: what each model says of the pairs."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.progress import Progress

from bonaface.data.pairs import PairTable
from bonaface.evaluation.inputs import faceless_images, read_judged, validation_of_pairs
from bonaface.evaluation.robustness import Subject
from bonaface.evaluation.scores import PairScores, told_apart
from bonaface.inference.backends.torch import as_torch
from bonaface.inference.embedder import Embedder, load_embedder
from bonaface.inference.score_pairs import score_pairs

__all__ = ["load_embedders", "scores_of_models", "subject_of"]

Labelled = tuple[PairTable, pd.DataFrame]


def load_embedders(options: argparse.Namespace) -> list[Embedder]:
    """The networks that ``--model`` names, with names that differ."""
    loaded = [load_embedder(model, options.detector, options.device) for model in options.model]
    names = told_apart([each.name for each in loaded])
    return [dataclasses.replace(each, name=name) for each, name in zip(loaded, names, strict=True)]


def subject_of(embedder: Embedder) -> Subject:
    """What the robustness card needs of a model."""
    network = as_torch(embedder.network)
    return Subject(
        embedder.embed_images, embedder.calibration, None if network is None else network.model, embedder.preprocess
    )


def scores_of_models(
    embedders: Sequence[Embedder], options: argparse.Namespace, pairs: PairTable, progress: Progress
) -> list[PairScores]:
    """What the models say of the pairs, with thresholds from ``--val-pairs`` or from the model itself."""
    validation = read_judged(options.val_pairs, options.val_labels) if options.val_pairs is not None else None
    return [
        _score(embedder, model, pairs, validation, options, progress)
        for embedder, model in zip(embedders, options.model, strict=True)
    ]


def _score(
    embedder: Embedder,
    model: str | None,
    pairs: PairTable,
    validation: Labelled | None,
    options: argparse.Namespace,
    progress: Progress,
) -> PairScores:
    found, source = embedder.validation, f"the validation photos of {model or embedder.name}"
    if validation is not None:
        other = score_pairs(embedder, validation[0], progress)
        found = validation_of_pairs(other.similarity, validation[1], options.seed)
        source = f"other pairs: {options.val_labels or options.val_pairs}"
    scored = score_pairs(embedder, pairs, progress)
    return PairScores(
        embedder.name,
        model or "the model that comes with bonaface",
        scored.similarity,
        found,
        source,
        scored.faults,
        int(scored.spoiled.sum()),
        _faceless(embedder, pairs, progress),
        _calibrated(embedder, scored.log_odds),
        embedder.calibration.forged_below if embedder.calibration else 0.0,
    )


def _calibrated(embedder: Embedder, log_odds: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """Log-odds of which 0 means as likely genuine as not, at equal priors."""
    calibration = embedder.calibration
    if log_odds is None or calibration is None or calibration.genuine is None:
        return log_odds
    return calibration.genuine.log_odds(log_odds)


def _faceless(embedder: Embedder, pairs: PairTable, progress: Progress) -> list[str] | None:
    aligner = embedder.preprocess.aligner
    if "aligned" not in embedder.preprocess.kinds or aligner.detector is None:
        return None
    return faceless_images(aligner, pairs.root, [*pairs.frame["path_0"], *pairs.frame["path_1"]], progress)
