"""One run of a row, from its settings to a record of what came of it: trained, judged on the test pairs, timed."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.console import Console

from bonaface.config_io import settings_by_name
from bonaface.errors import BonafaceError, DataError
from bonaface.experiments.judged_pairs import read_test
from bonaface.experiments.records import Record, read_record, write_record
from bonaface.experiments.spec import TestPairs, Trial
from bonaface.inference.embedder import Embedder, load_embedder
from bonaface.inference.score_pairs import score_pairs, write_submission
from bonaface.metrics import eers_by_kind
from bonaface.tracking.callbacks import send_figures
from bonaface.tracking.provenance import machine, source_commit
from bonaface.training.train import train

__all__ = ["measure_inference", "refuse_missing", "run_trial"]

_BATCH, _REPEATS = 32, 5
_LOG_WIDTH = 160


def run_trial(trial: Trial, test: TestPairs | None, threads: int | None = None) -> Record:
    """Run a trial, or resume it where it was stopped; its record is written whatever happens.

    Args:
        trial: what to run.
        test: pairs that the trained model is judged on.
        threads: that torch computes with; its own choice where it is None.

    Returns:
        ``status`` ``done`` with ``val``, ``test`` (by kind, or None), ``judged_on`` (digest of the test pairs, or None),
        ``best_step``, ``cost``, ``images_per_second``; or ``failed`` with ``error``, of which the trial's log says more.
        With both, where and when.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    trial.log.parent.mkdir(parents=True, exist_ok=True)
    with trial.log.open("a", encoding="utf-8") as log:
        console = Console(file=log, width=_LOG_WIDTH, log_path=False)
        console.log(trial.name)
        try:
            record: Record = {"status": "done"} | _figures(trial, test, console)
        except Exception as error:  # one row must not end the others
            told = str(error) if isinstance(error, BonafaceError) else f"{type(error).__name__}: {error}"
            console.print_exception()
            record = {"status": "failed", "error": " ".join(told.split())}
    record |= {"commit": source_commit(), "machine": machine(), "ended": time.strftime("%Y-%m-%d %H:%M:%S %z")}
    write_record(trial, record)
    return record


def measure_inference(trial: Trial, threads: int | None = None) -> Record:
    """Time the network of a trial that has ended well, and put ``inference_ms`` into its record.

    Nothing else may run meanwhile: beside other trials one network takes up to ten times as long as alone.

    Args:
        trial: that has ended well.
        threads: that torch computes with; its own choice where it is None.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    embedder = load_embedder(str(trial.folder), device=trial.config.device)
    milliseconds = _inference_ms(embedder, trial.config.faces.crop_size)
    record = (read_record(trial) or {}) | {"inference_ms": milliseconds}
    write_record(trial, record)
    with trial.log.open("a", encoding="utf-8") as log:
        console = Console(file=log, width=_LOG_WIDTH, log_path=False)
        send_figures(
            trial.config.tracking, settings_by_name(trial.config), trial.folder, {"inference_ms": milliseconds}, console
        )
    return record


def _figures(trial: Trial, test: TestPairs | None, console: Console) -> Record:
    if not (trial.folder / "metrics.json").exists():
        train(trial.config, console, resume=(trial.folder / "config.yaml").exists())
    metrics = json.loads((trial.folder / "metrics.json").read_text(encoding="utf-8"))
    embedder = load_embedder(str(trial.folder), device=trial.config.device)
    judged, judged_on = (None, None) if test is None else _on_test(trial, embedder, test)
    later = {f"test_{name}": value for name, value in (judged or {}).items()}
    send_figures(trial.config.tracking, settings_by_name(trial.config), trial.folder, later, console)
    return {
        "val": metrics["val"],
        "test": judged,
        "judged_on": judged_on,
        "best_step": metrics["best_step"],
        "cost": metrics["cost"],
        "images_per_second": _speed(trial),
    }


def _speed(trial: Trial) -> float | None:
    """Images a second in training: the median over its rounds; None where there was none."""
    history = trial.folder / "metrics.csv"
    if not history.exists():
        return None
    speed = float(pd.read_csv(history)["images_per_second"][1:].median())
    return None if np.isnan(speed) else speed


def _on_test(trial: Trial, embedder: Embedder, test: TestPairs) -> tuple[dict[str, float] | None, str]:
    """Equal error rates on the test pairs, and the digest of these.

    The scores become a submission.csv; without labels there are no rates.
    """
    judged = read_test(test)
    digest, labels = judged.digest, judged.labels
    scored = score_pairs(embedder, judged.pairs)
    write_submission(scored, trial.folder / "submission.csv")
    if labels is None:
        return None, digest
    kind = labels["kind"].to_numpy(dtype=str) if "kind" in labels else None
    return eers_by_kind(scored.similarity, labels["label"].to_numpy(), kind), digest


def refuse_missing(trials: Sequence[Trial]) -> None:
    """Refuse trials whose images are not there, before any of them is trained.

    Raises:
        DataError: naming what is missing.
    """
    for trial in trials:
        for where, issues in trial.config.faces.sources:
            for setting, named in (("train", where), ("issues", issues)):
                if named is not None and not (named and Path(named).exists()):
                    told = f"{named}: no such file or folder" if named else "none is named"
                    raise DataError(f'row "{trial.row.name}": faces.{setting}: {told}')


def _inference_ms(embedder: Embedder, side: int) -> float:
    """Milliseconds in which a decoded image becomes an embedding, 32 at once: the fastest of five."""
    images = list(np.random.default_rng(0).integers(0, 256, (_BATCH, side, side, 3), dtype=np.uint8))
    embedder.embed_images(images)
    times = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        embedder.embed_images(images)
        times.append(time.perf_counter() - started)
    return 1000 * min(times) / _BATCH
