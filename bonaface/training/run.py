"""A run's folder: made, filled by training, read back.

config.yaml       every setting: it alone repeats the run
files/            ONNX networks and the detector that the run was built from, so that the folder can be moved
faults.csv        images that were left out, and why
best.ckpt         weights with the lowest validation EER
last.ckpt         all that --resume needs
metrics.csv       one row a validation
precision.json    what training on a CPU computes in, as measured at its start
metrics.json      the best weights' figures on the validation pairs
calibration.json  scores to probabilities, and thresholds by false match rate, from the validation pairs
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.progress import Progress

from bonaface import __version__
from bonaface.config import TrainConfig, load_config, save_config
from bonaface.errors import ConfigError, ModelError
from bonaface.io import atomic_write
from bonaface.models.face_model import FaceModel, build_model
from bonaface.training.cost import Cost, peak_memory
from bonaface.training.datamodule import TrainingFaces, clean_faces, prepare
from bonaface.training.distributed import ALONE, Ranks
from bonaface.training.initialisation import beginning, weights_of, with_weights
from bonaface.training.module import FaceTraining, val_embeddings
from bonaface.training.run_files import keep_files, refuse_equal_names
from bonaface.training.tracking import check_tracking, tracked
from bonaface.training.trainer import fit
from bonaface.verification.calibration import Calibration
from bonaface.verification.calibration_file import read_calibration, write_calibration
from bonaface.verification.threshold_fitting import validation_of
from bonaface.verification.thresholds import Validation

__all__ = ["Run", "keep_untrained", "load_run", "train"]


@dataclass(frozen=True)
class Run:
    """A trained model with what belongs to it.

    Args:
        folder: the run's folder.
        config: its settings.
        model: its best weights, in evaluation mode.
        calibration: None where the run was interrupted before its end.
        validation: its thresholds; None where it was interrupted.
    """

    folder: Path
    config: TrainConfig
    model: FaceModel
    calibration: Calibration | None
    validation: Validation | None

    @property
    def detector(self) -> Path | None:
        """The run's own copy of the face detector."""
        return self.folder / "files" / Path(self.config.faces.detector).name if self.config.faces.detector else None


def train(config: TrainConfig, console: Console, resume: bool = False) -> Path:
    """Trains a model and writes its run folder.

    Args:
        config: every setting.
        console: where progress is shown.
        resume: go on from the folder's last.ckpt, or from the start where there is none yet.

    Returns:
        The run's folder.

    Raises:
        ConfigError, DataError, ModelError: one sentence each; nothing is written before the settings make sense.
    """
    ranks = Ranks.of_launch()
    run = Path(config.out) / config.name
    if ranks.leads:
        _refuse_other_run(run, config, resume)
    else:
        console = Console(quiet=True)
    if config.steps == 0:
        return keep_untrained(config, console) if ranks.leads else run
    model, faces, faults = _prepared(config, run, ranks, console)
    if not ranks.leads:
        fit(model, faces, config, run, resume, console, ranks)
        return run
    cost = Cost()
    with _kept_if_trained(run):
        _write_beginning(config, run, faults)
        with tracked(config, run, console) as recording:
            training = fit(model, faces, config, run, resume, console, ranks, [cost, *recording])
            _finish(run, training, faces, config, cost.figures())
    return run


def keep_untrained(config: TrainConfig, console: Console) -> Path:
    """Makes a run of a network as it comes: nothing is trained, and its folder is like any other's.

    Args:
        config: every setting; those of training are not used.
        console: where progress is shown.

    Returns:
        The run's folder.

    Raises:
        ConfigError, DataError, ModelError: as ``train``.
    """
    run = Path(config.out) / config.name
    _refuse_other_run(run, config, resume=True)
    started = time.monotonic()
    model, faces, faults = _prepared(config, run, ALONE, console)
    with _kept_if_trained(run):
        _write_beginning(config, run, faults)
        with tracked(config, run, console):
            with atomic_write(run / "best.ckpt") as temporary:
                torch.save(
                    {"state_dict": {f"model.{name}": value for name, value in model.state_dict().items()}}, temporary
                )
            figures = _judge(run, model, faces, config)
            peak, whose = peak_memory("cpu")
            spent = {"seconds": time.monotonic() - started, "peak_memory_bytes": peak, "memory_of": whose}
            _write_metrics(
                run, config, faces, figures | {"untrained": figures["val"], "best_step": 0, "steps": 0, "cost": spent}
            )
    return run


def _prepared(
    config: TrainConfig, run: Path, ranks: Ranks, console: Console
) -> tuple[FaceModel, TrainingFaces, pd.DataFrame]:
    """The model, what it is trained on, and the faults of the images; refuses all that can be seen to be wrong."""
    refuse_equal_names(config)
    if ranks.leads:
        check_tracking(config.tracking)
    L.seed_everything(config.seed, workers=True, verbose=False)
    model = beginning(config, run)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        tables, faults = clean_faces(config, console, progress)
        faces = prepare(config, tables, model, console, progress)
        faces.sampler(config.batch, config.seed, ranks)  # refuses a batch that the people don't suffice for
    return model, faces, faults


def _write_beginning(config: TrainConfig, run: Path, faults: pd.DataFrame) -> None:
    keep_files(config, run / "files")
    with atomic_write(run / "config.yaml") as temporary:
        save_config(config, temporary)
    with atomic_write(run / "faults.csv") as temporary:
        faults.to_csv(temporary, index=False)


@contextmanager
def _kept_if_trained(run: Path) -> Iterator[None]:
    """Takes a new run's folder away where an error came before the first checkpoint, so that the same command can be repeated."""
    is_new = not run.exists()
    try:
        yield
    except Exception:
        if is_new and not (run / "last.ckpt").exists():
            shutil.rmtree(run, ignore_errors=True)
        raise


def _refuse_other_run(run: Path, config: TrainConfig, resume: bool) -> None:
    if not (run / "config.yaml").exists():
        holds = next(run.iterdir(), None) if run.is_dir() else None
        if holds is not None:
            raise ConfigError(f"{run}: holds {holds.name} and no run: choose another --name")
        return
    if not resume:
        raise ConfigError(f"{run}: a run of this name exists: go on with it by --resume, or choose another --name")
    saved = _settings_of(run)
    if replace(saved, tracking=config.tracking) != config:
        names = [each.name for each in fields(config) if each.name != "tracking"]
        other = ", ".join(name for name in names if getattr(saved, name) != getattr(config, name))
        raise ConfigError(
            f"{run}: was made with other settings ({other}): go on with it by --config {run / 'config.yaml'} --resume, "
            "or choose another --name"
        )


def _settings_of(run: Path) -> TrainConfig:
    try:
        return load_config(run / "config.yaml")
    except (ConfigError, UnicodeDecodeError) as error:
        raise ConfigError(f"{run / 'config.yaml'}: not the settings of a run: {error}") from error


def _finish(run: Path, training: FaceTraining, faces: TrainingFaces, config: TrainConfig, cost: dict[str, Any]) -> None:
    """Judges the best weights and writes their figures."""
    training.model.load_state_dict(weights_of(run / "best.ckpt"))
    figures = _judge(run, training.model, faces, config)
    best = min(
        training.history[1:], key=lambda row: np.float32(row["val_challenge_eer"])
    )  # float32: as best.ckpt was chosen
    untrained = {name[4:]: value for name, value in training.history[0].items() if name.startswith("val_")}
    steps = {"best_step": int(best["step"]), "steps": training.total_steps}
    _write_metrics(run, config, faces, figures | {"untrained": untrained} | steps | {"cost": cost})


def _judge(run: Path, model: FaceModel, faces: TrainingFaces, config: TrainConfig) -> dict[str, Any]:
    """Calibrates a model on the validation pairs; returns their figures."""
    model.eval()
    embeddings = val_embeddings(model, faces)
    scores, calibration = faces.judged(embeddings)
    photos = faces.table.frame.iloc[faces.val_rows]
    rng = np.random.default_rng(config.seed)
    validation = validation_of(
        embeddings, photos["person"], photos["is_fake"], calibration, scores, faces.pairs["label"], rng
    )
    write_calibration(run, calibration, validation)
    return {"val": faces.errors(scores), "val_by_source": faces.errors_by_source(scores)}


def _write_metrics(run: Path, config: TrainConfig, faces: TrainingFaces, figures: dict[str, Any]) -> None:
    whence = {"val_pairs": len(faces.pairs), "seed": config.seed, "bonaface": __version__, "torch": torch.__version__}
    _write_json(run / "metrics.json", figures | whence)


def _write_json(file: Path, values: dict[str, Any]) -> None:
    with atomic_write(file) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def load_run(folder: Path) -> Run:
    """The best model of a run's folder, in evaluation mode on the CPU.

    Raises:
        ModelError: if the folder is no run, or its checkpoint does not fit its settings.
    """
    if not (folder / "config.yaml").is_file():
        raise ModelError(f"{folder}: not the folder of a run: expected config.yaml and best.ckpt in it")
    if not (folder / "best.ckpt").is_file():
        raise ModelError(
            f"{folder}: has no best.ckpt: the run was stopped before its first validation; go on by --resume"
        )
    config = _settings_of(folder)
    best = folder / "best.ckpt"
    model = with_weights(build_model(config.model, folder / "files"), weights_of(best), best)
    return Run(folder, config, model.eval(), *read_calibration(folder))
