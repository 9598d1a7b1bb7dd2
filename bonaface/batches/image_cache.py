"""Decoded images of a table in memory-mapped arrays, made once and shared by every run on the same files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from rich.progress import Progress

from bonaface.data.table import FaceTable
from bonaface.errors import DataError
from bonaface.images.crops import InputSpec
from bonaface.images.decoding import decode
from bonaface.images.preprocessing import Preprocessor

__all__ = ["FaceStore", "open_store"]


@dataclass(frozen=True)
class FaceStore:
    """Decoded images of a table: by kind, a memory-mapped array ``(n, size, size, 3)`` in the table's order."""

    arrays: Mapping[str, NDArray[np.uint8]]

    def image(self, row: int, view: InputSpec) -> NDArray[np.uint8]:
        """The stored image that a view of a row is cut from."""
        image: NDArray[np.uint8] = self.arrays[view.kind][row]
        return image


def open_store(
    table: FaceTable, prepare: Preprocessor, cache: Path, threads: int = 2, progress: Progress | None = None
) -> FaceStore:
    """The images of a table, decoded at most once for each state of its files, by however many processes want them.

    Args:
        table: readable images only (``cleaning`` leaves the others out).
        prepare: what is kept of each.
        cache: folder of all stores; one store is about ``n * size^2 * 3`` bytes a kind.
        threads: that decode.
        progress: shows how far it is.

    Raises:
        DataError: if an image can't be decoded or the disk is full.
    """
    folder = cache / _key(table, prepare)
    if not _is_whole(folder, prepare):
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with FileLock(cache / f"{folder.name}.lock"):  # another process may be at it already
                if not _is_whole(folder, prepare):
                    _build(table, prepare, folder, threads, progress)
        except OSError as error:
            raise DataError(
                f"{cache}: decoded images can't be kept there ({error.strerror}): set faces.cache elsewhere"
            ) from error
    return FaceStore({kind: np.load(folder / f"{kind}.npy", mmap_mode="r") for kind in prepare.kinds})


def _is_whole(folder: Path, prepare: Preprocessor) -> bool:
    """Whether a store is finished and has the file of each kind; 0.1 gave face crops another name."""
    return all((folder / name).exists() for name in ("done.json", *(f"{kind}.npy" for kind in prepare.kinds)))


def _key(table: FaceTable, prepare: Preprocessor) -> str:
    digest = hashlib.blake2b(prepare.fingerprint().encode(), digest_size=16)
    for row in range(len(table)):
        path = table.path(row)
        state = path.stat()
        digest.update(f"{path.resolve()}|{state.st_size}|{state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _build(table: FaceTable, prepare: Preprocessor, folder: Path, threads: int, progress: Progress | None) -> None:
    """Into a folder beside it, moved into place when whole: a kill leaves no half store under its name."""
    work = Path(tempfile.mkdtemp(prefix="unfinished-", dir=folder.parent))
    try:
        arrays = {
            kind: np.lib.format.open_memmap(
                work / f"{kind}.npy",
                mode="w+",
                dtype=np.uint8,
                shape=(len(table), prepare.size(kind), prepare.size(kind), 3),
            )
            for kind in prepare.kinds
        }

        def fill(row: int) -> None:
            for kind, image in prepare(decode(table.path(row))).items():
                arrays[kind][row] = image

        _each(fill, len(table), threads, "decoding images", progress)
        for array in arrays.values():
            array.flush()
        (work / "done.json").write_text(json.dumps({"images": len(table), "kinds": prepare.kinds}), encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(work, folder)  # noqa: PTH105 - the one call that is atomic for folders
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _each(work: Callable[[int], None], count: int, threads: int, title: str, progress: Progress | None) -> None:
    task = progress.add_task(title, total=count) if progress else None
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, range(count)):
            if progress is not None and task is not None:
                progress.advance(task)
