"""Locks on open files, one holder at a time across processes, which the system lets go of with the process; and one of threads."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ThreadLock", "locked", "try_lock"]

_SECONDS, _PAUSE = 30.0, 0.01
"""How long another process may hold a lock, and how often it is tried."""


class ThreadLock:
    """One thread at a time. In a forked process it is free: the thread that held it does not live on there."""

    def __init__(self) -> None:
        self._renew()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def try_lock(file: int) -> bool:
    """Lock an open file, by its descriptor, until it is closed; False where another holds the lock.

    Raises:
        OSError: if the file system has no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def locked(file: int, seconds: float | None = None) -> Iterator[None]:
    """Hold the lock of an open file.

    Args:
        file: its descriptor.
        seconds: to wait for another that holds the lock; 30 unless given.

    Raises:
        TimeoutError: if another does not let go of it: a process that was stopped, or waits for a disk, never may.
        OSError: if the file system has no locks.
    """
    seconds = _SECONDS if seconds is None else seconds
    until = time.monotonic() + seconds
    while not try_lock(file):
        if time.monotonic() >= until:
            raise TimeoutError(f"another process has held the lock for {seconds:.0f} s")
        time.sleep(_PAUSE)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
