"""The photo, or the frame of the same video, that a deepfake was made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bonaface.data.table import FaceTable
from bonaface.data.text_tables import read_text_table
from bonaface.errors import DataError

__all__ = ["read_originals"]

_COLUMNS = ("deepfake", "original")


def read_originals(csv: Path, table: FaceTable) -> NDArray[np.int64]:
    """The row of each deepfake's original.

    Args:
        csv: the columns ``deepfake`` and ``original``, both ``<person>/<image>`` as in meta.json, or paths as in the table.
        table: rows that it does not have, since cleaning left them out, are passed over.

    Returns:
        A row of ``table`` for each of its rows, shape ``(n,)``; -1 where no original is known.

    Raises:
        DataError: if the file can't be read, lacks a column, or names no deepfake and original of the table.
    """
    listed = read_text_table(csv, "a list of originals", f"expected the columns {' and '.join(_COLUMNS)}")
    for column in _COLUMNS:
        if column not in listed:
            raise DataError(f"{csv}: has no column {column}; expected {' and '.join(_COLUMNS)}")
    row_of = {path.removeprefix("images/"): row for row, path in enumerate(table.frame["path"])}
    is_fake = table.frame["is_fake"].to_numpy(dtype=bool)
    originals = np.full(len(table), -1, np.int64)
    for deepfake, original in zip(*(listed[column] for column in _COLUMNS), strict=True):
        fake, real = (row_of.get(name.removeprefix("images/"), -1) for name in (deepfake, original))
        if fake >= 0 and real >= 0 and is_fake[fake] and not is_fake[real]:
            originals[fake] = real
    if (originals < 0).all():
        raise DataError(f"{csv}: names no deepfake and its original among the images of {table.root}")
    return originals
