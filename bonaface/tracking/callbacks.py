"""A run recorded beside its folder: in an MLflow store, and for TensorBoard."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from rich.console import Console

from bonaface.config import TrackingConfig
from bonaface.extras import require
from bonaface.tracking.mlflow import MlflowEntry, check_store

__all__ = ["check_tracking", "send_figures", "tracked"]


def check_tracking(settings: TrackingConfig) -> None:
    """Raises MissingExtraError or ConfigError where what the settings ask for can't be had: before anything is trained."""
    if settings.tensorboard:
        require("experiments", "tensorboard", what="tracking.tensorboard", instead="set it to false")
    if settings.mlflow:
        check_store(settings.mlflow)


@contextmanager
def tracked(
    tracking: TrackingConfig, settings: Mapping[str, Any], run: Path, console: Console
) -> Iterator[list[Callback]]:
    """Records the training that the block does.

    Args:
        tracking: which trackers.
        settings: every setting of the run by its dotted name.
        run: the run's folder, which holds config.yaml by now.
        console: where a store that fails meanwhile is named, once.

    Yields:
        Lightning callbacks that record it.
    """
    callbacks: list[Callback] = []
    if tracking.tensorboard:
        callbacks.append(TensorBoardCurves(run / "tensorboard"))
    if not tracking.mlflow:
        yield callbacks
        return
    curves = MlflowCurves(MlflowEntry(tracking.mlflow, tracking.experiment, settings, run), console)
    curves.attempt(curves.entry.begin)
    status = "FAILED"
    try:
        yield [*callbacks, curves]
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        curves.attempt(lambda: curves.entry.end(status))


def send_figures(
    tracking: TrackingConfig, settings: Mapping[str, Any], run: Path, values: Mapping[str, float], console: Console
) -> None:
    """Adds figures that came after training to the run's MLflow entry, where it has one; arguments as in ``tracked``."""
    if tracking.mlflow:
        entry = MlflowEntry(tracking.mlflow, tracking.experiment, settings, run)
        MlflowCurves(entry, console).attempt(lambda: entry.last(values))


class MlflowCurves(Callback):
    """Sends the history to MLflow after each validation.

    Args:
        entry: the run's.
        console: where a failure is named, once; training continues.
    """

    def __init__(self, entry: MlflowEntry, console: Console) -> None:
        self.entry = entry
        self.console = console
        self._told = False

    def attempt(self, what: Any) -> None:
        """Calls it, and names a failure."""
        try:
            what()
        except Exception as error:  # whatever a store, its server or the network between may raise
            if not self._told:
                self.console.log(f"{self.entry.uri}: does not record this run ({' '.join(str(error).split())[:200]})")
            self._told = True

    def on_train_epoch_start(self, trainer: L.Trainer, training: Any) -> None:
        """The untrained model's figures."""
        self.attempt(lambda: self.entry.figures(training.history))

    def on_validation_end(self, trainer: L.Trainer, training: Any) -> None:
        """Sends what was not sent yet."""
        self.attempt(lambda: self.entry.figures(training.history))


class TensorBoardCurves(Callback):
    """Writes the history for TensorBoard.

    Args:
        folder: of its files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_fit_start(self, trainer: L.Trainer, training: Any) -> None:
        """Opens the file."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self.folder))

    def on_train_epoch_start(self, trainer: L.Trainer, training: Any) -> None:
        """The untrained model's figures."""
        if trainer.current_epoch == 0:
            self._write(training.history[-1])

    def on_validation_end(self, trainer: L.Trainer, training: Any) -> None:
        """The newest figures."""
        self._write(training.history[-1])

    def _write(self, row: dict[str, float]) -> None:
        for name, value in row.items():
            if name != "step" and math.isfinite(value):
                self._writer.add_scalar(name, value, int(row["step"]))
        self._writer.flush()

    def on_fit_end(self, trainer: L.Trainer, training: Any) -> None:
        """Closes it."""
        self._writer.close()
