"""float32 scores as integers of the same order, counted by their upper 16 bits."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bonaface.errors import DataError

__all__ = ["BINS", "Source", "Steps", "count_bins", "pieces_as_keys", "scores_of", "steps_of_cells", "steps_of_tagged"]

Source = NDArray[Any] | Path | Callable[[], Iterable[NDArray[Any]]]
"""Scores of one class: an array (a memmap too), a .npy file, or a function that gives their chunks anew each time."""

BINS = 1 << 16
PIECE = 1 << 17  # scores at a time: the buffers stay in the processor's cache
SIGN = np.uint32(1 << 31)


class Steps(NamedTuple):
    """Part of the ROC: how many pairs of each class have each distinct score, highest first."""

    scores: NDArray[np.float32]
    same: NDArray[np.int64]
    different: NDArray[np.int64]

    def part(self, which: slice) -> "Steps":
        """Give some of the steps."""
        return Steps(self.scores[which], self.same[which], self.different[which])


def pieces_as_keys(name: str, source: Source) -> Iterator[NDArray[np.uint32]]:
    """Read scores piece by piece as integers of the same order; -0.0 and 0.0 are one.

    Args:
        name: what the scores are, for the message.
        source: where they come from.

    Yields:
        Keys, shape ``(p,)`` with p at most ``PIECE``. The array is used again for the next piece.

    Raises:
        DataError: if the type is not float32 or float16, or an array is not one-dimensional.
    """
    bits, flip = np.empty(PIECE, np.uint32), np.empty(PIECE, np.uint32)
    for chunk in _chunks(source):
        if chunk.dtype not in (np.float32, np.float16):
            raise DataError(f"{name}: expected float32 or float16 scores, got {chunk.dtype}; convert them knowingly")
        if chunk.ndim != 1:
            raise DataError(f"{name}: expected one score a pair, shape (n,), got shape {chunk.shape}")
        for begin in range(0, len(chunk), PIECE):
            piece = chunk[begin : begin + PIECE]
            keys, mask = bits[: len(piece)], flip[: len(piece)]
            np.add(piece, np.float32(0), out=keys.view(np.float32))  # -0.0 + 0.0 is 0.0
            np.right_shift(keys.view(np.int32), 31, out=mask.view(np.int32))  # all ones where negative
            np.bitwise_or(mask, SIGN, out=mask)
            np.bitwise_xor(keys, mask, out=keys)  # negative: all bits turned; positive: the sign bit
            yield keys


def _chunks(source: Source) -> Iterable[NDArray[Any]]:
    if isinstance(source, Path):
        return [np.load(source, mmap_mode="r", allow_pickle=False)]
    return source() if callable(source) else [np.asanyarray(source)]


def scores_of(keys: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Turn keys back into scores.

    Example:
        >>> keys = np.concatenate([k.copy() for k in pieces_as_keys("same", np.float32([-2, -0.0, 0.5]))])
        >>> scores_of(keys).tolist()
        [-2.0, 0.0, 0.5]
    """
    flip = np.where(keys & SIGN, SIGN, ~np.uint32(0)).astype(np.uint32)
    return (keys ^ flip).view(np.float32)


def count_bins(name: str, source: Source) -> NDArray[np.int64]:
    """Count the scores by the upper 16 bits of their keys, shape ``(BINS,)``.

    Raises:
        DataError: if there is no score, one is NaN or infinite, or their type is another than float32 or float16.
    """
    counts = np.zeros(BINS, dtype=np.int64)
    for keys in pieces_as_keys(name, source):
        counts += np.bincount((keys >> np.uint32(16)).astype(np.intp), minlength=BINS)
    if not counts.any():
        raise DataError(f"{name}: expected at least one score, got none")
    not_finite = int(counts[:0x80].sum() + counts[0xFF80:].sum())  # an exponent of all ones
    if not_finite:
        raise DataError(f"{name}: expected finite scores, got {not_finite} that are NaN or infinite")
    return counts


def steps_of_cells(upper: int, same: NDArray[np.int64], different: NDArray[np.int64]) -> Steps:
    """Give the steps of one bin from its counts by the lower 16 bits, shapes ``(BINS,)``."""
    lower = np.flatnonzero(same + different)[::-1]
    keys = (lower + (upper << 16)).astype(np.uint32)
    return Steps(scores_of(keys), same[lower], different[lower])


def steps_of_tagged(tagged: NDArray[np.uint64], low: int, high: int) -> Steps:
    """Give the steps of the bins ``[low, high)`` from sorted ``2 * key + is_same``."""
    begin, end = np.searchsorted(tagged, np.array([low << 17, high << 17], dtype=np.uint64))
    part = tagged[begin:end]
    if not len(part):
        nothing = np.empty(0, np.int64)
        return Steps(np.empty(0, np.float32), nothing, nothing)
    keys = (part >> np.uint64(1)).astype(np.uint32)
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    same = np.add.reduceat((part & np.uint64(1)).astype(np.uint8), starts, dtype=np.int64)
    counts = np.diff(np.append(starts, len(part)))
    return Steps(scores_of(keys[starts][::-1]), same[::-1], (counts - same)[::-1])
