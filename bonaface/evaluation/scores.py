"""The scores of one model on the pairs that are judged, from wherever they come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.data.layouts import unpadded
from bonaface.data.text_tables import read_numbered_table
from bonaface.errors import DataError
from bonaface.io import atomic_write, number
from bonaface.verification.thresholds import Validation

__all__ = ["PairScores", "read_scores", "told_apart", "write_scores"]

_EXPECTED = "expected a CSV with pair_id and similarity"
_LARGEST = 1e100
"""Larger similarities overflow where they are squared or subtracted."""


@dataclass(frozen=True)
class PairScores:
    """One model's scores.

    Args:
        name: what the report calls it.
        source: what it is: the path of a run, of a network or of a CSV.
        similarity: shape ``(n,)``, finite, higher is more alike.
        validation: thresholds from other pairs; None where there are none.
        validation_source: where those come from, in words.
        unreadable: for each image that could not be read, why.
        spoiled: pairs that got the lowest similarity because of such an image, shape ``(n,)``; None where no image was read.
        faceless: images in which the detector found no face; None where none was used.
        authenticity: log-odds that each image is genuine, shape ``(n, 2)``, NaN where it could not be read; None where
            the model does not judge it.
        forged_below: log-odds below which an image is classified as a deepfake.
    """

    name: str
    source: str
    similarity: NDArray[np.float64]
    validation: Validation | None = None
    validation_source: str = ""
    unreadable: dict[str, str] = field(default_factory=dict)
    spoiled: NDArray[np.bool_] | None = None
    faceless: Sequence[str] | None = None
    authenticity: NDArray[np.float64] | None = None
    forged_below: float = 0.0

    @property
    def passing(self) -> NDArray[np.float64]:
        """The similarities that thresholds are asked about, ``(n,)``.

        A pair with an image that can't be read passes at none, nor does one with a photo that is called a deepfake.
        """
        refused = np.zeros(len(self.similarity), dtype=bool) if self.spoiled is None else self.spoiled
        if self.authenticity is not None:
            refused = refused | (self.authenticity < self.forged_below).any(axis=1)
        thresholds = [] if self.validation is None else [each.threshold for each in self.validation.thresholds]
        never = min([float(self.similarity.min()), *thresholds]) - 1
        return np.where(refused, never, self.similarity)


def read_scores(file: Path, pair_ids: Sequence[str], labels_name: str) -> NDArray[np.float64]:
    r"""Read ``pair_id,similarity`` and bring it into the order of the pairs.

    A pair id that is no known one is matched by its number, so that ``7`` means the pair ``00000007``.

    Args:
        file: the CSV, its rows in any order.
        pair_ids: the pairs that it must score, each once.
        labels_name: what names these pairs, for messages.

    Returns:
        Similarities in the order of ``pair_ids``, shape ``(n,)``.

    Raises:
        DataError: if columns are missing, a similarity is no finite number, or pairs are missing, unknown or doubled.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "scores.csv"
        >>> _ = file.write_text("pair_id,similarity\n1,0.5\n0,0.25\n")
        >>> read_scores(file, ["0000", "0001"], "labels.csv").tolist()
        [0.25, 0.5]
    """
    known = {pair_id: row for row, pair_id in enumerate(pair_ids)}
    by_number: dict[str, int] = {}
    for pair_id, row in known.items():
        by_number[unpadded(pair_id)] = -1 if unpadded(pair_id) in by_number else row
    scores = np.full(len(pair_ids), np.nan)
    line_of: dict[int, int] = {}
    table, lines = read_numbered_table(file, "a table of scores", _EXPECTED, ["pair_id", "similarity"])
    for line, pair_id, text in zip(lines, table["pair_id"], table["similarity"], strict=True):
        row = known.get(pair_id, by_number.get(unpadded(pair_id), -1))
        if row < 0:
            raise DataError(
                f"{file}: line {line}: pair {pair_id} isn't in {labels_name}; expected its pairs, each once"
            )
        if row in line_of:
            raise DataError(
                f"{file}: line {line}: pair {pair_id} occurs twice, first on line {line_of[row]}; expected each once"
            )
        line_of[row] = line
        scores[row] = _number(text, f"{file}: line {line}: pair {pair_id}")
    missing = np.flatnonzero(np.isnan(scores))
    if missing.size:
        raise DataError(
            f"{file}: {missing.size} of {len(pair_ids)} pairs of {labels_name} have no score, "
            f"first {pair_ids[int(missing[0])]}; expected each pair once"
        )
    return scores


def _number(text: str, where: str) -> float:
    try:
        value = number(text)
    except ValueError:
        value = np.nan
    if not abs(value) <= _LARGEST:
        hint = "; write a point for the decimal comma" if "," in text else ""
        hint = f"; the largest is {_LARGEST:g}" if np.isfinite(value) else hint
        raise DataError(f"{where}: similarity: expected a finite number, got {text!r}{hint}")
    return value


def told_apart(names: Sequence[str]) -> list[str]:
    """Names, numbered where they occur twice.

    Example:
        >>> told_apart(["a", "b", "a"])
        ['a', 'b', 'a (2)']
    """
    made: list[str] = []
    for name in names:
        number = 2
        new = name
        while new in made:
            new = f"{name} ({number})"
            number += 1
        made.append(new)
    return made


def write_scores(scores: Sequence[PairScores], pair_ids: Sequence[str], file: Path) -> None:
    """Write pair_id,similarity; of several models one column each, named after them, no two alike.

    Raises:
        DataError: if the file can't be written.
    """
    names = ["similarity"] if len(scores) == 1 else [each.name for each in scores]
    columns = zip(told_apart(["pair_id", *names]), [pair_ids, *(each.similarity for each in scores)], strict=True)
    with atomic_write(file, private=True) as temporary:
        pd.DataFrame(dict(columns)).to_csv(temporary, index=False, float_format="%.9g", errors="backslashreplace")
