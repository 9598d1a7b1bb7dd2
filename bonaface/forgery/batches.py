"""Deepfakes made while training: each beside its own photo in the batch, so that no deepfake data set is needed.

A batch holds n_real photos of each person, then n_fake deepfakes of the same person. A deepfake that the data does not
have is forged from one of these photos; the swaps take their donor from the batch's other people. Photos and forgeries of
one person go through one camera (faces.forgery.camera): a share of the people's face crops is cut anew, and where anything of
a person is forged, all are encoded as JPEG and read back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from bonaface.batches.augmentation import Augmentation
from bonaface.batches.dataset import Batch, LabelledImages, TrainingBatches, stacked
from bonaface.batches.samplers import PairedFakesSampler, StepSampler
from bonaface.errors import ConfigError
from bonaface.forgery.blending import MEAN_POINTS
from bonaface.forgery.camera import Camera, Crop
from bonaface.forgery.methods import METHODS, NEEDS_DONOR, forge
from bonaface.images.alignment import ARCFACE_TEMPLATE
from bonaface.images.crops import InputSpec

__all__ = ["Forging", "ForgingBatches", "PairedForgeriesSampler", "check_methods", "forged_classes"]

_QUALITY = (60, 98)
_DONORS_LOOKED_AT = 6
_TEMPLATE_SIZE = 112
# Streams of a place's generator beside [seed, step, place], which augments.
_FRAMING, _FORGING, _DEVELOPING, _CAMERA = 1, 2, 3, 4


def check_methods(methods: tuple[str, ...]) -> None:
    """Raises ConfigError where a method is none of forgery.METHODS."""
    for name in methods:
        if name not in METHODS:
            raise ConfigError(f"faces.forgery.methods: expected some of {', '.join(METHODS)}, got {name}")


def forged_classes(
    labels: NDArray[np.int64], persons: ArrayLike, is_fake: NDArray[np.bool_], shared: bool
) -> NDArray[np.int64]:
    """The class that a forgery of each photo belongs to.

    Args:
        labels: class of each row, -1 where it is left out of training, shape ``(n,)``.
        persons: shape ``(n,)``.
        is_fake: shape ``(n,)``.
        shared: whether all deepfakes are one class, or those of each person are one.

    Returns:
        Shape ``(n,)``: the class of the person's (shared: of all) deepfakes in training, or a new one above all others where
        there are none; -1 for rows left out of training.

    Example:
        >>> labels = np.array([0, 0, 1, 2, -1])  # 2 is the class of b's deepfakes
        >>> fake = np.array([False, False, False, True, False])
        >>> forged_classes(labels, ["a", "a", "b", "b", "c"], fake, shared=False).tolist()
        [3, 3, 2, 2, -1]
    """
    trained = labels >= 0
    who = np.zeros(len(labels), np.int64) if shared else np.unique(np.asarray(persons), return_inverse=True)[1]
    classes = np.full(int(who.max(initial=0)) + 1, -1, np.int64)
    known = trained & is_fake
    classes[who[known]] = labels[known]
    new = np.setdiff1d(who[trained], who[known])
    classes[new] = labels.max(initial=-1) + 1 + np.arange(len(new))
    return np.where(trained, classes[who], -1)


class PairedForgeriesSampler:
    """Batches of people beside deepfakes of them, forged where the data has none: a StepSampler.

    As :class:`~bonaface.batches.samplers.PairedFakesSampler`, but every person with a photo is drawn; the rows of places
    for deepfakes that hold a photo are to be forged from it, and it is one of the person's photos in the batch.

    Args:
        persons: person of each row, shape ``(n,)``.
        is_fake: shape ``(n,)``, bool.
        n_people: people in a batch.
        n_real: photos of each.
        n_fake: deepfakes of each.
        share: share of the deepfakes that is forged, in [0, 1], of people who have some in the data; of others all are.
        seed: at least 0.
        rank: which of the ``world_size`` processes this one is.
        world_size: number of processes that train together.
        originals: row that each row was made from, -1 if it is not known, shape ``(n,)``: a deepfake of the data brings it along in
            the place of one of the person's photos.

    Raises:
        ConfigError: a number is out of its range, or there are fewer people than a step needs.
    """

    def __init__(
        self,
        persons: ArrayLike,
        is_fake: ArrayLike,
        n_people: int,
        n_real: int,
        n_fake: int,
        share: float,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        originals: NDArray[np.int64] | None = None,
    ) -> None:
        who, fake = np.asarray(persons), np.asarray(is_fake, dtype=bool)
        if not 0 <= share <= 1:
            raise ConfigError(f"faces.forgery.share: expected a number from 0 to 1, got {share:g}")
        self._real = np.flatnonzero(~fake)
        # Each photo stands for a deepfake of itself too, so that everyone has both.
        twice = np.concatenate([who[self._real], who[self._real]])
        stands = np.repeat([False, True], len(self._real))
        self._people = PairedFakesSampler(twice, stands, n_people, n_real, n_fake, seed, rank, world_size)
        self._ready = {person: np.flatnonzero(fake & (who == person)) for person in np.unique(who[fake])}
        self._who = who
        self._originals = np.full(len(who), -1) if originals is None else originals
        self.n_real, self.n_fake = n_real, n_fake
        self._share, self._seed, self._rank = share, seed, rank

    def __len__(self) -> int:
        """Batches in one sampler epoch."""
        return len(self._people)

    def batch(self, step: int) -> NDArray[np.int64]:
        """Rows of the batch of ``step``, shape ``(n_people * (n_real + n_fake),)``: of each photos, then deepfakes or sources."""
        drawn = self._people.batch(step).reshape(-1, self.n_real + self.n_fake)[:, : self.n_real]
        photos = self._real[drawn]  # (n_people, n_real)
        random = np.random.default_rng([self._seed, step, self._rank, 1])
        return np.concatenate([self._group(own, random) for own in photos])

    def _group(self, photos: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
        """One person's rows: photos, among them the originals of the deepfakes after them."""
        fakes = self._beside(photos, random)
        pairs = min(self.n_real, self.n_fake)
        originals = self._originals[fakes[:pairs]]
        photos = photos.copy()
        photos[:pairs] = np.where(originals >= 0, originals, photos[:pairs])
        return np.concatenate([photos, fakes])

    def _beside(self, photos: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
        """Of one person, the rows of the deepfakes' places."""
        rows = np.resize(photos, self.n_fake)
        ready = self._ready.get(self._who[photos[0]])
        given = random.random(self.n_fake) >= self._share
        if ready is not None and given.any():
            rows[given] = np.resize(random.permutation(ready), int(given.sum()))
        return rows


@dataclass(frozen=True)
class Forging:
    """Settings of the deepfakes in a batch.

    Args:
        n_real: photos of a person in a batch.
        n_fake: places for deepfakes after them.
        methods: names of ``METHODS``, each as likely as the others; one that is named twice is twice as likely.
        camera: fraction of the people whose face crops are cropped anew before anything is forged, in [0, 1].
        classes: class of a forgery of each row of the store, see :func:`forged_classes`, shape ``(n,)``.

    Raises:
        ConfigError: if a method has another name.
    """

    n_real: int
    n_fake: int
    methods: tuple[str, ...]
    camera: float
    classes: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Refuses unknown methods."""
        check_methods(self.methods)

    @property
    def group(self) -> int:
        """Places of a person in a batch."""
        return self.n_real + self.n_fake


class ForgingBatches(TrainingBatches):
    """Training batches whose missing deepfakes are forged: a pure function of the seed and the step, as TrainingBatches.

    Args:
        images: as TrainingBatches, and so are sampler, augmentation, views and steps.
        sampler: a :class:`PairedForgeriesSampler`, or several of them in turn.
        augmentation: of each image after forging.
        views: input of each trained branch.
        steps: the step of each item.
        seed: of forgeries and augmentation.
        forging: how deepfakes are made.
    """

    def __init__(
        self,
        images: LabelledImages,
        sampler: StepSampler,
        augmentation: Augmentation,
        views: Mapping[str, InputSpec],
        steps: range,
        seed: int,
        forging: Forging,
    ) -> None:
        super().__init__(images, sampler, augmentation, views, steps, seed)
        self.forging = forging

    def __getitem__(self, item: int) -> Batch:
        step, group = self._step(item), self.forging.group
        known, rows = self.images, self._rows(step)
        forging = (np.arange(len(rows)) % group >= self.forging.n_real) & ~known.is_fake[rows]  # (n,)
        developed = np.repeat(forging.reshape(-1, group).any(axis=1), group)  # (n,)
        donors: NDArray[np.int64] | None = None
        images = {}
        for name, view in self.views.items():
            crops = [self._crop(row, view, step, place) for place, row in enumerate(rows)]
            if donors is None:  # every view shows the same swap
                donors = self._donors(crops, step)
            made = [
                self._made(crops, place, donors[place], step, forging[place], developed[place])
                for place in range(len(rows))
            ]
            images[name] = stacked(
                self.augmentation(image, view, self._random(step, place)) for place, image in enumerate(made)
            )
        labels = np.where(forging, self.forging.classes[rows], known.labels[rows])
        return Batch(images, torch.from_numpy(labels), torch.from_numpy(known.is_fake[rows] | forging))

    def _crop(self, row: int, view: InputSpec, step: int, place: int) -> Crop:
        image = self.images.store.image(row, view)
        size = len(image)
        if view.kind == "aligned":  # the warp onto the template has resampled it already
            return Crop(np.asarray(image), ARCFACE_TEMPLATE * np.float32(size / _TEMPLATE_SIZE))
        points = MEAN_POINTS * np.float32(size)
        if self._random(step, place // self.forging.group, _CAMERA).random() >= self.forging.camera:
            return Crop(np.asarray(image), points)
        return Camera(size, _QUALITY).crop(np.asarray(image), points, self._random(step, place, _FRAMING))

    def _donors(self, crops: list[Crop], step: int) -> NDArray[np.int64]:
        """For each place that of a photo of another person, the most alike in colour of a few."""
        places = np.arange(len(crops))
        group = self.forging.group
        photos = places[places % group < self.forging.n_real]
        tones = np.array([_middle(each.image) for each in crops])  # (n, 3)
        donors = np.empty(len(crops), np.int64)
        for place in places:
            others = photos[photos // group != place // group]
            drawn = self._random(step, int(place), _FORGING, 0).permutation(others)[:_DONORS_LOOKED_AT]
            donors[place] = drawn[np.argmin(np.abs(tones[drawn] - tones[place]).sum(axis=1))] if len(drawn) else place
        return donors

    def _made(
        self, crops: list[Crop], place: int, donor: int, step: int, forging: bool, developed: bool
    ) -> NDArray[np.uint8]:
        face = crops[place]
        image = face.image
        if forging:
            random = self._random(step, place, _FORGING)
            methods = self.forging.methods
            method = methods[int(random.integers(len(methods)))]
            if method in NEEDS_DONOR:
                other = crops[donor]
                image = forge(image, other.image, method, random, face.points, other.points)
            else:
                image = forge(image, None, method, random, face.points)
        return (
            Camera(len(image), _QUALITY).develop(image, self._random(step, place, _DEVELOPING)) if developed else image
        )


def _middle(image: NDArray[np.uint8]) -> NDArray[np.floating[Any]]:
    """Mean colour of the middle of an image, where the face is."""
    height, width = image.shape[:2]
    middle: NDArray[np.floating[Any]] = image[height * 3 // 8 : height * 5 // 8, width * 3 // 8 : width * 5 // 8].mean(
        (0, 1)
    )
    return middle
