"""What an output may take the place of: an earlier output of the same command, never what is read nor a file of others."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import combinations
from pathlib import Path

from bonaface.errors import ConfigError, DataError
from bonaface.io import STDOUT
from bonaface.reading import open_regular, read_regular

__all__ = [
    "is_one_file",
    "is_there",
    "refuse_foreign_file",
    "refuse_input",
    "refuse_one_file",
    "refuse_other_folder",
    "refuse_stdout",
    "refuse_unlike",
    "temporary_name",
]

_BLOCK = 2**20


def refuse_input(out: Path, *inputs: Path | None) -> None:
    """Raise an error where an output is a file that the same command reads, under whatever name.

    Raises:
        DataError: if it is.
    """
    for each in inputs:
        with suppress(OSError, ValueError):  # one of them is not there
            if each is not None and out.samefile(each):
                raise DataError(f"{out}: is read by this command, so it isn't replaced; choose another name")


def refuse_one_file(named: Mapping[str, Sequence[Path]]) -> None:
    """Raise an error where two options name one file, by whatever path or link, also one that is not there yet.

    Args:
        named: the files of each option, with those that are written beside it.

    Raises:
        ConfigError: if two do.
    """
    listed = [(option, path) for option, paths in named.items() for path in paths]
    for (one, first), (other, second) in combinations(listed, 2):
        if one != other and is_one_file(first, second):
            raise ConfigError(f"{one} {first} and {other} {second}: are one file; expected one for each")


def is_one_file(first: Path, second: Path) -> bool:
    """Tell whether two paths name one file or folder, by whatever link, also one that is not there yet."""
    with suppress(OSError):  # one of them is not there
        return first.samefile(second)
    return os.path.realpath(first) == os.path.realpath(second)


def is_there(path: Path, opened: os.stat_result) -> bool:
    """Tell whether what was opened at a path lies there still, and nothing else in its place."""
    try:
        return os.path.samestat(path.stat(), opened)
    except OSError:
        return False


def refuse_foreign_file(out: Path, mark: bytes) -> None:
    """Raise an error where a file is there without the words that every file of its kind holds; an empty one is free.

    Args:
        out: that is to be written.
        mark: the words, at most a line.

    Raises:
        DataError: if there is one.
    """
    if out.is_file() and out.stat().st_size and not _holds(out, mark):
        raise DataError(f"{out}: is there and is another kind of file, so it isn't replaced; choose another name")


def refuse_unlike(out: Path, content: bytes) -> None:
    """Raise an error where a file is there with another content than the one that it is to have.

    Raises:
        DataError: if there is one.
    """
    if out.exists() and not (out.is_file() and read_regular(out) == content):
        raise DataError(f"{out}: is there with another content, so it isn't replaced; choose another name")


def refuse_other_folder(out: Path, own: Sequence[str] = (), mark: bytes = b"") -> None:
    """Raise an error unless a folder is new or empty, or one of the kind that is to be written.

    Args:
        out: the folder.
        own: files that all folders of its kind hold, in the order in which they are written.
        mark: words that the first of them holds; with it, a folder that was begun and not finished is known too.

    Raises:
        DataError: if it is a file, or holds something else.
    """
    refuse_stdout(out)
    if out.exists() and not out.is_dir():
        raise DataError(f"{out}: is no folder; choose another name")
    begun = {temporary_name(name) for name in own}
    names = {path.name for path in out.iterdir()} if out.is_dir() else set()
    names = {name for name in names if not any(each.fullmatch(name) for each in begun)}
    finished = bool(own) and names.issuperset(own)
    if names and not (finished or (mark and own[0] in names and _holds(out / own[0], mark))):
        raise DataError(
            f"{out}: holds {min(names)} and is no such folder as this command writes; name a new or empty one"
        )


def refuse_stdout(out: Path | str) -> None:
    """Raise an error where an output is ``-``: a folder, keys and a database can't be written to a stream.

    Raises:
        DataError: if it is.
    """
    if str(out) == STDOUT:
        raise DataError(f"{STDOUT}: is standard output, which can't take this; name a file or a folder")


def temporary_name(name: str) -> re.Pattern[str]:
    """Names under which ``atomic_write`` begins a file."""
    path = Path(name)
    return re.compile(rf"\.{re.escape(path.stem)}\.[0-9a-f]{{8}}{re.escape(path.suffix)}")


def _holds(file: Path, mark: bytes) -> bool:
    return any(mark in block for block in _blocks(file, len(mark)))


def _blocks(file: Path, overlap: int) -> Iterator[bytes]:
    """A file's content block by block, each with the end of the one before."""
    with open_regular(file) as content:
        before = b""
        while block := content.read(_BLOCK):
            yield before + block
            before = block[-overlap:]
