"""Files that are read: regular ones alone, as a pipe may wait for ever for its writer and a device may have no end."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["SETTINGS_BYTES", "open_regular", "read_regular", "read_regular_text", "walk_folder"]

SETTINGS_BYTES = 16 * 2**20
"""More than any file of settings, keys or descriptions has."""

_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


def open_regular(path: Path | str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for reading.

    Raises:
        OSError: if it can't be opened, or is a pipe, a device or a folder.

    Example:
        >>> open_regular("/dev/zero")
        Traceback (most recent call last):
        OSError: [Errno 22] is a device, and no regular file: '/dev/zero'
    """
    name = os.fspath(path)
    descriptor = os.open(name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind == stat.S_IFREG:
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    raise OSError(errno.EINVAL, f"is {_KINDS.get(kind, 'something else')}, and no regular file", name)


def read_regular(path: Path | str | os.PathLike[str], most: int | None = None) -> bytes:
    """The content of a regular file.

    Args:
        path: of the file.
        most: bytes that it may have; None for any number.

    Raises:
        OSError: if it can't be read, is no regular file, or has more bytes.
    """
    with open_regular(path) as file:
        content = file.read() if most is None else file.read(most + 1)
    if most is not None and len(content) > most:
        raise OSError(errno.EINVAL, f"has more than {most / 1e6:.0f} MB", os.fspath(path))
    return content


def read_regular_text(path: Path | str | os.PathLike[str], encoding: str = "utf-8") -> str:
    """The text of a regular file of at most ``SETTINGS_BYTES``, with the line ends of Unix.

    Raises:
        OSError: as :func:`read_regular` does.
        UnicodeDecodeError: if it is another encoding.
    """
    text = read_regular(path, SETTINGS_BYTES).decode(encoding)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def walk_folder(root: Path | str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Every folder from one on with the names of the folders and files in it, as ``os.walk`` gives them, sorted.

    Links to folders elsewhere are followed, each folder once, but to none that the first one lies in. Nothing is given of folders
    that are removed from the list.

    Raises:
        OSError: if a folder can't be listed.
    """

    def refuse(error: OSError) -> None:
        raise error

    top = os.path.realpath(root)
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, onerror=refuse, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not _leads_back(os.path.join(folder, name), top))  # noqa: PTH118
        yield folder, folders, sorted(files)


def _leads_back(folder: str, top: str) -> bool:
    """Tell whether a folder is a link to one that lies in the first, or that this lies in."""
    if not os.path.islink(folder):  # noqa: PTH114 - there may be millions
        return False
    real = os.path.realpath(folder)
    return os.path.commonpath([real, top]) in (real, top)
