"""Folders and files on this machine or in object storage, by one address each: ``photos``, ``/data/a.csv``, ``s3://bucket/photos``."""

from __future__ import annotations

import posixpath
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from bonaface.errors import ConfigError, DataError
from bonaface.io import atomic_write, check_names
from bonaface.reading import open_regular, read_regular, walk_folder

__all__ = ["Place"]


class Place:
    """A folder or a file at an address.

    Args:
        address: a path, or a URL of any scheme that fsspec knows.

    Raises:
        ConfigError: if the scheme is unknown or its package isn't installed.

    Example:
        >>> Place("memory://photos/a").write(b"1")
        >>> [(folder, files) for folder, files in Place("memory://photos").walk()]
        [('.', ['a'])]
    """

    def __init__(self, address: str) -> None:
        self.address = address
        try:
            self.files, self.root = fsspec.core.url_to_fs(address)
        except (ImportError, ValueError) as error:
            said = " ".join(str(error).split())
            raise ConfigError(f"{address}: {said}; expected a path, or a URL such as s3://bucket/photos") from error

    def __truediv__(self, name: str) -> Place:
        """Return what lies under a relative name."""
        made = Place.__new__(Place)
        made.address = f"{self.address.rstrip('/')}/{name}"
        made.files, made.root = self.files, posixpath.join(self.root, name)
        return made

    @property
    def is_local(self) -> bool:
        """Tell whether it is on this machine's disk."""
        return isinstance(self.files, LocalFileSystem)

    def is_folder(self) -> bool:
        """Tell whether there is a folder here.

        Raises:
            DataError: if the storage refuses or does not answer.
        """
        return bool(self._asked(self.files.isdir))

    def exists(self) -> bool:
        """Tell whether anything is here.

        Raises:
            DataError: if the storage refuses or does not answer.
        """
        return bool(self._asked(self.files.exists))

    def read(self) -> bytes:
        """Return the content of the file.

        Raises:
            DataError: if it can't be read.
        """
        if self.is_local:
            return bytes(self._asked(read_regular))
        content: bytes = self._asked(self.files.cat_file)
        return content

    def opened(self) -> Any:
        """Open the file for reading anywhere in it.

        Raises:
            DataError: if it can't be read.
        """
        return self._asked(open_regular if self.is_local else self.files.open)

    def names(self) -> set[str]:
        """List the names of what lies directly in the folder; none where there is no folder.

        Raises:
            DataError: if the storage refuses or does not answer.
        """
        if not self.exists():
            return set()
        listed: list[str] = self._asked(lambda root: self.files.ls(root, detail=False))
        return {posixpath.basename(path.rstrip("/")) for path in listed}

    def walk(self) -> Iterator[tuple[str, list[str]]]:
        """Yield every folder below, relative to this one, with the files in it, sorted; one folder is in memory at a time.

        On this machine links to folders are followed, but to none that they lie in.

        Raises:
            DataError: if the storage refuses or does not answer.
        """
        try:
            found = walk_folder(self.root) if self.is_local else self.files.walk(self.root, on_error="raise")
            for folder, below, files in found:
                check_names(folder, (*below, *files))
                below.sort()
                yield posixpath.relpath(folder, self.root), sorted(files)
        except DataError:
            raise
        except Exception as error:
            raise self._refused(error) from error

    def write(self, content: bytes, *, private: bool = False) -> None:
        """Write the file: whole or not at all.

        Args:
            content: of the file.
            private: whether a new file on this machine is readable by its owner alone.

        Raises:
            DataError: if it can't be written.
        """
        with self.writing(private=private) as temporary:
            temporary.write_bytes(content)

    @contextmanager
    def writing(self, *, private: bool = False) -> Iterator[Path]:
        """Give a path on this machine to write to; the file appears, whole, when the block ends well.

        Args:
            private: whether a new file on this machine is readable by its owner alone.

        Raises:
            DataError: if it can't be written.
        """
        if self.is_local:
            with atomic_write(Path(self.root), private=private) as temporary:
                yield temporary
            return
        with tempfile.TemporaryDirectory() as folder:
            temporary = Path(folder) / posixpath.basename(self.root)
            yield temporary
            # In object storage a file appears when all of it has arrived.
            self._asked(lambda root: self.files.put_file(str(temporary), root))

    def _asked(self, question: Callable[[str], Any]) -> Any:
        """Ask the storage, its exceptions turned into sentences."""
        try:
            return question(self.root)
        except Exception as error:  # each storage has exceptions of its own
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> DataError:
        if isinstance(error, FileNotFoundError):
            return DataError(f"{self.address}: no such file or folder")
        said = " ".join(str(error).split()) or type(error).__name__
        return DataError(f"{self.address}: can't be read or written ({said[:200]})")
