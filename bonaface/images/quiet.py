"""OpenCV without what it prints: our errors say what is wrong with a file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import cv2

from bonaface.locks import ThreadLock

__all__ = ["quiet_opencv"]

_SILENT = 0
_lock = ThreadLock()
_inside: list[int] = []
"""The level to go back to, once for each block that is being run: the level is the whole process's."""


@contextlib.contextmanager
def quiet_opencv() -> Iterator[None]:
    """Lets OpenCV print nothing until the last of the threads that are in such a block has left it."""
    logging: Any = getattr(cv2.utils, "logging", cv2)  # OpenCV up to 4.12 has its functions at the top
    with _lock:
        _inside.append(_inside[0] if _inside else logging.getLogLevel())
        logging.setLogLevel(_SILENT)
    try:
        yield
    finally:
        with _lock:
            before = _inside.pop()
            if not _inside:
                logging.setLogLevel(before)
