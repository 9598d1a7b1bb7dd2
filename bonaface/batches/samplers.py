"""Batches of rows, drawn so that a batch has something to compare.

Each sampler is a function of the step: ``batch(step)`` depends on the seed and the step and on nothing that went
before. A run resumed at step k gets the very batches that it would have got, and each process of a distributed
run draws its own share without talking to the others.

Example:
    >>> sampler = BalanceSampler([0, 0, 0, 1, 1, 2, 2, 2], n_labels=2, n_instances=2, seed=7)
    >>> len(sampler), len(sampler.batch(0))
    (1, 4)
    >>> resumed = BalanceSampler([0, 0, 0, 1, 1, 2, 2, 2], n_labels=2, n_instances=2, seed=7)
    >>> resumed.batch(3).tolist() == [sampler.batch(step).tolist() for step in range(4)][3]
    True
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bonaface.errors import ConfigError, DataError

__all__ = ["BalanceSampler", "EachSource", "PairedFakesSampler", "StepSampler"]


_OTHERWISE = {"batch.n_labels": ", or set faces.forgery.methods or batch.sampler balanced"}


class StepSampler(Protocol):
    """Draws the batch of any step."""

    def __len__(self) -> int:
        """Batches in one sampler epoch."""
        ...

    def batch(self, step: int) -> NDArray[np.int64]:
        """Rows of the batch of ``step``, counted from 0 without an end."""
        ...


class BalanceSampler:
    """Batches of ``n_labels`` labels with ``n_instances`` rows each: OML's ``BalanceSampler``, by seed and by rank.

    In one sampler epoch each label is drawn at most once, and, where the number of labels is a multiple of
    ``n_labels * world_size``, exactly once; the labels of an incomplete last batch are left out of that epoch (others
    in the next). Not all rows of a label are drawn in an epoch. A label with fewer than ``n_instances`` rows gives all
    of them and repeats some. At one step the processes draw different labels.

    Args:
        labels: label of each row, shape ``(n,)``, integers; rows labelled -1 are never drawn.
        n_labels: labels in a batch, above 1: with one label there is no negative.
        n_instances: rows of each label, above 1: with one row there is no positive.
        seed: at least 0.
        rank: which of the ``world_size`` processes this one is.
        world_size: number of processes that train together.

    Raises:
        ConfigError: a number is out of its range, or there are fewer labels than a step needs.
        DataError: a label has a single row, so that it has no positive.

    Source: Hermans, Beyer, Leibe, "In Defense of the Triplet Loss for Person Re-Identification", arXiv:1703.07737.
    """

    def __init__(
        self, labels: ArrayLike, n_labels: int, n_instances: int, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        _check_at_least("n_labels", n_labels, 2)
        _check_at_least("n_instances", n_instances, 2)
        known = np.asarray(labels, dtype=np.int64)  # (n,)
        rows = np.flatnonzero(known != -1)
        self._rows = _rows_by_group(known[rows], rows)
        lonely = [int(known[members[0]]) for members in self._rows if len(members) == 1]
        if lonely:
            others = f" and {len(lonely) - 1} more" if len(lonely) > 1 else ""
            raise DataError(f"label {lonely[0]}{others}: expected at least 2 images, got 1; label such images -1")
        self._draw = _Draw(len(self._rows), n_labels, seed, rank, world_size, "labels", "n_labels")
        self._n_instances = n_instances

    def __len__(self) -> int:
        """Batches in one sampler epoch."""
        return self._draw.steps_per_epoch

    def batch(self, step: int) -> NDArray[np.int64]:
        """Rows of the batch of ``step``, shape ``(n_labels * n_instances,)``, label by label."""
        groups, rng = self._draw(step)
        return np.concatenate([_pick(rng, self._rows[group], self._n_instances) for group in groups])


class PairedFakesSampler:
    """Batches of people beside their own deepfakes: ``n_real`` photos and ``n_fake`` fakes of ``n_people`` people.

    Only people with at least one photo and one fake are drawn, each at most once in a sampler epoch, as
    :class:`BalanceSampler` draws labels. Who has too few gives all and repeats some.

    Args:
        persons: person of each row, shape ``(n,)``, strings or integers.
        is_fake: shape ``(n,)``, bool.
        n_people: people in a batch, at least 1.
        n_real: real photos of each, at least 1.
        n_fake: deepfakes of each, at least 1.
        seed: at least 0.
        rank: which of the ``world_size`` processes this one is.
        world_size: number of processes that train together.

    Raises:
        ConfigError: a number is out of its range, or fewer people have both than a step needs.
        DataError: ``persons`` and ``is_fake`` differ in length.
    """

    def __init__(
        self,
        persons: ArrayLike,
        is_fake: ArrayLike,
        n_people: int,
        n_real: int,
        n_fake: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        for name, value in (("n_people", n_people), ("n_real", n_real), ("n_fake", n_fake)):
            _check_at_least(name, value, 1)
        who, fake = np.asarray(persons), np.asarray(is_fake, dtype=bool)  # (n,), (n,)
        if len(who) != len(fake):
            raise DataError(f"expected persons and is_fake of one length, got {len(who)} and {len(fake)}")
        both = np.intersect1d(who[fake], who[~fake])
        self._fake, self._real = (
            _rows_by_group(who[rows], rows)
            for rows in (np.flatnonzero(np.isin(who, both) & kind) for kind in (fake, ~fake))
        )
        self._draw = _Draw(
            len(both), n_people, seed, rank, world_size, "people with photos and fakes", "batch.n_labels"
        )
        self._n_real, self._n_fake = n_real, n_fake

    def __len__(self) -> int:
        """Batches in one sampler epoch."""
        return self._draw.steps_per_epoch

    def batch(self, step: int) -> NDArray[np.int64]:
        """Rows of the batch of ``step``, shape ``(n_people * (n_real + n_fake),)``: of each photos, then fakes."""
        people, rng = self._draw(step)
        picked = (
            _pick(rng, rows[person], count)
            for person in people
            for rows, count in ((self._real, self._n_real), (self._fake, self._n_fake))
        )
        return np.concatenate(list(picked))


class EachSource:
    """Batches that hold as much of each source as of any other, however many people each has: a StepSampler.

    Args:
        samplers: one for each source.
        places: for each source, the rows that its sampler's numbers stand for.
    """

    def __init__(self, samplers: Sequence[StepSampler], places: Sequence[NDArray[np.int64]]) -> None:
        self._parts = list(zip(samplers, places, strict=True))

    def __len__(self) -> int:
        """Batches in one sampler epoch: that of the source with the most people."""
        return max(len(sampler) for sampler, _ in self._parts)

    def batch(self, step: int) -> NDArray[np.int64]:
        """Rows of the batch of ``step``: the first source's, then the next one's."""
        return np.concatenate([places[sampler.batch(step)] for sampler, places in self._parts])


class _Draw:
    """Groups (labels, people) that a step draws, and the generator for all else in that step."""

    def __init__(
        self, n_groups: int, per_batch: int, seed: int, rank: int, world_size: int, what: str, setting: str
    ) -> None:
        _check_at_least("seed", seed, 0)
        _check_at_least("world_size", world_size, 1)
        if not 0 <= rank < world_size:
            raise ConfigError(f"rank: expected a number from 0 to {world_size - 1}, got {rank}")
        if n_groups < per_batch * world_size:
            each = f" in each of {world_size} processes" if world_size > 1 else ""
            most = n_groups // world_size
            remedy = (
                f"set {setting} to at most {most}, or add data" if most else f"add {what}{_OTHERWISE.get(setting, '')}"
            )
            raise ConfigError(
                f"{setting}: a step needs {per_batch} {what}{each}, and the training data has {n_groups}; {remedy}"
            )
        self._n_groups, self._per_batch = n_groups, per_batch
        self._seed, self._rank, self._world_size = seed, rank, world_size
        self.steps_per_epoch = n_groups // (per_batch * world_size)

    def __call__(self, step: int) -> tuple[NDArray[np.int64], np.random.Generator]:
        epoch, position = divmod(step, self.steps_per_epoch)
        block = position * self._world_size + self._rank
        # Every rank shuffles all groups alike and takes its own block. Block 0 of the seed is the shuffle's own.
        shuffled = np.random.default_rng([self._seed, epoch, 0]).permutation(self._n_groups)
        groups = shuffled[block * self._per_batch : (block + 1) * self._per_batch]
        return groups, np.random.default_rng([self._seed, epoch, block + 1])


def _rows_by_group(groups: NDArray[Any], rows: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Rows of each distinct group, in the sorted order of the groups."""
    order = np.argsort(groups, kind="stable")
    _, starts = np.unique(groups[order], return_index=True)
    return np.split(rows[order], starts[1:]) if len(rows) else []


def _pick(rng: np.random.Generator, rows: NDArray[np.intp], count: int) -> NDArray[np.int64]:
    """``count`` rows without repetition; where there are fewer, all of them, and then again."""
    return np.resize(rng.permutation(rows), count).astype(np.int64)


def _check_at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(f"{name}: expected a whole number of at least {least}, got {value}")
