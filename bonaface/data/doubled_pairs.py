"""Pairs that stand twice: they would count as evidence that there is not."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.data.pairs import PairTable
from bonaface.errors import DataError
from bonaface.reading import read_regular

__all__ = ["content_digest", "refuse_doubled", "shared_pair"]


def refuse_doubled(
    pairs: PairTable, label: Sequence[object], places: Sequence[str], where: Path, *, contents: bool = False
) -> None:
    """Refuse two pairs of the same two images, in either order.

    An image is the same by whatever path: relative, absolute, or through a link.

    Args:
        pairs: ``n`` of them.
        label: of each.
        places: of each, for messages: its line or its folder.
        where: they come from, for messages.
        contents: files of equal bytes are the same image too. Few are read: those of pairs whose files have the same two sizes.

    Raises:
        DataError: if a pair stands twice.
    """
    pair = _pairs_of_images(pairs, contents)
    doubled = pd.Series(pair).duplicated().to_numpy()
    if not doubled.any():
        return
    row = int(np.argmax(doubled))
    before = int(np.argmax(pair == pair[row]))
    if label[row] != label[before]:
        said = f"label: {label[row]}, where {places[before]} says {label[before]} of the same two images"
    else:
        said = f"has the same two images as {places[before]}; expected each pair once"
    raise DataError(f"{where}: {places[row]}: {said}")


def shared_pair(first: PairTable, second: PairTable) -> tuple[str, str] | None:
    """The ids of a pair of each table that are of the same two images, by path or by content; None where there are none."""
    sides = [
        [os.path.join(table.root, path) for table in (first, second) for path in getattr(table, side)]  # noqa: PTH118
        for side in ("path_0", "path_1")
    ]
    both = PairTable(Path(), [*first.pair_id, *second.pair_id], *sides)
    pair = _pairs_of_images(both, contents=True)
    known = {number: row for row, number in reversed([*enumerate(pair[: len(first)].tolist())])}
    for pair_id, number in zip(second.pair_id, pair[len(first) :].tolist(), strict=True):
        if number in known:
            return first.pair_id[known[number]], pair_id
    return None


def _pairs_of_images(pairs: PairTable, contents: bool) -> NDArray[np.int64]:
    """A number for each pair, the same for the same two images, ``(n,)``."""
    code, paths = pd.factorize(np.array([*pairs.path_0, *pairs.path_1], dtype=object))
    files = [os.path.join(pairs.root, path) for path in paths]  # noqa: PTH118 - there may be millions
    image = _numbered(map(_size if contents else _file, files))
    if contents:
        alike = pd.Series(_pair(image[code])).duplicated(keep=False).to_numpy()
        read = np.zeros(len(files), dtype=bool)
        read[code.reshape(2, -1)[:, alike]] = True
        image = _numbered(
            content_digest(file) or file if again else file for file, again in zip(files, read.tolist(), strict=True)
        )
    return _pair(image[code])


def content_digest(path: str) -> bytes | None:
    """Digest of a file's bytes, 16 of them; None where it can't be read."""
    try:
        return hashlib.blake2b(read_regular(path), digest_size=16).digest()
    except OSError:
        return None


def _numbered(keys: Iterable[Hashable]) -> NDArray[np.int64]:
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _pair(image: NDArray[np.int64]) -> NDArray[np.int64]:
    """A number for each pair of images, whatever their order, ``(2 n,)`` to ``(n,)``."""
    low, high = np.sort(image.reshape(2, -1), axis=0)
    pair: NDArray[np.int64] = low * (int(image.max(initial=0)) + 1) + high
    return pair


def _file(path: str) -> Hashable:
    return _known(path, lambda: _inode(os.stat(path)) or os.path.realpath(path))  # noqa: PTH116


def _inode(found: os.stat_result) -> tuple[int, int] | None:
    return (found.st_dev, found.st_ino) if found.st_ino else None


def _size(path: str) -> Hashable:
    return _known(path, lambda: os.stat(path).st_size)  # noqa: PTH116


def _known(path: str, look: Callable[[], Hashable]) -> Hashable:
    """What is seen of a file; where it can't be looked at, its path."""
    try:
        return look()
    except OSError:
        return path
