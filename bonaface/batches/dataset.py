"""Batches of images: read from the store, augmented and stacked, step by step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from bonaface.batches.augmentation import Augmentation
from bonaface.batches.image_cache import FaceStore
from bonaface.batches.samplers import StepSampler
from bonaface.images.crops import InputSpec

__all__ = ["Batch", "LabelledImages", "TestBatches", "TrainingBatches", "stacked"]


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


@dataclass(frozen=True)
class LabelledImages:
    """Images to train on.

    Args:
        store: the decoded images.
        labels: class of each row of the store, shape ``(n,)``.
        is_fake: whether it is a deepfake, shape ``(n,)``.
        rows: row of the store of each position that a sampler draws, shape ``(m,)``.
    """

    store: FaceStore
    labels: NDArray[np.int64]
    is_fake: NDArray[np.bool_]
    rows: NDArray[np.int64]


class TrainingBatches(Dataset[Batch]):
    """Item ``k`` is the batch of ``steps[k]``: a pure function of the seed and the step, so that a run can resume anywhere.

    Args:
        images: what is drawn from.
        sampler: positions of each step.
        augmentation: of each image.
        views: input of each trained branch.
        steps: the step of each item.
        seed: of the augmentation.
    """

    def __init__(
        self,
        images: LabelledImages,
        sampler: StepSampler,
        augmentation: Augmentation,
        views: Mapping[str, InputSpec],
        steps: range,
        seed: int,
    ) -> None:
        self.images = images
        self.sampler = sampler
        self.augmentation = augmentation
        self.views = views
        self.steps = steps
        self.seed = seed

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, item: int) -> Batch:
        step = self._step(item)
        known, rows = self.images, self._rows(step)
        images = {
            name: stacked(
                self.augmentation(known.store.image(row, view), view, self._random(step, place))
                for place, row in enumerate(rows)
            )
            for name, view in self.views.items()
        }
        return Batch(images, torch.from_numpy(known.labels[rows]), torch.from_numpy(known.is_fake[rows]))

    def _step(self, item: int) -> int:
        if not 0 <= item < len(self):
            raise IndexError(item)
        return self.steps[item]

    def _rows(self, step: int) -> NDArray[np.int64]:
        return self.images.rows[self.sampler.batch(step)]

    def _random(self, step: int, place: int, *stream: int) -> np.random.Generator:
        """The generator of one place in a batch; forging has streams beside that of the augmentation."""
        return np.random.default_rng([self.seed, step, place, *stream])


class TestBatches(Dataset[dict[str, Tensor]]):
    """Rows of a store without augmentation, ``size`` to an item: by branch, uint8 ``(n, 3, h, w)``."""

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
