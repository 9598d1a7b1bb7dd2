"""Lightning's loop around the training step: until the last step, or until patience ends, on one process or on many."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, EMAWeightAveraging, ModelCheckpoint
from rich.console import Console

from bonaface.config import TrainConfig
from bonaface.errors import ConfigError
from bonaface.models.face_model import FaceModel
from bonaface.training.checkpoints import WholeCheckpoints
from bonaface.training.datamodule import TrainingFaces
from bonaface.training.distributed import ALONE, Ranks
from bonaface.training.interrupt import Interrupt
from bonaface.training.memory import keep_freed_memory
from bonaface.training.module import MONITOR, FaceTraining
from bonaface.training.precision import chosen_numerics
from bonaface.training.progress import TrainingProgress

__all__ = ["fit"]


class Patience(EarlyStopping):
    """Early stopping that also holds for a run that is gone on with after it had stopped."""

    def on_train_start(self, trainer: L.Trainer, training: L.LightningModule) -> None:
        """Stops at once where patience had ended before."""
        trainer.should_stop = self.wait_count >= self.patience


def _quiet() -> None:
    """Lightning's notes on cards, workers and logging are not the user's business."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\..*")


def fit(
    model: FaceModel,
    faces: TrainingFaces,
    config: TrainConfig,
    run: Path,
    resume: bool,
    console: Console,
    ranks: Ranks = ALONE,
    watching: Sequence[Callback] = (),
) -> FaceTraining:
    """Trains until the last step or until patience ends; the run folder then has best.ckpt, last.ckpt and metrics.csv.

    Args:
        model: trained in place.
        faces: prepared images.
        config: settings.
        run: the run's folder.
        resume: go on from last.ckpt where there is one.
        console: where progress is shown.
        ranks: which of the processes that train together this one is.
        watching: further callbacks, which note what happens.
    """
    _quiet()
    device = config.device if config.device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: cuda was asked for, and this machine has no CUDA device that torch can use")
    if device == "cpu":
        keep_freed_memory()
    alone = ranks.world_size == 1
    numerics = chosen_numerics(
        model.trained, config.precision, device, run / "precision.json" if alone else None, console
    )
    for branch in model.trained.values():
        branch.backbone.lay_out(numerics.layout)
        if config.compile:
            branch.backbone.net.compile()
    training = FaceTraining(model, faces, config, ranks)
    average = config.optimizer.average
    # Lightning puts the averaged weights into whole checkpoints only.
    best = ModelCheckpoint(run, "best", monitor=MONITOR, save_weights_only=not average, enable_version_counter=False)
    last = ModelCheckpoint(run, "last", monitor=None, enable_version_counter=False)
    interrupt = Interrupt()
    callbacks: list[Callback] = [*watching, best, last, interrupt]  # checkpoints hold what those before them noted
    if average:
        callbacks.insert(0, EMAWeightAveraging(decay=average))
    if config.patience:
        callbacks.insert(0, Patience(MONITOR, patience=config.patience, mode="min"))
    if ranks.leads:
        callbacks.insert(0, TrainingProgress(console, run / "metrics.csv"))
    trainer = L.Trainer(
        accelerator=device,
        devices=ranks.local_world_size,
        num_nodes=ranks.machines,
        strategy="auto" if alone else "ddp",
        use_distributed_sampler=False,  # ours draw by rank
        sync_batchnorm=not alone and device == "cuda",  # torch has none for CPUs
        precision=numerics.precision,  # type: ignore[arg-type]
        max_epochs=math.ceil(training.total_steps / training.steps_per_round),
        accumulate_grad_batches=config.optimizer.accumulate,
        gradient_clip_val=config.optimizer.clip or None,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        deterministic="warn",
        callbacks=callbacks,
        plugins=[WholeCheckpoints()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    checkpoint = run / "last.ckpt"
    try:
        with interrupt.listening():
            trainer.fit(training, ckpt_path=checkpoint if resume and checkpoint.exists() else None, weights_only=True)
    except SystemExit as stop:  # what Lightning makes of Ctrl-C
        raise KeyboardInterrupt from stop
    return training
