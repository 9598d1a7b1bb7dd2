"""Images to batches: decoded once into memory-mapped arrays, then read, augmented and stacked step by step."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from rich.progress import Progress
from torch import Tensor
from torch.utils.data import Dataset

from bonaface.data.augmentation import Augmentation
from bonaface.data.samplers import StepSampler
from bonaface.data.table import FaceTable
from bonaface.errors import DataError
from bonaface.images.crops import InputSpec
from bonaface.images.decoding import decode
from bonaface.images.preprocessing import Preprocessor

__all__ = ["Batch", "FaceStore", "TestBatches", "TrainingBatches", "open_store", "stacked"]


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
    if not (folder / "done.json").exists():
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with FileLock(cache / f"{folder.name}.lock"):  # another process may be at it already
                if not (folder / "done.json").exists():
                    _build(table, prepare, folder, threads, progress)
        except OSError as error:
            raise DataError(
                f"{cache}: decoded images can't be kept there ({error.strerror}): set faces.cache elsewhere"
            ) from error
    return FaceStore({kind: np.load(folder / f"{kind}.npy", mmap_mode="r") for kind in prepare.kinds})


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


@dataclass(frozen=True)
class Batch:
    """One step's images.

    Args:
        images: by branch, uint8 ``(n, 3, size, size)``.
        labels: class numbers ``(n,)``, int64.
        is_fake: whether each is a deepfake ``(n,)``, bool.
    """

    images: dict[str, Tensor]
    labels: Tensor
    is_fake: Tensor

    def pin_memory(self) -> Batch:
        """For the copy to a GPU."""
        return Batch(
            {k: v.pin_memory() for k, v in self.images.items()}, self.labels.pin_memory(), self.is_fake.pin_memory()
        )

    def to(self, device: Any, non_blocking: bool = False) -> Batch:
        """The batch on a device."""
        moved = {k: v.to(device, non_blocking=non_blocking) for k, v in self.images.items()}
        return Batch(moved, self.labels.to(device), self.is_fake.to(device))


class TrainingBatches(Dataset[Batch]):
    """Item ``k`` is the batch of step ``first + k``: a pure function of the seed and the step, so that a run can go on anywhere.

    Args:
        store: the images.
        labels: class of each row of the store, shape ``(n,)``.
        is_fake: shape ``(n,)``.
        rows: row of the store of each position that the sampler knows, shape ``(m,)``.
        sampler: positions of each step.
        augmentation: what each image goes through.
        views: what each trained branch looks at.
        seed: of the augmentation.
        first: step of the first item.
        count: number of items.
    """

    def __init__(
        self,
        store: FaceStore,
        labels: NDArray[np.int64],
        is_fake: NDArray[np.bool_],
        rows: NDArray[np.int64],
        sampler: StepSampler,
        augmentation: Augmentation,
        views: Mapping[str, InputSpec],
        seed: int,
        first: int,
        count: int,
    ) -> None:
        self.store = store
        self.labels = labels
        self.is_fake = is_fake
        self.rows = rows
        self.sampler = sampler
        self.augmentation = augmentation
        self.views = views
        self.seed = seed
        self.first = first
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, item: int) -> Batch:
        if not 0 <= item < self.count:
            raise IndexError(item)
        step = self.first + item
        rows = self.rows[self.sampler.batch(step)]
        images = {
            name: stacked(
                self.augmentation(self.store.image(row, view), view, np.random.default_rng([self.seed, step, place]))
                for place, row in enumerate(rows)
            )
            for name, view in self.views.items()
        }
        return Batch(images, torch.from_numpy(self.labels[rows]), torch.from_numpy(self.is_fake[rows]))


class TestBatches(Dataset[dict[str, Tensor]]):
    """Rows of a store as they are at test time, ``size`` to an item: by branch, uint8 ``(n, 3, h, w)``."""

    __test__ = False  # no test, whatever its name makes pytest think

    def __init__(self, store: FaceStore, rows: NDArray[np.int64], views: Mapping[str, InputSpec], size: int) -> None:
        self.store = store
        self.rows = rows
        self.views = views
        self.size = size

    def __len__(self) -> int:
        return -(-len(self.rows) // self.size)

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        if not 0 <= item < len(self):
            raise IndexError(item)
        part = self.rows[item * self.size : (item + 1) * self.size]
        return {
            name: stacked(view.at_test(self.store.image(row, view)) for row in part)
            for name, view in self.views.items()
        }


def stacked(images: Iterable[NDArray[np.uint8]]) -> Tensor:
    """One tensor of many images ``(h, w, 3)``: uint8 ``(n, 3, h, w)``."""
    array = np.stack(list(images))  # (n, h, w, 3)
    return torch.from_numpy(array).permute(0, 3, 1, 2)  # (n, 3, h, w), channels last in memory
