"""Settings of OpenCV and Pillow that belong to the whole process, set while this package reads a file and then put back."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import cv2
from PIL import ImageFile

from bonaface.locks import ThreadLock

__all__ = ["quiet_opencv", "strict_pillow"]

_SILENT = 0


class _Setting:
    """A value that holds until the last of the threads that are in a block of it has left."""

    def __init__(self, read: Callable[[], Any], write: Callable[[Any], object], value: object) -> None:
        self._read, self._write, self._value = read, write, value
        self._lock, self._inside, self._before = ThreadLock(), 0, None
        os.register_at_fork(after_in_child=self._put_back)  # the threads that are inside don't live on there

    def _put_back(self) -> None:
        if self._inside:
            self._write(self._before)
            self._inside = 0

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        with self._lock:
            if not self._inside:
                self._before = self._read()
                self._write(self._value)
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                if self._inside == 1:
                    self._write(self._before)
                self._inside = max(0, self._inside - 1)


def _log() -> Any:
    return getattr(cv2.utils, "logging", cv2)  # OpenCV up to 4.12 has its functions at the top


def _load_truncated(value: bool) -> None:
    ImageFile.LOAD_TRUNCATED_IMAGES = value


_LOG_LEVEL = _Setting(lambda: _log().getLogLevel(), lambda level: _log().setLogLevel(level), _SILENT)
_TRUNCATED = _Setting(lambda: ImageFile.LOAD_TRUNCATED_IMAGES, _load_truncated, False)


def quiet_opencv() -> contextlib.AbstractContextManager[None]:
    """Lets OpenCV print nothing: our errors say what is wrong with a file."""
    return _LOG_LEVEL.held()


def strict_pillow() -> contextlib.AbstractContextManager[None]:
    """Lets Pillow refuse files that are cut short, also where a program lets it load them."""
    return _TRUNCATED.held()
