"""The folder of a gallery in Milvus Lite, before the library opens it."""

from __future__ import annotations

import fcntl
import json
import shutil
from pathlib import Path

from bonaface.errors import DataError

__all__ = ["prepare_folder"]


def prepare_folder(folder: Path, alias: str, prefix: str) -> None:
    """Make the folder for its owner alone, and clear away what a kill has left of collections that don't count.

    Milvus Lite removes a collection file by file, and opens nothing any more where one was removed by half. A folder that another
    process has open stays as it is.

    Args:
        folder: of the database.
        alias: names the collection that counts.
        prefix: of the names of all collections of a gallery.

    Raises:
        DataError: if the folder can't be made or read.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (folder / "LOCK").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            live = _target(folder / "aliases.json", alias)
            for collection in (folder / "collections").glob(f"{prefix}*"):
                if live is not None and collection.name != live:
                    shutil.rmtree(collection)
    except OSError as error:
        said = (error.strerror or str(error)).lower()
        raise DataError(
            f"{folder}: can't be used as a gallery ({said}); expected a folder that can be written to"
        ) from error


def _target(aliases: Path, alias: str) -> str | None:
    """The collection that an alias names, where there is one."""
    try:
        target = json.loads(aliases.read_text(encoding="utf-8")).get(alias)
    except (FileNotFoundError, ValueError, AttributeError):
        return None
    return target if isinstance(target, str) and (aliases.parent / "collections" / target).is_dir() else None
