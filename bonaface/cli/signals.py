"""Signals that end a command."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

__all__ = ["stopped_as_interrupted"]


@contextmanager
def stopped_as_interrupted() -> Iterator[None]:
    """SIGTERM, as containers are stopped by, and SIGHUP of a closed terminal are Ctrl-C: no half file is left."""

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    heard = [signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)]
    before = {
        each: signal.signal(each, interrupt) for each in heard if signal.getsignal(each) != signal.SIG_IGN
    }  # nohup
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
