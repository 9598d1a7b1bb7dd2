"""Deleted people leave the disk too, not only the answers.

A database marks rows as deleted and keeps their bytes until it compacts its files some day. SQLite overwrites them at once, and
cuts its log off when told to. Milvus Lite can't be told to: so the rows that stay are copied to a new collection, which takes the
old one's place, and the old one's files are removed. A server is told to compact, and removes old files when its own retention
ends (``dataCoord.gc.dropTolerance``).
"""

from __future__ import annotations

import contextlib
import logging
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from bonaface.errors import GalleryDamagedError, GalleryError, GalleryFullError
from bonaface.gallery.collection_name import ModelMark
from bonaface.gallery.database import Database

__all__ = ["Eraser"]

_COPIED = 5000
_PAUSE = 30.0
"""Seconds after a failure until it is tried again."""
_LOG = logging.getLogger("bonaface.gallery")


class Eraser:
    """Rewrites a database in a thread of its own; deletions that come meanwhile share the next rewriting.

    Args:
        database: whose rows were deleted.
        mark: its model.
        writing: held while it rewrites: others read on, and write afterwards.
        pause: seconds between attempts where one failed.

    Attributes:
        failure: why what was deleted is not off the disk yet; None while all goes well.
    """

    def __init__(
        self, database: Database, mark: ModelMark, writing: AbstractContextManager[Any], pause: float = _PAUSE
    ) -> None:
        self._database, self._mark, self._writing, self._pause = database, mark, writing, pause
        self._wanted, self._idle, self._closed = threading.Event(), threading.Event(), threading.Event()
        self._idle.set()
        self._thread: threading.Thread | None = None
        self.failure: Exception | None = None
        folder = database.folder
        self._note = None if folder is None else folder.with_name(f"{folder.name}.erasing")

    def resume(self) -> None:
        """Begin to erase what was deleted before a kill."""
        if self._note is not None and self._note.exists():
            self.start()

    def announce(self) -> None:
        """Leave word on the disk that something is about to be deleted, so that a kill does not make it be forgotten."""
        if self._note is not None:
            _touch(self._note)

    def start(self) -> None:
        """Begin to erase what was deleted."""
        self._idle.clear()
        self._wanted.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="erasing", daemon=True)
            self._thread.start()

    def wait(self, timeout: float) -> bool:
        """True once everything is erased, after at most ``timeout`` seconds."""
        return self._idle.wait(timeout)

    def close(self) -> None:
        """Finish the rewriting that is under way; what was deleted after it began is erased by the next start."""
        self._closed.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while self._wanted.wait() and not self._closed.is_set():
            self._wanted.clear()
            try:
                self._erase()
            except Exception as error:  # whatever it is: the thread lives on, and the service says that it is not ready
                _LOG.error("what was deleted is not off the disk yet: %s", error)
                self.failure = error
                if not self._closed.wait(self._pause):
                    self._wanted.set()
                continue
            self.failure = None
            if not self._wanted.is_set():
                self._idle.set()

    def _erase(self) -> None:
        if self._note is None:
            self._database.compact()
            return
        with self._writing:
            self._rewrite()
            self._note.unlink(missing_ok=True)

    def _rewrite(self) -> None:
        """Copy all rows to a new collection that takes the old one's place; where any would be lost, nothing changes."""
        expected, copied = self._database.count(), 0
        new = self._database.create(self._mark)
        try:
            for rows in self._database.scan(batch=_COPIED):
                self._database.write(rows, new)
                copied += len(rows)
            if copied != expected:
                raise GalleryDamagedError(
                    f"{self._database.uri}: only {copied:,} of {expected:,} photos can be read, so nothing is rewritten; "
                    "restore it from a backup"
                )
        except Exception:
            with contextlib.suppress(GalleryError):
                self._database.drop(str(new))
            raise
        self._database.swap(new)


def _touch(note: Path) -> None:
    try:
        note.touch(mode=0o600)
    except OSError as error:
        raise GalleryFullError(
            f"{note}: can't be written ({(error.strerror or str(error)).lower()}); nothing was deleted"
        ) from error
