"""The audit log: who asked what and was answered what, one line of JSON each; no images, no embeddings.

Each line carries its number and a digest of itself and of the line before, so that a line that was changed or taken out shows. The
head of this chain is kept apart, in ``FILE.head``: so a cut tail and an emptied file show too.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from bonaface.errors import DataError
from bonaface.io import parse_json
from bonaface.locks import try_lock
from bonaface.outputs import refuse_stdout

__all__ = ["AuditLog", "first_broken_line"]

_LOG = logging.getLogger("bonaface.service")
_START = "0" * 32
_HEAD_BYTES = 128  # of one size and within one sector: it is replaced as a whole, or not at all
_BLOCK = 2**20
# Its own digest, as every line has it that was written here. It stands before "event" alone, so the text without it says the line.
_OWN_DIGEST = re.compile(rb'"digest": "([0-9a-f]{32})", (?="event": )')
_PREVIOUS = re.compile(rb'"previous": "([0-9a-f]{32})"')


@dataclass(frozen=True)
class _Head:
    """Length of the chain: lines, bytes and the last line's digest."""

    lines: int = 0
    bytes: int = 0
    digest: str = _START


class AuditLog:
    """A file that one process appends to. Several threads may use it.

    Args:
        path: the file; None writes nothing.

    Raises:
        DataError: if it can't be written, another process writes it, or lines were changed or taken out.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "audit.jsonl"
        >>> log = AuditLog(path)
        >>> log.write({"event": "verify", "decision": "same person"})
        >>> log.close()
        >>> first_broken_line(path) is None, "same person" in path.read_text()
        (True, True)
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._failed = False
        self._torn = b""  # of which a part may lie behind the last line
        if path is not None:
            self._open(path)

    def _open(self, path: Path) -> None:
        refuse_stdout(path)
        if path.exists() and not path.is_file():
            raise DataError(f"{path}: is no regular file; name another --audit")
        with contextlib.ExitStack() as undone:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
                undone.callback(os.close, self._file)
                if not try_lock(self._file):
                    raise DataError(f"{path}: another process writes it; name another --audit")
                self._head = _continued(path)
                _set_aside(path, self._file, self._head.bytes)
                self._head_file = os.open(_head_path(path), os.O_WRONLY | os.O_CREAT, 0o600)
                undone.callback(os.close, self._head_file)
                self._write_head(self._head)
            except OSError as error:
                said = (error.strerror or str(error)).lower()
                raise DataError(f"{path}: can't be written ({said}); name another --audit") from error
            undone.pop_all()

    def write(self, *entries: Mapping[str, Any]) -> None:
        """Append a line for each entry. They are on the disk when this returns, and none of them is when it raises.

        Raises:
            DataError: if the disk is full, or the file was changed or replaced by others.
        """
        if self._path is None:
            return
        with self._lock:
            try:
                self._append(entries)
            except (OSError, ValueError) as error:
                self._failed = True
                said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                raise DataError(f"the audit log can't be written ({said.lower()})") from error
            self._failed = False

    def refuse_unready(self) -> None:
        """Raise an error while lines can't be written; after a failure that is tried by a line that says so.

        Raises:
            DataError: which see.
        """
        if self._path is None:
            return
        if self._failed:
            self.write({"event": "audit log can be written again"})

    def close(self) -> None:
        """Let go of the file; nothing can be written afterwards."""
        if self._path is not None and self._file >= 0:
            with self._lock:
                os.close(self._file)
                os.close(self._head_file)
                self._file = -1

    def _append(self, entries: tuple[Mapping[str, Any], ...]) -> None:
        self._refuse_changed()
        lines, digest = [], self._head.digest
        for number, entry in enumerate(entries, self._head.lines + 1):
            line, digest = _line(entry, number, digest)
            lines.append(line)
        content = b"".join(lines)
        head = _Head(self._head.lines + len(lines), self._head.bytes + len(content), digest)
        try:
            _write_whole(self._file, content)
            os.fsync(self._file)
            self._write_head(head)
        except OSError:
            self._torn = content
            with contextlib.suppress(OSError):  # where this fails as well, the next line tries it again
                os.ftruncate(self._file, self._head.bytes)
                self._write_head(self._head)
            raise
        self._head, self._torn = head, b""

    def _refuse_changed(self) -> None:
        assert self._path is not None  # noqa: S101 - for the type checker
        if self._file < 0:
            raise ValueError("it is closed, as the service is ending")
        opened, named = os.fstat(self._file), self._path.stat()
        tail = os.pread(self._file, len(self._torn) + 1, self._head.bytes) if self._torn else b""
        if tail and self._torn.startswith(tail):  # a line was written in part; what others wrote stays
            _set_aside(self._path, self._file, self._head.bytes)
            opened = os.fstat(self._file)
        if opened.st_size != self._head.bytes or not os.path.samestat(opened, named):
            raise ValueError("others have cut, moved or written the file")
        if not os.path.samestat(os.fstat(self._head_file), _head_path(self._path).stat()):
            raise ValueError("others have moved or replaced its head")

    def _write_head(self, head: _Head) -> None:
        content = json.dumps(asdict(head)).ljust(_HEAD_BYTES - 1) + "\n"
        os.pwrite(self._head_file, content.encode(), 0)
        os.fdatasync(self._head_file)


def first_broken_line(path: Path | str) -> int | None:
    """The number of the first line (from 1) that was changed, or before which one is missing; None where all is well.

    Where the head says that there were more lines than there are, it is the number of the first of them; where the head is missing,
    that of the line behind the last one, as nobody can say that there was none. (Version 0.1 wrote no head, and no numbers.)
    """
    path = Path(path)
    head = _read_head(path)
    found, broken = _walked(path, head or _Head())
    if head is None and broken is None and not _is_of_first_version(path):
        return found.lines + 1
    return broken


def _is_of_first_version(path: Path) -> bool:
    """True where no line has a number, and there is one."""
    with path.open("rb") as file:
        numbered = ["line" in parse_json(line) for line in file]
    return bool(numbered) and not any(numbered)


def _walked(path: Path, head: _Head) -> tuple[_Head, int | None]:
    """How far a file is well, from its first line on, and the number of the first line that is not."""
    found = _Head()
    with path.open("rb") as file:
        for line in file:
            after = _after(found, line)
            if after is None or (after.lines == head.lines and after != head):
                return found, found.lines + 1
            found = after
    return found, found.lines + 1 if found.lines < head.lines else None


def _continued(path: Path) -> _Head:
    """The head to go on from: all lines, those included that a kill left behind the head that is kept apart."""
    head = _read_head(path)
    if head is None:
        return _adopted(path)
    found, broken = _walked(path, head)
    if broken is None:
        return found
    with path.open("rb") as file:
        file.seek(found.bytes)
        if found.lines >= head.lines and not file.readline().endswith(b"\n"):
            return found  # cut by a kill: it was never answered
    raise DataError(
        f"{path}:{broken}: was changed or taken out, or the line before it (its head says {head.lines:,} lines); keep it as it "
        "is and name another --audit"
    )


def _set_aside(path: Path, file: int, end: int) -> None:
    """Cut a file behind its last whole line; what is there, a line that a kill cut or what others wrote, goes into ``FILE.cut``."""
    rest = os.fstat(file).st_size - end
    if rest <= 0:
        return
    aside = path.with_name(f"{path.name}.cut")
    kept = os.open(aside, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        for start in range(end, end + rest, _BLOCK):
            _write_whole(kept, os.pread(file, _BLOCK, start))
        os.fsync(kept)
    finally:
        os.close(kept)
    os.ftruncate(file, end)
    _LOG.warning("%s: its last %d bytes are no whole line; they are kept in %s", path, rest, aside.name)


def _adopted(path: Path) -> _Head:
    """The head of a file that has none: new, or of a version that kept none."""
    head = _Head()
    with path.open("rb") as file:
        for line in file:
            after = _after(head, line)
            if after is None and head.lines and not line.endswith(b"\n"):
                break  # cut by a kill
            if after is None:
                raise DataError(
                    f"{path}:{head.lines + 1}: is no line of an audit, or was changed; keep it as it is and name another --audit"
                )
            if "line" in parse_json(line):
                raise DataError(
                    f"{path}: its head {_head_path(path).name} is missing; keep it as it is and name another --audit"
                )
            head = after
    return head


def _head_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.head")


def _read_head(path: Path) -> _Head | None:
    try:
        stored = parse_json(_head_path(path).read_text(encoding="utf-8"))
        head = _Head(
            stored["lines"], stored["bytes"], stored["digest"]
        )  # by default it would say that there was no line
        if [type(value) for value in astuple(head)] != [int, int, str] or stored != asdict(head):
            raise ValueError("other keys than a head's, or values of another kind")
        if not 0 <= head.lines <= head.bytes < 2**63:
            raise ValueError("lines and bytes that no file has")
        return head
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{_head_path(path)}: is damaged; keep it as it is and name another --audit") from error


def _line(entry: Mapping[str, Any], number: int, previous: str) -> tuple[bytes, str]:
    """A line of the file, and its digest."""
    whole = {"time": round(time.time(), 3), **entry, "line": number, "previous": previous}
    digest = _digest(json.dumps(whole, sort_keys=True).encode())
    return (json.dumps(whole | {"digest": digest}, sort_keys=True) + "\n").encode(), digest


def _after(head: _Head, line: bytes) -> _Head | None:
    """The head after a further line; None where the line was changed, or one before it is missing."""
    digest, previous = _chained(line)
    if digest is None or previous != head.digest:
        return None
    return _Head(head.lines + 1, head.bytes + len(line), digest)


def _chained(line: bytes) -> tuple[str, str] | tuple[None, None]:
    """A line's own digest, where it fits the line, and that of the line before."""
    own, before = _OWN_DIGEST.search(line), _PREVIOUS.search(line)
    if own is not None and before is not None and line.endswith(b"}\n"):  # six times as fast as to read all of it
        text = line[: own.start()] + line[own.end() : -1]
        if _digest(text) == own[1].decode():
            return own[1].decode(), before[1].decode()
    try:
        entry = parse_json(line)
        digest, previous = str(entry.pop("digest")), str(entry["previous"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None, None
    same = line == (json.dumps(entry | {"digest": digest}, sort_keys=True) + "\n").encode()
    fits = same and digest == _digest(json.dumps(entry, sort_keys=True).encode())
    return (digest, previous) if fits else (None, None)


def _digest(text: bytes) -> str:
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def _write_whole(file: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]
