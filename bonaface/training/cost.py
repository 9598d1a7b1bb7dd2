"""What a training cost: seconds, and the most memory that it held."""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

__all__ = ["Cost", "peak_memory"]


def peak_memory(device: str) -> tuple[int, str]:
    """The most bytes held so far, and whose they were.

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
