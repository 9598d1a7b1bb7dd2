"""Lightning's loop around the training step: until the last step or until patience ends, on one process or on many."""

from __future__ import annotations

import ctypes
import logging
import platform
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint
from rich.console import Console

from bonaface.training.callbacks import AtomicCheckpoints, Interrupt, Patience, TrainingProgress
from bonaface.training.module import MONITOR, FaceTraining
from bonaface.training.precision import Precision, choose_precision
from bonaface.training.run import RunFolder

__all__ = ["Compute", "fit", "keep_freed_memory"]

# Parameters of glibc's mallopt, from malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST = 2**31 - 1
_LARGEST_MAPPED = 2**30


@dataclass(frozen=True)
class Compute:
    """Device and precision of a training.

    Args:
        device: cpu or cuda.
        precision: auto, 32, bf16 or 16.
        compile: compile the trained networks by torch.compile.
    """

    device: str
    precision: str = "auto"
    compile: bool = False


def fit(
    training: FaceTraining,
    run: RunFolder,
    compute: Compute,
    console: Console,
    patience: int = 0,
    resume: bool = False,
    trackers: Sequence[Callback] = (),
) -> FaceTraining:
    """Trains until the last step or until patience ends; the run's folder then has best.ckpt, last.ckpt and metrics.csv.

    Args:
        training: trained in place.
        run: the run's folder.
        compute: device and precision.
        console: where progress is shown.
        patience: validations without a lower EER after which training stops; 0 for never.
        resume: resume from last.ckpt, if there is one.
        trackers: further callbacks.

    Raises:
        KeyboardInterrupt: after the batch in which Ctrl-C was pressed.
    """
    _silence_lightning()
    if compute.device == "cpu":
        keep_freed_memory()
    settings, distributed = training.settings, training.distributed
    alone = distributed.world_size == 1
    precision = _prepared(training, compute, run.path / "precision.json" if alone else None, console)
    interrupt = Interrupt()
    trainer = L.Trainer(
        accelerator=compute.device,
        devices=distributed.local_world_size,
        num_nodes=distributed.nodes,
        strategy="auto" if alone else "ddp",
        use_distributed_sampler=False,  # ours draw by rank
        sync_batchnorm=not alone and compute.device == "cuda",  # torch has none for CPUs
        precision=precision.precision,  # type: ignore[arg-type]
        max_epochs=training.length.rounds,
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=settings.clip or None,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        deterministic="warn",
        callbacks=_callbacks(training, run, console, patience, [*trackers], interrupt),
        plugins=[AtomicCheckpoints()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    checkpoint = run.last if resume and run.last.exists() else None
    try:
        with interrupt.listening():
            trainer.fit(training, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as stop:  # what Lightning makes of Ctrl-C
        raise KeyboardInterrupt from stop
    return training


def _callbacks(
    training: FaceTraining,
    run: RunFolder,
    console: Console,
    patience: int,
    trackers: list[Callback],
    interrupt: Interrupt,
) -> list[Callback]:
    """In Lightning's order: a checkpoint holds what the callbacks before it noted."""
    ema = training.settings.ema
    # Lightning puts the averaged weights into whole checkpoints only.
    best = ModelCheckpoint(run.path, "best", monitor=MONITOR, save_weights_only=not ema, enable_version_counter=False)
    last = ModelCheckpoint(run.path, "last", monitor=None, enable_version_counter=False)
    first: list[Callback] = []
    if training.distributed.is_main:
        first.append(TrainingProgress(console, run.path / "metrics.csv"))
    if patience:
        first.append(Patience(MONITOR, patience=patience, mode="min"))
    if ema:
        first.append(EMAWeightAveraging(decay=ema))
    return [*first, *trackers, best, last, interrupt]


def _prepared(training: FaceTraining, compute: Compute, note: Path | None, console: Console) -> Precision:
    """Chooses the precision, and puts the trained networks into its memory format."""
    trained = training.model.trained
    precision = choose_precision(trained, compute.precision, compute.device, note, console)
    for branch in trained.values():
        branch.backbone.lay_out(precision.memory_format)
        if compute.compile:
            branch.backbone.net.compile()
    return precision


def keep_freed_memory() -> bool:
    """Lets this process keep what tensors free, so that the next ones need not be mapped and cleared page by page.

    A training step on a CPU frees and asks for the same hundreds of megabytes again; with glibc's own thresholds every one of these
    goes back to the kernel, which clears it anew: a fifth of the step. The process then holds its peak until its end.

    Returns:
        Whether the C library took it; only glibc does.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(_MMAP_THRESHOLD, _LARGEST_MAPPED) and library.mallopt(_TRIM_THRESHOLD, _LARGEST))


def _silence_lightning() -> None:
    """Lightning's notes on cards, workers and logging are not the user's business."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\..*")
