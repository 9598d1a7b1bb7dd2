"""The vectors of a gallery in memory, for exact search."""

from __future__ import annotations

import sqlite3

import numpy as np
from numpy.typing import NDArray

from bonaface.gallery.people import UNIT_TOLERANCE

__all__ = ["Vectors"]

_BLOCK = 4096
"""Rows that are read and kept together: a gallery grows without a copy of all that is there."""


class Vectors:
    """Vectors of a table in blocks, brought up to date before each search.

    Rows get ascending numbers, so new ones are those behind the last; where rows were deleted or the last is not there any more,
    all are read again.
    """

    def __init__(self) -> None:
        self._table, self._deletions = "", -1
        self._blocks: list[NDArray[np.float32]] = []
        self._numbers: list[NDArray[np.int64]] = []

    def update(self, connection: sqlite3.Connection, table: str, deletions: int, dim: int) -> None:
        """Read what is new.

        Args:
            connection: in a transaction.
            table: with the columns seq and vector.
            deletions: another number after each deletion.
            dim: number of its values.

        Raises:
            ValueError: if a row holds anything else than a unit vector.
        """
        last = int(self._numbers[-1][-1]) if self._numbers else -1
        there = last == -1 or connection.execute(f"SELECT 1 FROM {table} WHERE seq = ?", (last,)).fetchone()  # noqa: S608 - ours
        if (table, deletions) != (self._table, self._deletions) or not there:
            self._blocks, self._numbers, last = [], [], -1
            self._table, self._deletions = table, deletions
        found = connection.execute(f"SELECT seq, vector FROM {table} WHERE seq > ? ORDER BY seq", (last,))  # noqa: S608 - ours
        while rows := found.fetchmany(_BLOCK):
            numbers = np.array([row[0] for row in rows], np.int64)
            if any(len(row[1]) != 4 * dim for row in rows):  # or one row's bytes would be read as another's
                raise ValueError("a vector is of another length")
            block = np.frombuffer(b"".join(row[1] for row in rows), "<f4").reshape(-1, dim).astype(np.float32)
            with np.errstate(all="ignore"):
                lengths = np.linalg.norm(block, axis=1)
            if not np.all(np.abs(lengths - 1) < UNIT_TOLERANCE):
                raise ValueError("a vector is not of length 1")
            if self._blocks and len(self._blocks[-1]) + len(block) <= _BLOCK:  # new ones by ones and twos
                block = np.concatenate([self._blocks.pop(), block])
                numbers = np.concatenate([self._numbers.pop(), numbers])
            self._blocks.append(block)
            self._numbers.append(numbers)

    def nearest(self, vector: NDArray[np.float32], k: int) -> dict[int, float]:
        """Inner products of the ``k`` rows that have the highest, by the row's number, highest first.

        Args:
            vector: ``(dim,)``.
            k: 1 or more.
        """
        if not self._blocks:
            return {}
        scores = np.concatenate([block @ vector for block in self._blocks])  # (n,)
        numbers = np.concatenate(self._numbers)
        best = np.argpartition(-scores, k)[:k] if k < len(scores) else np.arange(len(scores))
        best = best[np.argsort(-scores[best], kind="stable")]
        return dict(zip(numbers[best].tolist(), scores[best].tolist(), strict=True))
