"""Training, from settings to a run's folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress

from bonaface.config import TrainConfig
from bonaface.config_io import settings_by_name
from bonaface.data.issues import combined
from bonaface.data.splits import split_by_person
from bonaface.data.table import FaceTable
from bonaface.losses import build_loss
from bonaface.models.device import available_device
from bonaface.models.face_model import FaceModel
from bonaface.models.state_dicts import load_weights, read_model_weights
from bonaface.tracking.callbacks import check_tracking, tracked
from bonaface.training.callbacks import Cost, peak_memory
from bonaface.training.datamodule import TrainingFaces, prepare
from bonaface.training.distributed import Distributed
from bonaface.training.initialisation import initial_model
from bonaface.training.module import FaceTraining, val_embeddings
from bonaface.training.optim import Length
from bonaface.training.people_note import PeopleNote, SourcePeople
from bonaface.training.run import RunFolder, check_file_names
from bonaface.training.shared_people import keep_apart
from bonaface.training.sources import clean, read_sources
from bonaface.training.trainer import Compute, fit
from bonaface.verification.calibration_file import write_calibration
from bonaface.version import __version__

__all__ = ["train"]


def train(config: TrainConfig, console: Console | None = None, resume: bool = False) -> Path:
    """Trains a model and writes its run's folder, which ``load_run`` reads.

    Under torchrun every process calls it, and the main process writes. With ``config.steps`` 0 nothing is trained: the initial
    weights are evaluated and saved.

    Args:
        config: every setting.
        console: where progress is shown; standard error by default, ``Console(quiet=True)`` for nowhere.
        resume: resume the run of this name from its last checkpoint, or from the start if it has none yet.

    Returns:
        The run's folder, ``config.out`` / ``config.name``.

    Raises:
        ConfigError, DataError, ModelError: one sentence each; nothing is written before the settings make sense.
        KeyboardInterrupt: after the batch in which Ctrl-C was pressed; the run can be resumed.

    Example:
        >>> import tempfile
        >>> from bonaface.assets import unpack_demo
        >>> from bonaface.config import BatchConfig, BranchConfig, FacesConfig, ModelConfig
        >>> folder = Path(tempfile.mkdtemp())
        >>> config = TrainConfig(
        ...     out=str(folder / "runs"),
        ...     faces=FacesConfig(str(unpack_demo(folder) / "train"), cache=str(folder / "cache"), val_pairs=40, crop_size=32),
        ...     model=ModelConfig(identity=BranchConfig(backbone="timm:resnet10t", weights="none", size=32)),
        ...     batch=BatchConfig(n_labels=4, n_instances=2),
        ...     steps=2,
        ...     precision="32",
        ... )
        >>> train(config, Console(quiet=True)).name
        'run'
    """
    distributed = Distributed.from_environment()
    run = RunFolder(Path(config.out) / config.name)
    console = Console(stderr=True, log_path=False) if console is None else console
    if distributed.is_main:
        with run.held():
            run.check_free(config, resume)
            check_tracking(config.tracking)
            _train(config, run, distributed, console, resume)
    elif config.steps != 0:
        _train(config, run, distributed, Console(quiet=True), resume)
    return run.path


def _train(config: TrainConfig, run: RunFolder, distributed: Distributed, console: Console, resume: bool) -> None:
    started = time.monotonic()
    check_file_names(config.model, config.faces.detector)
    if not config.model.identity.frozen:
        build_loss(config.loss, n_classes=2, dim=2)  # refuses settings that don't suit each other
    compute = Compute(available_device(config.device), config.precision, config.compile)
    sources = read_sources(config.faces)

    L.seed_everything(config.seed, workers=True, verbose=False)
    model = initial_model(config.model, config.init_from, run)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        tables, digests, issues = clean(sources, config.faces, config.batch, console, progress)
        tables = [split_by_person(each, config.faces.val_fraction, config.seed) for each in tables]
        kept, shared = keep_apart(tables, digests, console)
        note = _people_note(tables, kept, config, run, console) if distributed.is_main else None
        faces = prepare(kept, model.views, config.faces, config.batch, config.seed, console, progress)
    training = None if config.steps == 0 else _training(model, faces, config, distributed)
    if not distributed.is_main and training is not None:
        fit(training, run, compute, console, config.patience, resume)
        return

    with run.removed_on_error():
        run.write_start(config, combined([issues, shared]))
        if note is not None:
            note.write(run)
        with tracked(config.tracking, settings_by_name(config), run.path, console) as trackers:
            if training is None:
                run.write_weights(model)
                figures = _evaluated(model, faces, run)
                figures |= {"untrained": figures["val"], "best_step": 0, "steps": 0, "cost": _cost_since(started)}
            else:
                cost = Cost()
                fit(training, run, compute, console, config.patience, resume, [cost, *trackers])
                load_weights(model, read_model_weights(run.best), run.best)
                figures = _evaluated(model, faces, run) | _of_history(training) | {"cost": cost.figures()}
            versions = {"bonaface": __version__, "torch": torch.__version__}
            run.write_metrics(figures | {"val_pairs": len(faces.pairs), "seed": config.seed} | versions)


def _people_note(
    tables: Sequence[FaceTable], kept: Sequence[FaceTable], config: TrainConfig, run: RunFolder, console: Console
) -> PeopleNote | None:
    """The note to write of a run that is begun; None of one that is resumed, once its people are the same."""
    named = zip(config.faces.sources, tables, kept, config.faces.originals_of_sources, strict=True)
    note = PeopleNote([SourcePeople.of(where, whole, used, originals) for (where, _), whole, used, originals in named])
    before = PeopleNote.read(run.people)
    if before is not None:
        note.refuse_other(run, before)
    elif run.last.exists():
        console.log(
            f"{run}: was begun by a version that kept no note of its people: its figures hold only if the data are the same"
        )
    else:
        return note.following(config.init_from)
    return None


def _training(model: FaceModel, faces: TrainingFaces, config: TrainConfig, distributed: Distributed) -> FaceTraining:
    sampler = faces.sampler(distributed)
    length = Length.of(len(sampler), config.epochs, config.steps, config.val_every)
    return FaceTraining(model, faces, sampler, length, config.loss, config.optimizer, not config.compile, distributed)


def _evaluated(model: FaceModel, faces: TrainingFaces, run: RunFolder) -> dict[str, Any]:
    """Calibrates a model on the validation pairs; returns their error rates."""
    model.eval()
    pairs, embeddings = faces.pairs, val_embeddings(model, faces)
    scores, calibration = pairs.score(embeddings)
    write_calibration(run.path, calibration, pairs.validate(embeddings, scores, calibration, faces.seed))
    by_source = pairs.errors_by_source(scores, pairs.cosines(embeddings))
    return {"val": pairs.errors(scores), "val_by_source": by_source}


def _of_history(training: FaceTraining) -> dict[str, Any]:
    """Figures before training, and the step that the best weights are of."""
    before, *after = training.history
    best = min(after, key=lambda row: np.float32(row["val_worst_eer"]))  # float32: as best.ckpt was chosen
    untrained = {name.removeprefix("val_"): value for name, value in before.items() if name.startswith("val_")}
    return {"untrained": untrained, "best_step": int(best["step"]), "steps": training.length.steps}


def _cost_since(started: float) -> dict[str, Any]:
    peak, whose = peak_memory("cpu")
    return {"seconds": time.monotonic() - started, "peak_memory_bytes": peak, "memory_of": whose}
