"""People apart for training and validation, and pairs of the four kinds to validate with."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.config import MOST_PAIRS
from bonaface.data.table import FaceTable
from bonaface.errors import ConfigError, DataError
from bonaface.metrics import KINDS

__all__ = ["SHARES", "draw_pairs", "refuse_count", "split_by_person"]

SHARES = {"same": 0.40, "impostor": 0.25, "own_fake": 0.25, "other_fake": 0.10}
"""Shares of the kinds among the challenge's test pairs."""

_MIN_VAL_PEOPLE = 2

Rows = NDArray[np.int64]


def split_by_person(table: FaceTable, val_fraction: float, seed: int) -> FaceTable:
    """Set people apart for validation: no person is in both parts.

    A table that comes with train and val keeps them, if no person is in both; otherwise people are drawn at random.

    Args:
        table: photos.
        val_fraction: share of the people, in (0, 1), that go to val; at least two do.
        seed: of the draw.

    Returns:
        The same photos in the same order, with ``split`` filled with ``train`` or ``val``.

    Raises:
        ConfigError: if ``val_fraction`` isn't between 0 and 1.
        DataError: if there are fewer than three people, or the table's own splits share a person, leave rows open, or
            have fewer than two people with real photos in val.
    """
    if not 0 < val_fraction < 1:
        raise ConfigError(f"val_fraction: expected a share of the people between 0 and 1, got {val_fraction:g}")
    splits = set(table.frame["split"])
    if "val" in splits:
        _check_splits(table)
        return table
    people = np.unique(table.frame["person"].to_numpy(dtype=object))
    if len(people) <= _MIN_VAL_PEOPLE:
        raise DataError(
            f"{table.root}: holds {len(people)} people; expected at least {_MIN_VAL_PEOPLE + 1}, "
            f"{_MIN_VAL_PEOPLE} of them to set apart for validation"
        )
    count = min(max(_MIN_VAL_PEOPLE, round(val_fraction * len(people))), len(people) - 1)
    # People with deepfakes alone can't show that a person is recognised: they're left in train.
    with_reals = np.unique(table.frame.loc[~table.frame["is_fake"], "person"].to_numpy(dtype=object))
    if len(with_reals) < _MIN_VAL_PEOPLE:
        raise DataError(
            f"{table.root}: {len(with_reals)} people have real photos; "
            f"expected at least {_MIN_VAL_PEOPLE} for validation"
        )
    chosen = np.random.default_rng(seed).permutation(with_reals)[:count]
    split = np.where(table.frame["person"].isin(chosen), "val", "train")
    return FaceTable(table.root, table.frame.assign(split=split))


def _check_splits(table: FaceTable) -> None:
    """The splits that a table came with must cover it, keep people apart, and leave pairs to validate with."""
    frame = table.frame
    parts = {split: set(frame.loc[frame["split"] == split, "person"]) for split in ("train", "val")}
    if not parts["train"]:
        raise DataError(f"{table.root}: all rows have the split val; expected rows to train on")
    left_open = int((frame["split"] == "").sum())
    if left_open:
        raise DataError(f"{table.root}: {left_open} of {len(frame)} rows have no split; expected train or val in each")
    both = sorted(parts["train"] & parts["val"])
    if both:
        more = f" and {len(both) - 1} more are" if len(both) > 1 else " is"
        raise DataError(f"{table.root}: person {both[0]}{more} in train and val; expected each person in one of them")
    with_reals = frame.loc[(frame["split"] == "val") & ~frame["is_fake"], "person"].nunique()
    if with_reals < _MIN_VAL_PEOPLE:
        raise DataError(
            f"{table.root}: {with_reals} people have real photos in val; expected at least {_MIN_VAL_PEOPLE}"
        )


def draw_pairs(table: FaceTable, count: int, seed: int, where: NDArray[np.bool_] | None = None) -> pd.DataFrame:
    """Draw pairs of the four kinds in the challenge's shares, spread evenly over people.

    People come first and photos second, so that someone with five hundred photos weighs as much as anyone else. No pair
    is drawn twice, and no photo is paired with itself: of a kind with fewer pairs than its share all are drawn. Where a kind can't
    be drawn (no deepfakes, or deepfakes of one person only), the other kinds take its share.

    Args:
        table: photos.
        count: number of pairs.
        seed: of the draw.
        where: the rows to draw from, one bool per row, shape ``(n,)``; those with ``split == "val"`` by default.

    Returns:
        At most ``count`` rows in random order: ``a`` and ``b`` (row positions in ``table``, in either order), ``label``
        (1 = two real photos of one person), ``kind``, ``person_0`` and ``person_1`` (of ``a`` and ``b``).

    Raises:
        ConfigError: as :func:`refuse_count` does.
        DataError: if no person there has two real photos, or fewer than two people have any.
    """
    refuse_count("val pairs", count)
    frame = table.frame
    mask = (frame["split"] == "val").to_numpy() if where is None else where
    pools = _pools(frame, mask)
    for kind, need in (("same", "a person with two real photos"), ("impostor", "two people with real photos")):
        if pools[kind].groups == 0:
            people = frame.loc[mask, "person"].nunique()
            raise DataError(
                f"{table.root}: no pair of kind {kind} among {int(mask.sum())} photos of {people} people; "
                f"expected {need}"
            )
    rng = np.random.default_rng(seed)
    drawn = []
    for kind, quota in _quotas([kind for kind in KINDS if pools[kind].groups], count).items():
        pairs = pools[kind].draw(quota, rng)
        drawn.append(pd.DataFrame({"a": pairs[:, 0], "b": pairs[:, 1], "label": int(kind == "same"), "kind": kind}))
    result = pd.concat(drawn, ignore_index=True)
    result = result.iloc[rng.permutation(len(result))].reset_index(drop=True)
    first, second = result["a"].to_numpy(), result["b"].to_numpy()
    swapped = rng.random(len(result)) < 0.5
    a, b = np.where(swapped, second, first), np.where(swapped, first, second)
    person = frame["person"].to_numpy(dtype=object)
    return result.assign(a=a, b=b, person_0=person[a], person_1=person[b])


def refuse_count(name: str, count: int) -> None:
    """Refuse a number of pairs that can't be drawn.

    Args:
        name: of the setting.
        count: its value.

    Raises:
        ConfigError: if it is less than the number of kinds, or more than ``MOST_PAIRS``.
    """
    if not len(KINDS) <= count <= MOST_PAIRS:
        raise ConfigError(f"{name}: expected {len(KINDS)} to {MOST_PAIRS:,} pairs, got {count}")


def _quotas(kinds: list[str], count: int) -> dict[str, int]:
    """Divide ``count`` by the shares of the kinds, whole numbers by largest remainder."""
    exact = np.array([SHARES[kind] for kind in kinds])
    exact = exact / exact.sum() * count
    quotas = np.floor(exact).astype(int)
    largest = np.argsort(quotas - exact, kind="stable")[: count - quotas.sum()]
    quotas[largest] += 1
    return dict(zip(kinds, quotas.tolist(), strict=True))


@dataclass(frozen=True)
class _Pool:
    """All pairs of one kind, in groups (a person, or two people), none of which is listed before it is drawn.

    Attributes:
        groups: number of groups; each has at least one pair.
        rows: group number -> the photos of the first side and of the second; None there: two photos of the first.
    """

    groups: int
    rows: Callable[[int], tuple[Rows, Rows | None]]

    def draw(self, quota: int, rng: np.random.Generator) -> Rows:
        """Draw at most ``quota`` pairs, shape ``(n, 2)``, from as many groups as there are and equally often from each."""
        if self.groups >= quota:
            groups = rng.choice(self.groups, quota, replace=False)
            counts = np.ones(quota, np.int64)
        else:
            groups = np.arange(self.groups)
            counts = _level([_pairs_in(*self.rows(group)) for group in groups.tolist()], quota, rng)
        drawn = [
            _pairs_of(*self.rows(group), count, rng)
            for group, count in zip(groups.tolist(), counts.tolist(), strict=True)
            if count
        ]
        return np.concatenate(drawn) if drawn else np.empty((0, 2), np.int64)


def _pairs_in(first: Rows, second: Rows | None) -> int:
    return len(first) * (len(first) - 1) // 2 if second is None else len(first) * len(second)


def _pairs_of(first: Rows, second: Rows | None, count: int, rng: np.random.Generator) -> Rows:
    """Draw ``count`` different pairs of one group, (count, 2)."""
    size = _pairs_in(first, second)
    numbers = range(size) if count == size else rng.choice(size, count, replace=False).tolist()
    if second is None:
        pairs = [(first[i], first[j]) for i, j in map(_triangle, numbers)]
    else:
        pairs = [(first[number // len(second)], second[number % len(second)]) for number in numbers]
    return np.array(pairs, np.int64)


def _triangle(number: int) -> tuple[int, int]:
    """The ``number``-th pair ``i < j`` in the order (0, 1), (0, 2), (1, 2), (0, 3), ..."""
    j = (1 + isqrt(1 + 8 * number)) // 2
    return number - j * (j - 1) // 2, j


def _level(sizes: list[int], quota: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Share at most ``quota`` draws among groups as evenly as their sizes allow."""
    size = np.array(sizes, np.int64)
    rest = min(quota, int(size.sum()))
    counts = np.zeros_like(size)
    while rest:
        open_groups = np.flatnonzero(counts < size)
        step = min(rest // len(open_groups), int((size - counts)[open_groups].min()))
        if step == 0:
            open_groups, step = rng.choice(open_groups, rest, replace=False), 1
        counts[open_groups] += step
        rest -= step * len(open_groups)
    return counts


def _pools(frame: pd.DataFrame, mask: NDArray[np.bool_]) -> dict[str, _Pool]:
    """The pairs of each kind among the rows of ``mask``."""
    reals = _rows_by_person(frame, mask & ~frame["is_fake"].to_numpy(dtype=bool))
    fakes = _rows_by_person(frame, mask & frame["is_fake"].to_numpy(dtype=bool))
    real_people, fake_people = list(reals), list(fakes)
    twice = [person for person in reals if len(reals[person]) > 1]
    forged = [person for person in reals if person in fakes]
    # Two different people, a real photo of the first and a deepfake of the second: the whole grid less its diagonal.
    fakes_at = {person: column for column, person in enumerate(fake_people)}
    diagonal = [row * len(fakes) + fakes_at[person] for row, person in enumerate(real_people) if person in fakes]
    skipped = np.array(diagonal, np.int64)  # ascending, as rows are

    def impostor(group: int) -> tuple[Rows, Rows]:
        i, j = _triangle(group)
        return reals[real_people[i]], reals[real_people[j]]

    def other_fake(group: int) -> tuple[Rows, Rows]:
        # Each skipped cell before the wanted one moves it by one.
        cell = group + int(np.searchsorted(skipped - np.arange(len(skipped)), group, side="right"))
        return reals[real_people[cell // len(fakes)]], fakes[fake_people[cell % len(fakes)]]

    return {
        "same": _Pool(len(twice), lambda group: (reals[twice[group]], None)),
        "impostor": _Pool(len(reals) * (len(reals) - 1) // 2, impostor),
        "own_fake": _Pool(len(forged), lambda group: (reals[forged[group]], fakes[forged[group]])),
        "other_fake": _Pool(len(reals) * len(fakes) - len(skipped), other_fake),
    }


def _rows_by_person(frame: pd.DataFrame, mask: NDArray[np.bool_]) -> dict[str, Rows]:
    """Row positions of each person, people in the order of their names."""
    positions = np.flatnonzero(mask)
    groups = pd.Series(positions).groupby(frame["person"].to_numpy(dtype=object)[positions], sort=True)
    return {str(person): rows.to_numpy(dtype=np.int64) for person, rows in groups}
