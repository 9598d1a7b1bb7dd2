"""What a person sees of a training: one bar, a line for each validation, and metrics.csv."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bonaface.io import atomic_write

__all__ = ["TrainingProgress"]

_LOG_EVERY = 60.0  # seconds between lines where the output is no terminal
_SHOWN = {"val_sv_eer": "impostor", "val_spf_eer": "own fake", "val_other_fake_eer": "other fake"}


class TrainingProgress(Callback):
    """Shows loss, share of active triplets, images a second and the time left; writes metrics.csv after each validation.

    Args:
        console: where it is shown.
        file: metrics.csv, one row a validation.
    """

    def __init__(self, console: Console, file: Path) -> None:
        self.file = file
        self.progress = Progress(
            TextColumn("training"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[seen]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            disable=not console.is_terminal,
        )
        self._loss = self._active = self._speed = math.nan
        self._last = self._shown = 0.0
        self._written = time.monotonic()

    def on_train_start(self, trainer: L.Trainer, training: Any) -> None:
        """Opens the bar, at the step that a resumed run is at."""
        done = trainer.current_epoch * training.steps_per_round
        self._task = self.progress.add_task("", total=training.total_steps, completed=done, seen="")
        self.progress.start()

    def on_train_epoch_start(self, trainer: L.Trainer, training: Any) -> None:
        """The first time, says how the untrained model fares; it is judged once the callbacks have started."""
        if trainer.current_epoch == 0:
            eer = training.history[0]["val_challenge_eer"]
            self.progress.console.log(f"untrained: val EER {eer:.4f}")
        self._last = time.monotonic()

    def on_train_batch_end(self, trainer: L.Trainer, training: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Moves the bar; figures are running means, read from the device twice a second at most."""
        now = time.monotonic()
        self._speed = _smooth(self._speed, len(batch.labels) / max(now - self._last, 1e-9))
        self._last = now
        self.progress.advance(self._task)
        if now - self._shown > 0.5:
            self._shown = now
            loss, active = (float(x) for x in training.last_figures)
            self._loss, self._active = _smooth(self._loss, loss), _smooth(self._active, active)
            seen = f"loss {self._loss:.4f}  active {self._active:.0%}  {self._speed:.0f} images/s"
            self.progress.update(self._task, seen=seen)
        if not self.progress.console.is_terminal and now - self._written > _LOG_EVERY:
            self._written = now
            self._write_line()

    def _write_line(self) -> None:
        """What the bar shows, for a log file."""
        task = self.progress.tasks[self._task]
        left = f"{task.time_remaining / 60:.0f} min left" if task.time_remaining is not None else ""
        self.progress.console.log(f"step {task.completed:.0f} of {task.total:.0f}: {task.fields['seen']}  {left}")

    def on_validation_end(self, trainer: L.Trainer, training: Any) -> None:
        """One line for the reader, one row for metrics.csv."""
        row = training.history[-1]
        kinds = ", ".join(f"{name} {row[key]:.4f}" for key, name in _SHOWN.items() if key in row)
        self.progress.console.log(
            f"step {row['step']:.0f}: loss {row['train_loss']:.4f}, active {row['active']:.1%}, "
            f"{row['images_per_second']:.0f} images/s; val EER {row['val_challenge_eer']:.4f} ({kinds})"
        )
        with atomic_write(self.file) as temporary:
            pd.DataFrame(training.history).to_csv(temporary, index=False)
        self._last = time.monotonic()

    def on_train_end(self, trainer: L.Trainer, training: Any) -> None:
        """Closes the bar."""
        self.progress.stop()

    def on_exception(self, trainer: L.Trainer, training: Any, exception: BaseException) -> None:
        """Closes the bar, so that the error stands below it."""
        self.progress.stop()


def _smooth(mean: float, value: float) -> float:
    return value if math.isnan(mean) else 0.9 * mean + 0.1 * value
