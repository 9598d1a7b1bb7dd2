"""Scores of pairs by models: a run, an exported file or an ONNX face network."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.progress import Progress

from bonaface.data.pairs import PairTable
from bonaface.evaluation.inputs import validation_of_pairs
from bonaface.evaluation.scores import PairScores, told_apart
from bonaface.inference.embedder import Embedder, open_embedder, refuse_unused
from bonaface.inference.score_pairs import score_pairs

__all__ = ["load_models", "score_models"]


def load_models(
    models: Sequence[Path | str | None], detector: Path | None = None, device: str = "auto"
) -> list[Embedder]:
    """Load models, and give them names that differ; a detector is for those of them that bring none.

    Raises:
        ModelError, ConfigError: as ``load_embedder`` does.
    """
    loaded = [open_embedder(None if each is None else str(each), detector, device) for each in models]
    refuse_unused(detector, loaded)
    names = _names([each.name for each in loaded], models)
    return [dataclasses.replace(each, name=name) for each, name in zip(loaded, names, strict=True)]


def _names(names: Sequence[str], models: Sequence[Path | str | None]) -> list[str]:
    """Names of models; of those that are called the same, as an exported model and its calibrated files are, those of the files.

    Example:
        >>> _names(["bonaface", "bonaface", "run"], [None, "a/mine.onnx", "runs/run"])
        ['bonaface', 'mine.onnx', 'run']
        >>> _names(["m", "m"], ["a/m.onnx", "b/m.onnx"]), _names(["m", "m"], ["a/m.onnx", "a/m.onnx"])
        (['a/m.onnx', 'b/m.onnx'], ['m.onnx', 'm.onnx (2)'])
    """
    files = [
        name if model is None or names.count(name) == 1 else Path(model).name
        for name, model in zip(names, models, strict=True)
    ]
    paths = [
        file if model is None or files.count(file) == 1 else str(model)
        for file, model in zip(files, models, strict=True)
    ]
    return told_apart(paths if len(set(paths)) > len(set(files)) else files)


def score_models(
    embedders: Sequence[Embedder],
    models: Sequence[Path | str | None],
    pairs: PairTable,
    validation: tuple[PairTable, pd.DataFrame] | None,
    validation_source: str,
    fmrs: Sequence[float],
    seed: int,
    progress: Progress,
) -> list[PairScores]:
    """Score pairs by each model, with thresholds from validation pairs or from the model itself.

    Args:
        embedders: the models.
        models: what each was loaded from.
        pairs: to be judged.
        validation: other pairs with their labels that thresholds and calibration come from, in place of what the models store.
        validation_source: what the report says of where they are from.
        fmrs: false match rates of those thresholds.
        seed: of their bootstrap.
        progress: shows how far it is.
    """
    made = []
    for embedder, model in zip(embedders, models, strict=True):
        found, whence = embedder.validation, f"the validation photos of {model or embedder.name}"
        if validation is not None:
            other, labels = validation
            found = validation_of_pairs(score_pairs(embedder, other, progress).similarity, labels, seed, fmrs)
            whence = validation_source
        scored = score_pairs(embedder, pairs, progress)
        made.append(
            PairScores(
                embedder.name,
                str(model or "the model that comes with bonaface"),
                scored.similarity,
                found,
                whence,
                unreadable=scored.faults,
                spoiled=scored.spoiled,
                faceless=scored.faceless,
                authenticity=_calibrated(embedder, scored.log_odds),
                forged_below=embedder.calibration.forged_below if embedder.calibration else 0.0,
            )
        )
    return made


def _calibrated(embedder: Embedder, log_odds: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """Log-odds of which 0 means as likely genuine as not, at equal priors."""
    calibration = embedder.calibration
    if log_odds is None or calibration is None or calibration.genuine is None:
        return log_odds
    return calibration.genuine.log_odds(log_odds)
