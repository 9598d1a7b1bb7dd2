"""Files that appear whole or not at all: written under a temporary name beside the target, then renamed over it."""

import csv
import errno
import json
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bonaface.errors import DataError

__all__ = [
    "STDOUT",
    "atomic_write",
    "check_folder",
    "check_names",
    "check_new_file",
    "integer",
    "number",
    "parse_json",
    "private_table",
    "refuse_other_file",
    "spreadsheet_text",
]

STDOUT = "-"
"""The path that means standard output."""

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_PIPE_SECONDS = 10.0
_INTEGER = re.compile("[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_OWN_STREAMS = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/")
"""Names of open files: they are written to, whatever they lead to, and never replaced."""


@contextmanager
def atomic_write(path: Path | str, *, private: bool = False) -> Iterator[Path]:
    """Give a temporary path to write to, and move what was written to ``path`` when the block ends well.

    The temporary file lies in the same folder (a rename across disks isn't atomic) and keeps the suffix, which some
    writers read the format from. Missing parent folders are made. If the block raises, the temporary file is removed
    and what was at ``path`` before is still there. Of an existing file the mode and, where the system allows it, the
    owner are kept; of a symbolic link into a folder that is there the
    target is replaced and the link stays. A device, a FIFO and ``-`` (standard
    output) can't be replaced: what the block wrote is copied into them.

    Args:
        path: the file that shall appear.
        private: whether a new file is readable by its owner alone (mode 600), as embeddings, scores, keys and photos are.

    Yields:
        The path to write to instead.

    Raises:
        DataError: if the disk is full, or the folder can't be made or written to.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "a.txt"
        >>> with atomic_write(target) as temporary:
        ...     _ = temporary.write_text("whole")
        >>> target.read_text()
        'whole'
    """
    path = Path(path)
    writing = _copied_into(path) if _is_stream(path) else _renamed_over(path, private)
    with writing as temporary:
        yield temporary


def _is_stream(path: Path) -> bool:
    """Tell whether a path leads to something that is written to but never replaced."""
    if str(path) == STDOUT or os.path.abspath(path).startswith(_OWN_STREAMS):  # noqa: PTH100 - links are not followed
        return True
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@contextmanager
def _copied_into(path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / (path.name or "stdout")
        yield temporary
        try:
            with temporary.open("rb") as written:
                if str(path) == STDOUT:
                    sys.stdout.flush()
                    shutil.copyfileobj(written, sys.stdout.buffer)
                    sys.stdout.buffer.flush()
                else:
                    # Opening to append leaves what a redirected stream holds already.
                    with os.fdopen(_opened_stream(path), "wb") as stream:
                        shutil.copyfileobj(written, stream)
        except OSError as error:
            raise _unwritable(path, error) from error


def _opened_stream(path: Path) -> int:
    """A device or a pipe opened for writing; a pipe that nobody reads is not waited for without end."""
    until = time.monotonic() + _PIPE_SECONDS
    while True:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            if time.monotonic() > until:
                raise OSError(errno.ENXIO, "nobody reads this pipe") from error
            time.sleep(0.05)
        else:
            os.set_blocking(descriptor, True)
            return descriptor


@contextmanager
def _renamed_over(path: Path, private: bool) -> Iterator[Path]:
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
    try:
        if target.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        if path.is_symlink() and not target.parent.is_dir():
            raise DataError(
                f"{path}: is a link into {target.parent}, which is no folder; make it, or choose another name"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        before = target.stat() if target.exists() else None
        if private or before is not None:
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        yield temporary
        if before is not None:
            _keep_owner_and_mode(temporary, before)
        elif private:
            temporary.chmod(0o600)
        temporary.replace(target)
    except Exception as error:
        refusal = _refusal(error, path, {temporary, target, path})
        if refusal is None:
            raise
        raise refusal from error
    finally:
        if temporary.exists():
            temporary.unlink()


def _keep_owner_and_mode(file: Path, before: os.stat_result) -> None:
    """Give a file the owner, as far as the system allows it, and the mode of another."""
    now = file.stat()
    if hasattr(os, "chown") and (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
        try:
            os.chown(file, before.st_uid, before.st_gid)
        except PermissionError:
            # Nobody gains access: what the group may do was meant for another group.
            file.chmod(stat.S_IMODE(before.st_mode) & ~0o070)
            return
    file.chmod(stat.S_IMODE(before.st_mode))


@contextmanager
def private_table(path: Path, columns: Sequence[str]) -> Iterator[Any]:
    """A CSV of what is nobody else's business, such as verdicts on faces, with its head written; see :func:`atomic_write`.

    Args:
        path: of the file.
        columns: their names.

    Raises:
        DataError: if it can't be written, or there is a file that is no such table.
    """
    refuse_other_file(path, columns)
    with (
        atomic_write(path, private=True) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream,  # names of any bytes
    ):
        writer = csv.writer(stream)
        writer.writerow(columns)
        yield writer


def refuse_other_file(path: Path, columns: Sequence[str]) -> None:
    """Raise an error where a file is there that is no table of these columns: a photo, a gallery, or what is read.

    Raises:
        DataError: if there is one.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        first = file.readline(10_000).strip()
    if first and first != ",".join(columns).encode():
        raise DataError(f"{path}: is there and is another kind of file, so it isn't replaced; choose another name")


def spreadsheet_text(text: str, mark: str = "'") -> str:
    """Text for a cell of a CSV, with a mark before it where a spreadsheet would compute it as a formula.

    Args:
        text: of a name that others may have chosen.
        mark: what is put before it; ``./`` leaves a relative path what it is.

    Example:
        >>> spreadsheet_text("=1+1"), spreadsheet_text("-7"), spreadsheet_text("@a.jpg", "./")
        ("'=1+1", '-7', './@a.jpg')
    """
    if not text.startswith(("=", "+", "-", "@", "\t", "\r")):
        return text
    try:
        float(text)
    except ValueError:
        return mark + text
    return text


def check_new_file(path: Path) -> None:
    """Refuse, before the work that it is to hold, a file that is there already or that can't be written.

    Raises:
        DataError: saying which of the two.
    """
    if path.exists() or path.is_symlink():
        raise DataError(f"{path}: is there already; choose another name, or remove it first")
    check_folder(path)


def check_folder(path: Path) -> None:
    """Refuse, before the work that it is to hold, a file whose folder can't be written to.

    Raises:
        DataError: if it can't.
    """
    folder = next(each for each in path.absolute().parents if each.exists())
    if not folder.is_dir():
        raise _unwritable(path, NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _unwritable(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def check_names(folder: Path | str, names: Iterable[str]) -> None:
    """Refuse file names that are not UTF-8 text: neither tables nor messages can hold them.

    Raises:
        DataError: naming the first and saying how many there are.
    """
    wrong = [name for name in names if not name.isascii() and any("\ud800" <= letter <= "\udfff" for letter in name)]
    if wrong:
        more = f", nor are {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise DataError(
            f"{folder}: the name {os.fsencode(wrong[0])!r} is not UTF-8 text{more}; rename the file or folder"
        )


def _refusal(error: Exception, path: Path, own: set[Path]) -> DataError | None:
    """Return the sentence for the user where writing itself failed, or None where the error is the block's own affair."""
    # Writers in C++ and Rust lose the errno but keep the system's text.
    if getattr(error, "errno", None) in _NO_ROOM or os.strerror(errno.ENOSPC) in str(error):
        return _full(path)
    if not isinstance(error, OSError) or error.filename is None:
        return None
    failed = Path(str(error.filename))
    if failed in own or any(failed in each.parents for each in own):
        return _unwritable(path, error)
    return None


def _full(path: Path) -> DataError:
    return DataError(f"{path}: can't be written, the disk is full; free some space or choose another folder")


def _unwritable(path: Path, error: OSError) -> DataError:
    if error.errno in _NO_ROOM:
        return _full(path)
    reason = (error.strerror or str(error)).lower()
    return DataError(f"{path}: can't be written ({reason}); choose a file name in a folder that can be written to")


def integer(text: str) -> int:
    """An integer as C and JSON write it: Python's underscores, other scripts' digits and spaces around it are none.

    Raises:
        ValueError: if it is none.

    Example:
        >>> integer("1_0")
        Traceback (most recent call last):
        ValueError: expected an integer such as 10, got '1_0'
    """
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"expected an integer such as 10, got {text[:50]!r}")
    return int(text)


def number(text: str) -> float:
    """A number as C and JSON write it, as :func:`integer` does; NaN and infinity are none.

    Raises:
        ValueError: if it is none.
    """
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"expected a number such as 0.001, got {text[:50]!r}")
    return float(text)


def parse_json(text: str | bytes) -> Any:
    """The content of a JSON text that anybody may have written.

    Args:
        text: the whole of it, bytes in UTF-8.

    Raises:
        ValueError: if it is no JSON, or nested too deeply.

    Example:
        >>> parse_json('{"a": 1}')
        {'a': 1}
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
