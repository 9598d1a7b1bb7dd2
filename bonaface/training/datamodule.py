"""Training data: sources split by person, validation pairs, decoded images, and the loaders of both."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from torch.utils.data import DataLoader

from bonaface.assets import shipped_detector
from bonaface.batches.augmentation import Augmentation, torchvision_transforms
from bonaface.batches.dataset import LabelledImages, TestBatches, TrainingBatches
from bonaface.batches.image_cache import FaceStore, open_store
from bonaface.batches.samplers import BalanceSampler, EachSource, PairedFakesSampler, StepSampler
from bonaface.config import SHIPPED_DETECTOR, BatchConfig, FacesConfig, ForgeryConfig
from bonaface.data.originals import read_originals
from bonaface.data.splits import split_by_person
from bonaface.data.table import FaceTable, class_labels, merged
from bonaface.errors import ConfigError
from bonaface.forgery.batches import Forging, ForgingBatches, PairedForgeriesSampler, check_methods, forged_classes
from bonaface.forgery.evaluation_sets import with_forged_validation
from bonaface.forgery.recipe import Recipe
from bonaface.images.crops import InputSpec
from bonaface.images.preprocessing import Preprocessor
from bonaface.training.distributed import ALONE, Distributed
from bonaface.training.validation import ValidationPairs

__all__ = ["TrainingFaces", "prepare"]

_VAL_BATCH = 64


@dataclass(frozen=True)
class TrainingFaces:
    """Images ready for training and validation.

    Args:
        table: every image that is used, split by person.
        store: their decoded images, row by row.
        labels: class of each row in training, -1 for the others, shape ``(n,)``.
        forged: class of a forgery of each row, shape ``(n,)``; None if nothing is forged.
        pairs: validation pairs.
        source: source of each row, shape ``(n,)``.
        names: of the sources.
        settings: augmentation, forging and workers.
        batch: how a batch is drawn.
        seed: the run's.
        originals: row that each row was made from, -1 if it is not known, shape ``(n,)``; None if no source has a list.
    """

    table: FaceTable
    store: FaceStore
    labels: NDArray[np.int64]
    forged: NDArray[np.int64] | None
    pairs: ValidationPairs
    source: NDArray[np.int64]
    names: tuple[str, ...]
    settings: FacesConfig
    batch: BatchConfig
    seed: int
    originals: NDArray[np.int64] | None = None

    def __deepcopy__(self, memo: Any) -> TrainingFaces:
        """Itself, as nothing changes it: a copied module (Lightning averages weights in one) holds no second store."""
        return self

    @property
    def train_rows(self) -> NDArray[np.int64]:
        """Rows that training draws from."""
        return np.flatnonzero(self.labels >= 0)

    @property
    def n_classes(self) -> int:
        """Classes in training, those of forgeries included."""
        return 1 + int((self.labels if self.forged is None else self.forged).max(initial=-1))

    def sampler(self, distributed: Distributed = ALONE) -> StepSampler:
        """The sampler over the places of ``train_rows``; each source fills an equal part of a batch.

        Args:
            distributed: the process that draws.

        Raises:
            ConfigError: if a batch needs more classes or people than there are, or can't be divided evenly among sources.
        """
        rows, count = self.train_rows, len(self.names)
        if self.batch.n_labels % count:
            raise ConfigError(
                f"batch.n_labels: expected a multiple of {count}, the number of sources in faces.train, got {self.batch.n_labels}"
            )
        places = [np.flatnonzero(self.source[rows] == number) for number in range(count)]
        samplers = [self._sampler(rows[own], self.batch.n_labels // count, distributed) for own in places]
        return samplers[0] if count == 1 else EachSource(samplers, places)

    def _sampler(self, rows: NDArray[np.int64], n_labels: int, distributed: Distributed) -> StepSampler:
        """A sampler over the places of ``rows``."""
        n, seed = self.batch.n_instances, self.seed
        process = distributed.rank, distributed.world_size
        if self.batch.sampler == "balanced":
            return BalanceSampler(self.labels[rows], n_labels, n, seed, *process)
        frame = self.table.frame.iloc[rows]
        person, is_fake = frame["person"].to_numpy(), frame["is_fake"].to_numpy()
        if self.forged is None:
            return PairedFakesSampler(person, is_fake, n_labels, n, n, seed, *process)
        share, originals = self.settings.forgery.share, self._originals_among(rows)
        return PairedForgeriesSampler(person, is_fake, n_labels, n, n, share, seed, *process, originals)

    def _originals_among(self, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """The place among ``rows`` of each one's original, -1 if it has none there, shape ``(k,)``."""
        if self.originals is None:
            return None
        place = np.full(len(self.table) + 1, -1, np.int64)  # the last for rows without an original
        place[rows] = np.arange(len(rows))
        return place[self.originals[rows]]

    def train_loader(
        self,
        views: Mapping[str, InputSpec],
        sampler: StepSampler,
        steps: range,
        distributed: Distributed = ALONE,
    ) -> DataLoader[Any]:
        """The batches of some steps, as one process draws and augments them.

        Args:
            views: input of each trained branch.
            sampler: of ``self.sampler``.
            steps: to load.
            distributed: the process that loads.
        """
        workers = self.settings.workers
        batches = self._train_batches(views, sampler, steps, distributed.seed(self.seed))
        return DataLoader(batches, batch_size=None, num_workers=workers, prefetch_factor=2 if workers else None)

    def _train_batches(
        self, views: Mapping[str, InputSpec], sampler: StepSampler, steps: range, seed: int
    ) -> TrainingBatches:
        settings = self.settings
        named = [(each.name, each.options) for each in settings.transforms]
        augmentation = Augmentation(settings.flip, settings.degrade, torchvision_transforms(named))
        is_fake = self.table.frame["is_fake"].to_numpy(dtype=bool)
        images = LabelledImages(self.store, self.labels, is_fake, self.train_rows)
        if self.forged is None:
            return TrainingBatches(images, sampler, augmentation, views, steps, seed)
        n, forgery = self.batch.n_instances, settings.forgery
        forging = Forging(n, n, forgery.methods, forgery.camera, self.forged)
        return ForgingBatches(images, sampler, augmentation, views, steps, seed, forging)

    def val_loader(self, views: Mapping[str, InputSpec], distributed: Distributed = ALONE) -> DataLoader[Any]:
        """The photos of the validation pairs, each once; of several processes each gets its share."""
        batches = TestBatches(self.store, distributed.share(self.pairs.rows), views, _VAL_BATCH)
        return DataLoader(batches, batch_size=None, num_workers=0)


def prepare(
    tables: Sequence[FaceTable],
    views: Mapping[str, InputSpec],
    settings: FacesConfig,
    batch: BatchConfig,
    seed: int,
    console: Console,
    progress: Progress,
) -> TrainingFaces:
    """Splits each table by person, draws the validation pairs, and decodes every image once.

    Args:
        tables: clean, one a source.
        views: input of each branch of the model.
        settings: of the data.
        batch: how a batch is drawn.
        seed: of split and pairs.
        console: where the numbers of images and people are shown.
        progress: shows how far decoding is.

    Raises:
        DataError: if the data are too few for the split or the pairs.
        ConfigError: if a crop is larger than the face crop.
    """
    check_methods(settings.forgery.methods)
    detector = _detector(settings.detector)
    split = [_split(each, settings, seed, detector, progress) for each in tables]
    names = _names_of(split)
    table = merged(split, names)
    preprocessor = Preprocessor.of(views, settings.crop_size, detector)
    unaligned = preprocessor.unaligned(views)
    if unaligned:
        console.log(f"model.{unaligned}: set its view to aligned, and faces.detector to shipped")
    store = open_store(table, preprocessor, Path(settings.cache), progress=progress)
    in_training = (table.frame["split"] == "train").to_numpy()
    labels = _compact(np.where(in_training, class_labels(table, settings.fake_classes), -1))
    source = np.repeat(np.arange(len(split)), [len(each) for each in split])
    pairs = ValidationPairs.draw(table, source, names, settings.val_pairs, seed)
    people = table.frame["person"][in_training].nunique(), table.frame["person"][~in_training].nunique()
    console.log(
        f"training: {in_training.sum():,} images of {people[0]:,} people in {len(set(labels.tolist()) - {-1}):,} classes; "
        f"validation: {len(pairs):,} pairs of {people[1]:,} other people"
    )
    forged = _forged(table, labels, settings.forgery, settings.fake_classes == "shared")
    originals = _originals(split, settings.originals_of_sources)
    return TrainingFaces(table, store, labels, forged, pairs, source, names, settings, batch, seed, originals)


def _originals(tables: Sequence[FaceTable], lists: Sequence[str | None]) -> NDArray[np.int64] | None:
    """The original of each row of the merged table, see ``read_originals``; None if no source has a list."""
    if not any(lists):
        return None
    starts = np.cumsum([0, *(len(table) for table in tables)])
    parts = [
        read_originals(Path(csv), table) if csv else np.full(len(table), -1, np.int64)
        for csv, table in zip(lists, tables, strict=True)
    ]
    return np.concatenate(
        [np.where(part >= 0, part + start, -1) for part, start in zip(parts, starts[:-1], strict=True)]
    )


def _forged(
    table: FaceTable, labels: NDArray[np.int64], forgery: ForgeryConfig, shared: bool
) -> NDArray[np.int64] | None:
    """The class of a forgery of each image."""
    if not forgery.methods:
        return None
    is_fake = table.frame["is_fake"].to_numpy(dtype=bool)
    return forged_classes(labels, table.frame["person"].to_numpy(dtype=object), is_fake, shared)


def _compact(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Classes from 0 on, in their order, without those that training does not see; -1 stays."""
    trained = labels >= 0
    numbers = np.full_like(labels, -1)
    numbers[trained] = np.unique(labels[trained], return_inverse=True)[1]
    return numbers


def _names_of(tables: Sequence[FaceTable]) -> tuple[str, ...]:
    """The part of each source's path that tells it from the others."""
    roots = [str(table.root.absolute()) for table in tables]
    common = os.path.commonpath(roots)
    return tuple(os.path.relpath(root, common) for root in roots)


def _detector(named: str | None) -> Path | bytes | None:
    if named == SHIPPED_DETECTOR:
        return shipped_detector()
    return Path(named) if named else None


def _split(
    table: FaceTable, settings: FacesConfig, seed: int, detector: Path | bytes | None, progress: Progress
) -> FaceTable:
    """A source with people held out for validation, and deepfakes of them if it has none."""
    table = split_by_person(table, settings.val_fraction, seed)
    forgery = settings.forgery
    if not forgery.methods:
        return table
    methods = tuple(dict.fromkeys(forgery.methods))
    recipe = Recipe(methods, forgery.val_per_person, seed, size=settings.crop_size, detector=detector)
    return with_forged_validation(table, Path(settings.cache), recipe, progress)
