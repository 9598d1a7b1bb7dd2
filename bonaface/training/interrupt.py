"""Ctrl-C between two batches, where nothing can swallow it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch.callbacks import Callback

__all__ = ["Interrupt"]


class Interrupt(Callback):
    """Raises KeyboardInterrupt after the batch in which Ctrl-C was pressed; pressed again, it is raised at once.

    Python raises it wherever it stands. In the ``__del__`` of a data loader that ends its workers, between two rounds, it is
    printed and forgotten, and the training goes on.
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
