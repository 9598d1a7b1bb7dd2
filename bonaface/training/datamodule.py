"""From settings to what training needs: a clean table, its split, the validation pairs, the decoded images, the sampler."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from bonaface.config import BatchConfig, ForgeryConfig, TrainConfig
from bonaface.data.augmentation import Augmentation, torchvision_transforms
from bonaface.data.dataset import FaceStore, TestBatches, TrainingBatches, open_store
from bonaface.data.filters import MIN_CLASS_SIZE, drop_issues, find_issues
from bonaface.data.issues import COLUMNS, apply_issues, combined, read_issues
from bonaface.data.samplers import BalanceSampler, EachSource, PairedFakesSampler, StepSampler
from bonaface.data.splits import draw_pairs, split_by_person
from bonaface.data.table import FaceTable, class_labels, merged, read_faces
from bonaface.errors import ConfigError
from bonaface.forgery.batches import BesideForgeriesSampler, ForgingBatches, check_methods, forged_classes
from bonaface.forgery.evaluation_sets import with_forged_validation
from bonaface.forgery.recipe import Recipe
from bonaface.images.preprocessing import Preprocessor
from bonaface.metrics import eers_by_kind
from bonaface.models.face_model import FaceModel
from bonaface.training.distributed import ALONE, Ranks
from bonaface.verification.calibration import Calibration
from bonaface.verification.embeddings import Embeddings
from bonaface.verification.fitting import calibrate
from bonaface.verification.scoring import similarity

__all__ = ["TrainingFaces", "clean_faces", "prepare"]


@dataclass(frozen=True)
class TrainingFaces:
    """Images ready for training and validation.

    Args:
        table: every image that is used, split by person.
        store: their decoded images, row by row.
        labels: class of each row for training, -1 for the others.
        pairs: validation pairs; ``a`` and ``b`` are places in ``val_rows``, ``fake_a`` and ``fake_b`` say which are deepfakes.
        val_rows: rows that the pairs need, each once.
        source: which of ``names`` each row comes from, shape ``(n,)``.
        names: of the sources of images.
        forgery: how deepfakes are made while training.
    """

    table: FaceTable
    store: FaceStore
    labels: NDArray[np.int64]
    pairs: pd.DataFrame
    val_rows: NDArray[np.int64]
    source: NDArray[np.int64]
    names: tuple[str, ...]
    forgery: ForgeryConfig = field(default_factory=ForgeryConfig)

    def __deepcopy__(self, memo: Any) -> TrainingFaces:
        """Itself, as nothing changes it: a copied training (Lightning averages weights in one) holds no second store."""
        return self

    @property
    def train_rows(self) -> NDArray[np.int64]:
        """Rows that training draws from."""
        return np.flatnonzero(self.labels >= 0)

    def n_classes(self, shared: bool) -> int:
        """Classes that training tells apart, those of what is forged while training included.

        Args:
            shared: whether all deepfakes are one class, or those of each person are one.
        """
        return 1 + int((self._forged(shared) if self.forgery.methods else self.labels).max(initial=-1))

    def _forged(self, shared: bool) -> NDArray[np.int64]:
        """The class that a forgery of each image belongs to."""
        frame = self.table.frame
        is_fake = frame["is_fake"].to_numpy(dtype=bool)
        return forged_classes(self.labels, frame["person"].to_numpy(dtype=object), is_fake, shared)

    def sampler(self, batch: BatchConfig, seed: int, ranks: Ranks = ALONE) -> StepSampler:
        """The sampler over the places of ``train_rows``; of several sources each fills an equal part of a batch.

        Args:
            batch: how a process's batch is drawn.
            seed: the run's.
            ranks: which process draws it.

        Raises:
            ConfigError: if a batch needs more classes or people than there are, or can't be shared out evenly.
        """
        rows, count = self.train_rows, len(self.names)
        if batch.n_labels % count:
            raise ConfigError(
                f"batch.n_labels: expected a multiple of {count}, the number of sources in faces.train, got {batch.n_labels}"
            )
        places = [np.flatnonzero(self.source[rows] == number) for number in range(count)]
        share = dataclasses.replace(batch, n_labels=batch.n_labels // count)
        samplers = [self._sampler(rows[own], share, seed, ranks) for own in places]
        return samplers[0] if count == 1 else EachSource(samplers, places)

    def _sampler(self, rows: NDArray[np.int64], batch: BatchConfig, seed: int, ranks: Ranks) -> StepSampler:
        """A sampler over the places of ``rows``."""
        whose = ranks.rank, ranks.world_size
        if batch.sampler == "balance":
            return BalanceSampler(self.labels[rows], batch.n_labels, batch.n_instances, seed, *whose)
        frame = self.table.frame.iloc[rows]
        person, is_fake = frame["person"].to_numpy(), frame["is_fake"].to_numpy()
        if self.forgery.methods:
            sizes = (batch.n_labels, batch.n_instances, batch.n_instances)
            return BesideForgeriesSampler(person, is_fake, *sizes, self.forgery.share, seed, *whose)
        return PairedFakesSampler(person, is_fake, batch.n_labels, batch.n_instances, batch.n_instances, seed, *whose)

    def training_batches(
        self,
        config: TrainConfig,
        model: FaceModel,
        sampler: StepSampler,
        first: int,
        count: int,
        ranks: Ranks = ALONE,
    ) -> TrainingBatches:
        """The batches of ``count`` steps from step ``first`` on, as one process draws and augments them."""
        faces, seed = config.faces, ranks.seed(config.seed)
        named = [(each.name, each.options) for each in faces.transforms]
        augmentation = Augmentation(faces.flip, faces.degrade, torchvision_transforms(named))
        is_fake = self.table.frame["is_fake"].to_numpy(dtype=bool)
        trained = {name: branch.view for name, branch in model.trained.items()}
        if faces.forgery.methods:
            return ForgingBatches(
                self.store,
                self.labels,
                is_fake,
                self.train_rows,
                sampler,
                augmentation,
                trained,
                seed,
                first,
                count,
                (config.batch.n_instances, config.batch.n_instances),
                faces.forgery.methods,
                faces.forgery.camera,
                self._forged(faces.fake_classes == "shared"),
            )
        return TrainingBatches(
            self.store, self.labels, is_fake, self.train_rows, sampler, augmentation, trained, seed, first, count
        )

    def judged(self, embeddings: Embeddings) -> tuple[NDArray[np.float64], Calibration]:
        """Similarities of the validation pairs from embeddings of ``val_rows``, and the calibration they were made with."""
        pairs = self.pairs
        a, b = (embeddings.take(pairs[side].to_numpy()) for side in ("a", "b"))
        calibration = calibrate(a, b, pairs["label"].to_numpy(), pairs["fake_a"].to_numpy(), pairs["fake_b"].to_numpy())
        return similarity(a, b, calibration), calibration

    def errors(self, scores: NDArray[np.float64]) -> dict[str, float]:
        """Equal error rates of the validation pairs, overall and by kind."""
        return eers_by_kind(scores, self.pairs["label"].to_numpy(), self.pairs["kind"].to_numpy(dtype=str))

    def errors_by_source(self, scores: NDArray[np.float64]) -> dict[str, dict[str, float]]:
        """The same for the pairs within each source, by its name; empty where there is one source."""
        if len(self.names) == 1:
            return {}
        source = self.source[self.val_rows[self.pairs[["a", "b"]].to_numpy()]]  # (n, 2)
        label, kind = self.pairs["label"].to_numpy(), self.pairs["kind"].to_numpy(dtype=str)
        within = {name: (source == number).all(axis=1) for number, name in enumerate(self.names)}
        return {name: eers_by_kind(scores[rows], label[rows], kind[rows]) for name, rows in within.items()}

    def val_batches(self, model: FaceModel, size: int, ranks: Ranks = ALONE) -> TestBatches:
        """The images of the validation pairs, each once; of several processes each gets its share."""
        return TestBatches(self.store, ranks.share(self.val_rows), model.views, size)


def clean_faces(config: TrainConfig, console: Console, progress: Progress) -> tuple[list[FaceTable], pd.DataFrame]:
    """Reads each source and leaves out unreadable files, duplicates and classes too small to train on.

    Beside deepfakes a single photo of a person is enough; the other batches need two of each class.

    Returns:
        The tables without them, and the faults: path, fault, evidence, suggestion, confidence.

    Raises:
        DataError: if a folder is no known layout or holds nothing to train on.
        ConfigError: if no folder is named.
    """
    faces = config.faces
    if not faces.train or not all(where for where, _ in faces.sources):
        raise ConfigError(
            "faces.train: no training data named: set it to a folder of faces or to a CSV or parquet file"
        )
    cleaned = [_clean_source(where, csv, config, console, progress) for where, csv in faces.sources]
    if len(cleaned) == 1:
        return [cleaned[0][0]], cleaned[0][1]
    found = [faults.assign(path=[str(table.root / path) for path in faults["path"]]) for table, faults in cleaned]
    return [table for table, _ in cleaned], combined(found)


def _clean_source(
    where: str, csv: str | None, config: TrainConfig, console: Console, progress: Progress
) -> tuple[FaceTable, pd.DataFrame]:
    table = read_faces(Path(where))
    read = len(table)
    table, followed, kept = _follow_list(csv, table)
    smallest = 1 if config.batch.sampler == "beside_fakes" else MIN_CLASS_SIZE
    faults = find_issues(table, config.faces.fake_classes, progress=progress, smallest=smallest)
    faults = faults[~(faults["path"].isin(kept) & faults["issue"].str.startswith("duplicate"))]
    counts = ", ".join(f"{count} {fault}" for fault, count in faults["issue"].value_counts().items())
    console.log(f"{read:,} images read from {where}; left out: {counts or 'none'}")
    if csv:
        console.log(f"{csv}: {len(followed):,} suggestions followed, {len(kept):,} rejected")
    return drop_issues(table, faults), combined([followed, faults])


def _follow_list(csv: str | None, table: FaceTable) -> tuple[FaceTable, pd.DataFrame, set[str]]:
    """Applies a list of faults: the table without them, the rows that were followed, the photos that a person kept."""
    if not csv:
        return table, pd.DataFrame(columns=COLUMNS), set()
    listed = read_issues(Path(csv), table)
    kept = set(listed.loc[listed["decision"] == "reject", "path"])
    unseen = (listed["suggestion"] == "look") & (listed["decision"] != "accept")
    followed = listed[~listed["path"].isin(kept) & ~unseen].reindex(columns=COLUMNS, fill_value="")
    followed["confidence"] = pd.to_numeric(followed["confidence"], errors="coerce")
    return apply_issues(table, listed), followed, kept


def prepare(
    config: TrainConfig, tables: Sequence[FaceTable], model: FaceModel, console: Console, progress: Progress
) -> TrainingFaces:
    """Splits each source, draws the validation pairs, and decodes every image once.

    Raises:
        DataError: if the split or the pairs can't be had.
        ConfigError: if a view does not fit the frame.
    """
    faces = config.faces
    check_methods(faces.forgery.methods)
    detector = Path(faces.detector) if faces.detector else None
    split = [_split(each, config, detector, progress) for each in tables]
    names = _names_of(split)
    table = merged(split, names)
    store = open_store(
        table, Preprocessor.of(model.views, faces.frame_size, detector), Path(faces.cache), progress=progress
    )
    in_training = (table.frame["split"] == "train").to_numpy()
    labels = _numbered_anew(np.where(in_training, class_labels(table, faces.fake_classes), -1))
    pairs, rows = _placed(draw_pairs(table, faces.val_pairs, config.seed), table)
    people = table.frame["person"][in_training].nunique(), table.frame["person"][~in_training].nunique()
    console.log(
        f"training: {in_training.sum():,} images of {people[0]:,} people in {len(set(labels.tolist()) - {-1}):,} classes; "
        f"validation: {len(pairs):,} pairs of {people[1]:,} other people"
    )
    source = np.repeat(np.arange(len(split)), [len(each) for each in split])
    return TrainingFaces(table, store, labels, pairs, rows, source, names, faces.forgery)


def _numbered_anew(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Classes from 0 on, in their order, without those that training does not see; -1 stays."""
    trained = labels >= 0
    numbers = np.full_like(labels, -1)
    numbers[trained] = np.unique(labels[trained], return_inverse=True)[1]
    return numbers


def _names_of(tables: Sequence[FaceTable]) -> tuple[str, ...]:
    """What tells the sources' folders apart."""
    roots = [str(table.root.absolute()) for table in tables]
    common = os.path.commonpath(roots)
    return tuple(os.path.relpath(root, common) for root in roots)


def _split(table: FaceTable, config: TrainConfig, detector: Path | None, progress: Progress) -> FaceTable:
    """A source with people set apart for validation, and deepfakes of these where it has none."""
    faces = config.faces
    table = split_by_person(table, faces.val_fraction, config.seed)
    if not faces.forgery.methods:
        return table
    methods = tuple(dict.fromkeys(faces.forgery.methods))
    recipe = Recipe(methods, faces.forgery.val_per_person, config.seed, size=faces.frame_size, detector=detector)
    return with_forged_validation(table, Path(faces.cache), recipe, progress)


def _placed(pairs: pd.DataFrame, table: FaceTable) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Pairs by place in the sorted rows that they use, and those rows."""
    is_fake = table.frame["is_fake"].to_numpy(dtype=bool)
    fakes = {f"fake_{side}": is_fake[pairs[side].to_numpy()] for side in ("a", "b")}
    rows, places = np.unique(pairs[["a", "b"]].to_numpy(dtype=np.int64), return_inverse=True)
    places = places.reshape(-1, 2)
    return pairs.assign(a=places[:, 0], b=places[:, 1], **fakes), rows
