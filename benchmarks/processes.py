"""Processes that are measured: they end with the one that started them, and OML's have an interpreter of their own."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

__all__ = ["end_with_parent", "oml_python"]


def end_with_parent() -> None:
    """Watch from a thread: left over, this process would disturb whatever is measured next."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def oml_python(named: Path) -> Path | None:
    """Find OML's interpreter; where there is none, say so."""
    if named.exists():
        return named.absolute()  # not resolved: a virtual environment is found by the link's own place
    print(f"{named}: no such interpreter, so OML is not measured (make bench makes one)", flush=True)
    return None
