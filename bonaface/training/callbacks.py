"""Callbacks of a training run: progress, cost, early stopping, Ctrl-C, and checkpoints that are written whole or not at all."""

from __future__ import annotations

import io
import math
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback, EarlyStopping
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from bonaface.io import atomic_write
from bonaface.training.curves import learning_rates, write_curves

__all__ = ["AtomicCheckpoints", "Cost", "Interrupt", "Patience", "TrainingProgress", "peak_memory"]

_LOG_EVERY = 60.0  # seconds between lines where the output is no terminal
_SHOWN = {"val_sv_eer": "impostor", "val_spf_eer": "own fake", "val_other_fake_eer": "other fake"}


class TrainingProgress(Callback):
    """Shows loss, active-triplet fraction, images a second and time left; after each validation writes what was found.

    Args:
        console: where it is shown.
        file: metrics.csv, one row a validation; curves.html is written beside it.
    """

    def __init__(self, console: Console, file: Path) -> None:
        self.file = file
        self.progress = Progress(
            TextColumn("training"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[seen]}"),
            TextColumn("{task.fields[left]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._loss = self._active = self._speed = math.nan
        self._last = self._shown = 0.0
        self._written = time.monotonic()

    def on_train_start(self, trainer: L.Trainer, training: Any) -> None:
        """Opens the bar at the step that a resumed run has reached."""
        done = trainer.current_epoch * training.length.val_every
        self._task = self.progress.add_task("", total=training.length.steps, completed=done, seen="", left="")
        self.progress.start()

    def on_train_epoch_start(self, trainer: L.Trainer, training: Any) -> None:
        """Shows the EER before training, which is known once the callbacks have started."""
        if trainer.current_epoch == 0:
            eer = training.history[0]["val_challenge_eer"]
            self.progress.console.log(f"untrained: val EER {eer:.4f}")
        self._last = time.monotonic()

    def on_train_batch_end(self, trainer: L.Trainer, training: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Moves the bar; figures are running means, read from the device twice a second at most."""
        now = time.monotonic()
        if batch_idx:  # the first step of all compiles, and the first after a validation waits for its batch
            self._speed = _smooth(self._speed, len(batch.labels) / max(now - self._last, 1e-9))
        self._last = now
        self.progress.advance(self._task)
        if now - self._shown > 0.5:
            self._shown = now
            loss, active = (float(x) for x in training.last_figures)
            self._loss, self._active = _smooth(self._loss, loss), _smooth(self._active, active)
            seen, left = f"loss {self._loss:.4f}  active {self._active:.0%}", ""
            if not math.isnan(self._speed):
                seen, left = f"{seen}  {self._speed:.0f} images/s", self._time_left(len(batch.labels))
            self.progress.update(self._task, seen=seen, left=left)
        if not self.progress.console.is_terminal and now - self._written > _LOG_EVERY:
            self._written = now
            self._write_line()

    def _time_left(self, batch: int) -> str:
        """Time that the steps to come take at the present speed; rich's own estimate counts validations as slow steps."""
        task = self.progress.tasks[self._task]
        seconds = ((task.total or 0) - task.completed) * batch / self._speed
        return f"{seconds / 60:.0f} min left" if seconds >= 60 else f"{seconds:.0f} s left"

    def _write_line(self) -> None:
        """The bar's figures, for a log file."""
        task = self.progress.tasks[self._task]
        shown = f"{task.fields['seen']}  {task.fields['left']}"
        self.progress.console.log(f"step {task.completed:.0f} of {task.total:.0f}: {shown}")

    def on_validation_end(self, trainer: L.Trainer, training: Any) -> None:
        """One line for the reader, one row for metrics.csv, and the curves anew."""
        row = training.history[-1]
        kinds = ", ".join(f"{name} {row[key]:.4f}" for key, name in _SHOWN.items() if key in row)
        self.progress.console.log(
            f"step {row['step']:.0f}: loss {row['train_loss']:.4f}, active {row['active']:.1%}, "
            f"{row['images_per_second']:.0f} images/s; val EER {row['val_challenge_eer']:.4f} ({kinds})"
        )
        if by_source := _by_source(row):
            self.progress.console.log(by_source, markup=False)
        with atomic_write(self.file) as temporary:
            pd.DataFrame(training.history).to_csv(temporary, index=False)
        rates = learning_rates(training.length, training.settings, int(row["step"]))
        write_curves(self.file.with_name("curves.html"), self.file.parent.name, training.history, rates)
        self._last = time.monotonic()

    def on_train_end(self, trainer: L.Trainer, training: Any) -> None:
        """Closes the bar."""
        self.progress.stop()

    def on_exception(self, trainer: L.Trainer, training: Any, exception: BaseException) -> None:
        """Closes the bar, so that the error stands below it."""
        self.progress.stop()


def _by_source(row: Mapping[str, float]) -> str:
    """The worst source and each source's regret over identity alone; empty if there is one source."""
    start = "val_challenge_eer/"
    eers = {key.removeprefix(start): value for key, value in row.items() if key.startswith(start)}
    if not eers:
        return ""
    worst = max(eers, key=lambda name: eers[name])
    regrets = "; ".join(f"{name} {_regret(row, name)}" for name in eers)
    return f"worst source {worst}, EER {eers[worst]:.4f}; EER minus that of identity alone: {regrets}"


def _regret(row: Mapping[str, float], source: str) -> str:
    """Against all negatives and, if there are impostors, against these."""
    kinds = {"all": "challenge_eer", "impostor": "sv_eer"}
    found = {kind: row.get(f"val_regret_{of}/{source}") for kind, of in kinds.items()}
    return ", ".join(f"{kind} {value:+.4f}" for kind, value in found.items() if value is not None)


def _smooth(mean: float, value: float) -> float:
    return value if math.isnan(mean) else 0.9 * mean + 0.1 * value


def peak_memory(device: str) -> tuple[int, str]:
    """Peak memory so far, and of what.

    Args:
        device: ``cuda``: what torch had allocated on the card; else what the process had in memory, its libraries included.

    Returns:
        Bytes, and ``cuda`` or ``process``.
    """
    if device == "cuda":
        return torch.cuda.max_memory_allocated(), "cuda"
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts in bytes there, in KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, "process"


class Cost(Callback):
    """Adds up the time that training and validation take, over every interruption, and notes the most memory."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._peak = 0
        self._whose = "process"
        self._started: float | None = None

    def on_fit_start(self, trainer: L.Trainer, training: L.LightningModule) -> None:
        """The clock starts."""
        if training.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        self._started = time.monotonic()

    def on_validation_end(self, trainer: L.Trainer, training: L.LightningModule) -> None:
        """Before the checkpoint of this validation is written."""
        self._note(training.device.type)

    def _note(self, device: str) -> None:
        now = time.monotonic()
        self._seconds += now - (now if self._started is None else self._started)
        self._started = now
        peak, self._whose = peak_memory(device)
        self._peak = max(self._peak, peak)

    def figures(self) -> dict[str, Any]:
        """``seconds``, ``peak_memory_bytes`` and ``memory_of`` (cuda or process)."""
        return {"seconds": self._seconds, "peak_memory_bytes": self._peak, "memory_of": self._whose}

    def state_dict(self) -> dict[str, Any]:
        """Goes with the checkpoint."""
        return self.figures()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See state_dict."""
        self._seconds, self._peak, self._whose = (state[name] for name in ("seconds", "peak_memory_bytes", "memory_of"))


class Patience(EarlyStopping):
    """Early stopping that also holds for a resumed run that had stopped."""

    def on_train_start(self, trainer: L.Trainer, training: L.LightningModule) -> None:
        """Stops at once if patience had ended before."""
        trainer.should_stop = self.wait_count >= self.patience


class Interrupt(Callback):
    """Raises KeyboardInterrupt after the batch in which Ctrl-C was pressed; pressed again, it is raised at once.

    Python raises it wherever it stands. In the ``__del__`` of a data loader that ends its workers, after a validation, it is
    printed and forgotten, and training continues.
    """

    def __init__(self) -> None:
        self._pressed = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Takes Ctrl-C while the block runs; signals reach the main thread alone, and in another one nothing is done."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self._press)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _press(self, number: int, frame: Any) -> None:
        if self._pressed:
            raise KeyboardInterrupt
        self._pressed = True

    def on_train_batch_end(self, *where: Any) -> None:
        """See the class."""
        self._stop_where_pressed()

    def on_validation_batch_end(self, *where: Any) -> None:
        """See the class."""
        self._stop_where_pressed()

    def _stop_where_pressed(self) -> None:
        if self._pressed:
            raise KeyboardInterrupt


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes beside the target and renames.

    Lightning's own writes to the system's folder of temporary files and moves from there: across disks that is a copy, which a
    full disk or a kill cuts short, with the last good checkpoint gone.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Writes a checkpoint.

        Raises:
            DataError: if it can't be written; what was at ``path`` before is still there.
        """
        buffer = io.BytesIO()  # torch's own writer hides why a disk refused
        torch.save(checkpoint, buffer)
        with atomic_write(Path(path)) as temporary:
            temporary.write_bytes(buffer.getbuffer())
