"""Who asked what and was answered what, one line of JSON each, appended and never changed; no images, no embeddings.

Each line carries a digest of itself and of the line before, so that a line that was changed or taken out shows.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

from bonaface.errors import DataError

__all__ = ["AuditLog", "first_broken_line"]

_START = "0" * 32


class AuditLog:
    """An append-only file. Several threads may use it.

    Args:
        path: where; None writes nothing.

    Raises:
        DataError: if it can't be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "audit.jsonl"
        >>> log = AuditLog(path)
        >>> log.write(event="verify", decision="same person")
        >>> log.close()
        >>> first_broken_line(path) is None, "same person" in path.read_text()
        (True, True)
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._file: int | None = None
        self._last = _START
        if path is not None:
            self._open(path)

    def _open(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            if lines and not lines[-1].endswith(b"\n"):  # killed in the middle of a line: it stays, as what it is
                os.write(self._file, b"\n")
        except OSError as error:
            raise DataError(
                f"{path}: can't be written ({(error.strerror or str(error)).lower()}); name another --audit"
            ) from error
        whole = [digest for line in lines if (digest := _digest(line)) is not None]
        self._last = whole[-1] if whole else _START

    def write(self, **what: Any) -> None:
        """Append a line.

        Raises:
            DataError: if the disk is full.
        """
        if self._file is None:
            return
        with self._lock:
            entry = {"time": round(time.time(), 3), **what, "previous": self._last}
            text = json.dumps(entry, sort_keys=True)
            digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
            line = json.dumps(entry | {"digest": digest}, sort_keys=True) + "\n"
            try:
                os.write(self._file, line.encode())
            except OSError as error:
                raise DataError(
                    f"{self.path}: the audit log can't be written ({(error.strerror or '').lower()})"
                ) from error
            self._last = digest

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def first_broken_line(path: Path) -> int | None:
    """The number of the first line (from 1) that was changed, or before which one is missing; None where all is well."""
    last = _START
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        digest = _digest(line)
        if digest is None or json.loads(line)["previous"] != last:
            return number
        last = digest
    return None


def _digest(line: bytes) -> str | None:
    """A line's own digest, where it fits the line."""
    try:
        entry = json.loads(line)
        said: str = entry.pop("digest")
    except (ValueError, KeyError, AttributeError):
        return None
    text = json.dumps(entry, sort_keys=True)
    return said if hashlib.blake2b(text.encode(), digest_size=16).hexdigest() == said else None
