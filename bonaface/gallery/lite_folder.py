"""The folder of a gallery in Milvus Lite, checked before the library opens it.

Where the newest manifest of a collection is damaged, the library takes the one before without a word and removes every file that
the older one does not name. So it only gets to open what is whole.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

from bonaface.errors import GalleryDamagedError, GalleryError, GalleryUnavailableError
from bonaface.gallery.collection_name import CollectionName
from bonaface.io import parse_json
from bonaface.locks import try_lock
from bonaface.reading import open_regular, read_regular_text

__all__ = ["prepare_folder", "refuse_other_folder"]

_OWN = {"LOCK", "collections"}
_PARQUET = b"PAR1"
_SHORTEST_PARQUET = 12
_LOG = logging.getLogger("bonaface.gallery")


def prepare_folder(folder: Path, alias: str, read_only: bool = False) -> None:
    """Make the folder for its owner alone, refuse a damaged one, and clear away what a kill has left.

    Left may be collections that no alias names: a process was killed while it wrote them, or after they were replaced.
    Milvus Lite removes a collection file by file, and opens nothing any more where one was removed by half.

    Args:
        folder: of the database.
        alias: names the collection that counts.
        read_only: clear nothing away.

    Raises:
        GalleryUnavailableError: if another process has the folder open.
        GalleryDamagedError: if a file is cut, damaged or missing, or is a pipe or a device.
        GalleryError: if the folder can't be made or read, or, where it is only read, holds half of what a kill has left.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        refuse_other_folder(folder)
        with (folder / "LOCK").open("a") as lock:
            if not try_lock(lock.fileno()):
                raise GalleryUnavailableError(
                    f"{folder}: can't be opened as a gallery; expected a folder of Milvus Lite that no other process uses"
                )
            replaced = _replaced(folder, alias)
            for collection in replaced:
                _refuse_half(folder, collection) if read_only else shutil.rmtree(collection)
            for collection in _collections(folder):
                if collection not in replaced:
                    _refuse_damaged(folder, collection)
                    _warn_of_cut_logs(folder, collection)
    except OSError as error:
        said = (error.strerror or str(error)).lower()
        raise GalleryError(
            f"{folder}: can't be used as a gallery ({said}); expected a folder that can be written to"
        ) from error


def _collections(folder: Path) -> list[Path]:
    return [path for path in (folder / "collections").glob("*") if path.is_dir() and CollectionName.parse(path.name)]


def refuse_other_folder(folder: Path) -> None:
    """Raise an error for a folder of others, and for pipes and devices, which the library would wait for or read without end.

    Raises:
        GalleryError: if it is one.
    """
    if not folder.is_dir():
        raise GalleryError(f"{folder}: is no folder of Milvus Lite; name another --gallery")
    names = {path.name for path in folder.iterdir()}
    if names and names.isdisjoint(_OWN):
        raise GalleryError(f"{folder}: holds {min(names)} and is no gallery of bonaface; name another --gallery")
    for path in folder.rglob("*"):
        if path.exists() and not (path.is_file() or path.is_dir()):
            named = path.relative_to(folder)
            raise GalleryDamagedError(
                f"{folder}: its {named} is a pipe or a device, and no regular file; restore the folder from a backup"
            )


def _replaced(folder: Path, alias: str) -> list[Path]:
    """The collections beside the one that counts."""
    aliases = folder / "aliases.json"
    target = _object(folder, aliases).get(alias) if aliases.exists() else None
    if target is None:
        return []
    if not (folder / "collections" / str(target)).is_dir():
        raise GalleryDamagedError(f"{folder}: its collection {target} is missing; restore the folder from a backup")
    return [collection for collection in _collections(folder) if collection.name != target]


def _refuse_half(folder: Path, collection: Path) -> None:
    """Refuse a replaced collection that was removed by half: the library would not open it."""
    try:
        _refuse_damaged(folder, collection)
    except GalleryDamagedError as error:
        raise GalleryError(
            f"{folder}: holds what a kill has left of deleted photos; bonaface enrol and serve clear it away when they open it"
        ) from error


def _refuse_damaged(folder: Path, collection: Path) -> None:
    _object(folder, collection / "schema.json")
    manifest = collection / "manifest.json"
    rows = list(collection.glob("partitions/*/*/*.parquet"))
    if not manifest.exists() and not rows and not manifest.with_name("manifest.json.prev").exists():
        return  # killed before anything was written
    for name in _tables(folder, manifest):
        _refuse_cut(folder, collection / "partitions" / name)


def _warn_of_cut_logs(folder: Path, collection: Path) -> None:
    """Say that a log ends within a row: the library takes what is before it, without a word, and removes the file."""
    import pyarrow

    for log in collection.glob("wal/*.arrow"):
        try:
            with pyarrow.ipc.open_stream(log.read_bytes()) as rows:
                for _ in rows:
                    pass
        except (pyarrow.ArrowException, OSError):
            _LOG.warning(
                "%s: its log %s is cut or damaged, as a kill may leave it: what was enrolled or deleted last may be lost",
                folder,
                log.relative_to(folder),
            )


def _tables(folder: Path, manifest: Path) -> list[str]:
    """The files that a manifest names, each below its partition."""
    try:
        return [
            f"{partition}/{name}"
            for partition, files in _object(folder, manifest)["partitions"].items()
            for kind in ("data_files", "delta_files")
            for name in files.get(kind, [])
        ]
    except (KeyError, AttributeError, TypeError) as error:
        raise _damaged(folder, manifest) from error


def _refuse_cut(folder: Path, file: Path) -> None:
    """Refuse a table whose first or last bytes are not there."""
    try:
        with open_regular(file) as content:
            start = content.read(len(_PARQUET))
            content.seek(-min(_SHORTEST_PARQUET, file.stat().st_size), 2)
            end = content.read()
    except (FileNotFoundError, ValueError) as error:
        raise _damaged(folder, file) from error
    if start != _PARQUET or len(end) < _SHORTEST_PARQUET or not end.endswith(_PARQUET):
        raise _damaged(folder, file)


def _object(folder: Path, file: Path) -> dict[str, Any]:
    """The content of a JSON file."""
    try:
        content = parse_json(read_regular_text(file))
    except (FileNotFoundError, ValueError) as error:
        raise _damaged(folder, file) from error
    if not isinstance(content, dict):
        raise _damaged(folder, file)
    return content


def _damaged(folder: Path, file: Path) -> GalleryDamagedError:
    what = "is damaged" if file.exists() else "is missing"
    return GalleryDamagedError(
        f"{folder}: its file {file.relative_to(folder)} {what}, and opening it would lose people; "
        "restore the folder from a backup"
    )
