"""The database under a gallery, and which one a URI names: SQLite in a file, Milvus Lite in a folder, or a Milvus server.

The rows lie in a collection whose name says the gallery's version and the model, and one collection counts. So a collection can be
written anew (for another model, or without what was deleted) and take the place of the old one in a single step.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from bonaface.errors import ConfigError, DataError, GalleryError, GalleryUnavailableError
from bonaface.extras import require
from bonaface.gallery.collection_name import CollectionName, ModelMark
from bonaface.gallery.people import Row
from bonaface.outputs import refuse_stdout

__all__ = [
    "DEFAULT_URI",
    "URIS",
    "Database",
    "default_uri",
    "gallery_at",
    "is_absent",
    "local_place",
    "open_database",
    "refuse_absent",
    "refuse_other_kind",
    "refuse_uri",
    "sqlite_file",
]

_DEFAULT_BEFORE = "gallery.db"
DEFAULT_URI = "gallery.sqlite"
URIS = "a file such as people.sqlite (SQLite), a folder that ends in .db (Milvus Lite), or http://host:port of a Milvus server"
"""What ``--gallery`` takes."""

_SERVER = re.compile("(https?|tcp|unix):")
_SCHEME = re.compile("[A-Za-z][A-Za-z0-9+.-]+:|[A-Za-z]://")  # C: alone is a disk


class Database(Protocol):
    """Rows of enrolled photos. Several threads may use it; every method raises a GalleryError where it can't be done.

    Attributes:
        uri: as messages name it.
        folder: of Milvus Lite, which one process uses alone, and which has to be written anew to erase what was deleted. None
            where several processes may write, and :meth:`compact` erases.
        transactional: :meth:`exclusively` keeps its word.
    """

    uri: str
    folder: Path | None
    transactional: bool

    def kept_photos(self) -> tuple[Path, ...]:
        """Where the folder may be in which photos were kept last, as it was noted; empty where none was."""

    def note_kept_photos(self, folder: Path) -> None:
        """Remember in which folder photos are kept."""

    def exclusively(self) -> AbstractContextManager[None]:
        """No other process changes anything in the block, and of the changes in it all are made or none.

        A Milvus server can't promise that, see ``transactional``.
        """

    def name(self) -> CollectionName | None:
        """The name of the collection that counts; None where there is no gallery yet."""

    def create(self, mark: ModelMark) -> CollectionName:
        """A new, empty collection that does not count yet."""

    def swap(self, new: CollectionName) -> None:
        """Let another collection count, in one step, and drop the one that did."""

    def drop(self, collection: str) -> None:
        """Remove a collection with all its rows."""

    def write(self, rows: Sequence[Row], collection: CollectionName | None = None) -> None:
        """Put rows in, all or none; a row with the id of another takes its place. Without a name into the one that counts."""

    def delete(self, ids: Collection[str], collection: CollectionName | None = None) -> None:
        """Take rows out. Without a name of the collection that counts."""

    def of_person(self, person: str) -> list[Row]:
        """All rows of a person."""

    def scan(self, after: str = "", fields: Sequence[str] = ..., batch: int = ...) -> Iterator[list[Row]]:
        """Rows in the order of their ids, batch by batch, from the one behind ``after``."""

    def present(self, ids: Collection[str]) -> set[str]:
        """Those of some ids that rows have."""

    def nearest(self, vector: Sequence[float], k: int) -> list[Row]:
        """The ``k`` rows, all but their vectors, of highest inner product, each with it as ``cosine``, best first."""

    def count(self) -> int:
        """Number of rows; also a sign of life."""

    def flush(self) -> None:
        """Put what was written into its final files."""

    def refuse_full(self) -> None:
        """Raise an error where there is no room to write."""

    def compact(self) -> None:
        """Drop the bytes of deleted rows, as far as the database can be told to."""

    def close(self) -> None:
        """Write everything out and let go of the database."""


def open_database(uri: str, token: str = "", read_only: bool = False) -> Database:
    """The database that a URI names.

    Args:
        uri: ``PATH`` or ``sqlite:PATH`` of an SQLite file; ``PATH.db`` of a Milvus Lite folder; ``http://host:port`` of a Milvus
            server; the last two also with ``milvus:`` before them.
        token: of a Milvus server, ``user:password`` or an API key.
        read_only: change nothing; it must be there. Milvus Lite itself still brings its log to its files.

    Raises:
        ConfigError: if the URI is none of these.
        MissingExtraError: if Milvus is named and not installed.
        GalleryError: if the database can't be opened.
    """
    file = sqlite_file(uri)
    if file is not None:
        from bonaface.gallery.sqlite import SqliteDatabase

        return SqliteDatabase(file, read_only)
    refuse_uri(uri)
    from bonaface.gallery.milvus import MilvusDatabase

    return MilvusDatabase(re.sub(r"^milvus:(?=//)", "http:", uri).removeprefix("milvus:"), token, read_only)


def refuse_uri(uri: str) -> None:
    """Raise an error unless a URI can be opened by what is installed.

    Raises:
        ConfigError: if it names no gallery.
        MissingExtraError: if it names Milvus, which is not installed.
    """
    if uri == "none":
        raise ConfigError("--gallery none: names no gallery; expected a file such as people.sqlite")
    if sqlite_file(uri) is None:
        require("gallery", what=f"--gallery {uri}", instead="name a file such as people.sqlite, which needs no more")


def is_absent(uri: str) -> bool:
    """Tell whether a gallery is a local one that is not there yet."""
    place = local_place(uri)
    return place is not None and not (place.stat().st_size > 0 if place.is_file() else place.exists())


def local_place(uri: str) -> Path | None:
    """The file or folder that a URI names; None where it names a server."""
    if _SERVER.match(uri) or uri.startswith("milvus://"):
        return None
    return sqlite_file(uri) or Path(uri.removeprefix("milvus:"))


def gallery_at(place: Path) -> tuple[str, tuple[Path, ...]] | None:
    """The id of the gallery in a file or folder, and where it may keep photos; None where there is none that can be read."""
    if place.is_dir():
        names = [CollectionName.parse(path.name) for path in (place / "collections").glob("*")]
        return next(((name.gallery, ()) for name in names if name is not None), None)
    if not place.is_file():
        return None
    try:
        database = open_database(f"sqlite:{place}", read_only=True)
    except GalleryUnavailableError:
        raise
    except GalleryError:
        return None
    try:
        name = database.name()
        return None if name is None else (name.gallery, database.kept_photos())
    finally:
        database.close()


def refuse_absent(uri: str) -> None:
    """Raise an error where a local gallery is not there: reading makes none.

    Raises:
        DataError: if it is not.
    """
    place = local_place(uri)
    if place is not None and place.is_file() and is_absent(uri):
        raise DataError(
            f"{uri}: is an empty file and no gallery; enrol people first by bonaface enrol, or restore it from a backup"
        )
    if is_absent(uri):
        raise DataError(f"{uri}: no such gallery; enrol people first by bonaface enrol")


def refuse_other_kind(uri: str) -> None:
    """Raise an error where something else than a gallery lies at a local gallery's place, as far as can be told without its model.

    Raises:
        ConfigError: if the URI names no gallery.
        MissingExtraError: if it names Milvus, which is not installed.
        GalleryError: if something else lies there, or a gallery of another version or a damaged one.
    """
    refuse_uri(uri)
    file = sqlite_file(uri)
    if file is not None:
        from bonaface.gallery.sqlite import refuse_lone_log

        refuse_lone_log(file)
    if _SERVER.match(uri) or uri.startswith("milvus://") or is_absent(uri):
        return
    if file is None:
        from bonaface.gallery.lite_folder import refuse_other_folder

        refuse_other_folder(Path(uri.removeprefix("milvus:")))
        return
    database = open_database(uri, read_only=True)
    try:
        database.name()
    finally:
        database.close()


def default_uri() -> str:
    """The gallery where none is named: a file, but the folder of Milvus Lite that was the default before where there is one."""
    before = Path(_DEFAULT_BEFORE).is_dir() and not Path(DEFAULT_URI).exists()
    return _DEFAULT_BEFORE if before else DEFAULT_URI


def sqlite_file(uri: str) -> Path | None:
    """The SQLite file that a URI names; None where it names Milvus.

    Raises:
        ConfigError: if it names neither.

    Example:
        >>> sqlite_file("sqlite:people.sqlite").name, sqlite_file("http://localhost:19530")
        ('people.sqlite', None)
    """
    refuse_stdout(uri)
    if uri.startswith("sqlite:"):
        path = re.sub("^sqlite:(//)?", "", uri)
    elif uri.startswith("milvus:") or _SERVER.match(uri) or (uri.endswith(".db") and not Path(uri).is_file()):
        return None
    else:
        path = uri
    if not path or (path == uri and _SCHEME.match(uri)):
        raise ConfigError(f"--gallery {uri}: expected {URIS}")
    return Path(path)
