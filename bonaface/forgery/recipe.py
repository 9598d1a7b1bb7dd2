"""Plan of a forged data set: who is forged from what by which method, decided by the seed and the paths alone."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from bonaface.data.table import FaceTable
from bonaface.errors import ConfigError, DataError
from bonaface.forgery.donors import Donors, Sight
from bonaface.forgery.methods import METHODS, NEEDS_DONOR
from bonaface.reading import read_regular

__all__ = ["Order", "Recipe", "check_apart", "check_folders", "check_recipe", "commonest_side", "plan", "seed_of"]

_SIDES_LOOKED_AT = 500
_SMALLEST_SIDE = 32


@dataclass(frozen=True)
class Recipe:
    """Settings of a forged data set.

    Args:
        methods: names of forgery.METHODS; each person gets them in turn, in an order of their own.
        per_person: deepfakes of each person.
        seed: of all that is random.
        quality: lowest and highest JPEG quality of the written images.
        size: side of the written images in px; 0 takes the commonest shorter side of the photos.
        detector: YuNet's ONNX file, or its content, which finds the faces' five points; None takes faces to lie in the
            middle, as crops have them.
    """

    methods: tuple[str, ...] = tuple(METHODS)
    per_person: int = 3
    seed: int = 0
    quality: tuple[int, int] = (75, 95)
    size: int = 0
    detector: Path | bytes | None = field(default=None, repr=False)

    @property
    def detector_digest(self) -> str:
        """A text that changes with the detector; empty without one."""
        if self.detector is None:
            return ""
        content = self.detector if isinstance(self.detector, bytes) else read_regular(self.detector)
        return hashlib.blake2b(content, digest_size=8).hexdigest()


@dataclass(frozen=True)
class Order:
    """One image to be made.

    Attributes:
        path: of the file, relative to the folder that is made.
        person: whose it is.
        source: path of the photo, relative to the table's root.
        sight: what that photo shows.
        method: empty for a photo.
        donor: path of the donor's photo; empty where the method needs none.
        donor_sight: what the donor's photo shows.
        seed: of this image's generator.
    """

    path: str
    person: str
    source: str
    sight: Sight
    method: str
    donor: str
    donor_sight: Sight | None
    seed: int


def check_recipe(recipe: Recipe) -> None:
    """Raises ConfigError where the recipe makes no sense by itself."""
    unknown = [name for name in recipe.methods if name not in METHODS]
    if unknown or not recipe.methods:
        raise ConfigError(f"methods: expected some of {', '.join(METHODS)}, got {unknown[0] if unknown else 'none'}")
    repeated = [name for name, count in Counter(recipe.methods).items() if count > 1]
    if repeated:
        raise ConfigError(f"methods: {repeated[0]} is named twice; expected each once")
    for name, value, least in (("per-person", recipe.per_person, 1), ("seed", recipe.seed, 0)):
        if value < least:
            raise ConfigError(f"{name}: expected a whole number of at least {least}, got {value}")
    if recipe.size and recipe.size < _SMALLEST_SIDE:
        raise ConfigError(f"size: expected at least {_SMALLEST_SIDE} pixels, got {recipe.size}")


def check_folders(table: FaceTable, out: Path, methods: Sequence[str]) -> None:
    """Raises DataError where the photos can't be forged by these methods or ``out`` can't be written beside them."""
    people = sorted(set(table.frame["person"]))
    if not people:
        raise DataError(f"{table.root}: holds no real photo that can be read; expected photos of people")
    swaps = [name for name in methods if name in NEEDS_DONOR]
    if len(people) < 2 and swaps:
        rest = ",".join(name for name in METHODS if name not in NEEDS_DONOR)
        raise DataError(
            f"{table.root}: holds one person, and {swaps[0]} puts a face on another person's head; "
            f"add people, or choose --methods {rest}"
        )
    for person in people:
        if not person or person[0] in "._" or set("/\\\0") & set(person):
            raise DataError(
                f"{table.root}: person {person!r} can't be the name of a folder of photos; "
                f"expected a name without slashes that does not begin with a dot or an underscore"
            )
    if out.exists() and not out.is_dir():
        raise DataError(f"{out}: is a file; expected an empty or a new folder")


def check_apart(faces: Path, out: Path) -> None:
    """Raises DataError where ``out`` lies in the folder of the photos, in which it would be taken for a person."""
    folder, inside = faces.resolve(), out.resolve()
    if faces.is_dir() and (inside == folder or folder in inside.parents):
        raise DataError(f"{out}: lies in the folder of the photos, {faces}; choose a folder outside it")


def commonest_side(table: FaceTable) -> int:
    """The shorter side in px that most photos have, among 500 spread over the table; photos that can't be read don't count."""
    rows = np.unique(np.linspace(0, len(table) - 1, _SIDES_LOOKED_AT).astype(int))
    sides: Counter[int] = Counter()
    for row in rows:
        try:
            with Image.open(table.path(int(row))) as image:
                sides[min(image.size)] += 1
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
            continue
    if not sides:
        raise DataError(f"{table.root}: none of the photos can be read; expected images")
    most = max(sides.values())
    return max(_SMALLEST_SIDE, max(side for side, count in sides.items() if count == most))


def seed_of(seed: int, *words: str | int) -> int:
    """A seed of 63 bits that depends on all of these and on nothing else.

    Example:
        >>> seed_of(0, "ann", 1) == seed_of(0, "ann", 1), seed_of(0, "ann", 1) == seed_of(0, "ann", 2)
        (True, False)
    """
    text = "|".join(map(str, (seed, *words))).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def plan(table: FaceTable, sights: Sequence[Sight], recipe: Recipe) -> list[Order]:
    """Every image to be made, person by person.

    Args:
        table: readable real photos.
        sights: what each shows, in the table's order.
        recipe: checked.
    """
    names, who = np.unique(table.frame["person"].to_numpy(dtype=object), return_inverse=True)
    groups = np.split(np.argsort(who, kind="stable"), np.cumsum(np.bincount(who))[:-1])
    paths = table.frame["path"].tolist()
    donors = Donors(
        who, np.stack([sight.tone for sight in sights]), np.array([sight.yaw for sight in sights], np.float32)
    )
    orders: list[Order] = []
    for person, rows in zip(names.tolist(), groups, strict=True):
        random = np.random.default_rng(seed_of(recipe.seed, "person", person))
        numbers = random.permutation(len(rows) + recipe.per_person)
        made = [(int(row), "") for row in rows] + _forgeries(rows, recipe, random)
        for number, (row, method) in zip(numbers, made, strict=True):
            path = f"images/{person}/{number}.jpg"
            donor = donors.pick(row, random) if method in NEEDS_DONOR else None
            orders.append(
                Order(
                    path,
                    person,
                    paths[row],
                    sights[row],
                    method,
                    "" if donor is None else paths[donor],
                    None if donor is None else sights[donor],
                    seed_of(recipe.seed, path, paths[row], method),
                )
            )
    return orders


def _forgeries(rows: NDArray[np.int64], recipe: Recipe, random: np.random.Generator) -> list[tuple[int, str]]:
    """Photo and method of each forgery of a person: all photos and all methods once before any comes again."""
    methods = itertools.cycle([recipe.methods[k] for k in random.permutation(len(recipe.methods))])
    photos = itertools.cycle(random.permutation(rows).tolist())
    return [(next(photos), next(methods)) for _ in range(recipe.per_person)]
