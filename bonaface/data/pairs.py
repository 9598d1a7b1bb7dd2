"""Pairs of photos: folders of pairs, lists of pairs to verify, and the labels that say what each pair is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bonaface.data.layouts import images_by_folder, is_pair, looks_like_pairs, unpadded
from bonaface.data.pair_labels import labels_of
from bonaface.data.text_tables import read_cells, read_numbered_table
from bonaface.errors import DataError

if TYPE_CHECKING:
    import pandas as pd  # for labels: a folder of pairs is read without it

__all__ = ["PairTable", "read_labels", "read_pairs", "read_path_pairs"]

_EXPECTED = "expected <pair_id>/0.jpg and <pair_id>/1.jpg, directly or under images/"
_COLUMNS = ("pair_id", "path_0", "path_1")
_PATH_NAMES = (("path_0", "path_1"), ("first", "second"), ("a", "b"))
_PATHS_EXPECTED = "expected the columns path_0 and path_1 (or first and second), optionally pair_id"
_LABELS_EXPECTED = "expected a CSV with pair_id and label"


@dataclass(frozen=True)
class PairTable:
    """Pairs of photos.

    Args:
        root: the folder that paths start from.
        pair_id: the folders' names, ``n`` of them, in their order.
        path_0: the first photo of each pair, posix, relative to ``root``.
        path_1: the second one.
    """

    root: Path
    pair_id: Sequence[str]
    path_0: Sequence[str]
    path_1: Sequence[str]

    def __len__(self) -> int:
        return len(self.pair_id)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row for each pair, index 0 to n - 1: ``pair_id``, ``path_0`` and ``path_1``."""
        import pandas as pd

        return pd.DataFrame({name: pd.Series(getattr(self, name), dtype=str) for name in _COLUMNS})

    @classmethod
    def from_frame(cls, root: Path, frame: pd.DataFrame) -> PairTable:
        """The pairs of a table with the columns of ``frame``."""
        return cls(root, *(frame[name].tolist() for name in _COLUMNS))


def read_pairs(where: Path) -> PairTable:
    """Read a folder of pairs, ``<pair_id>/0.jpg`` and ``1.jpg``, directly or under ``images/``.

    No image is opened.

    Args:
        where: the folder.

    Returns:
        The pairs in the order of their folders' names, which is the order that the challenge's scorer goes by.

    Raises:
        DataError: if it is no such folder, or a pair has not exactly a 0 and a 1.
    """
    where = Path(where)
    if not where.is_dir():
        raise DataError(f"{where}: no such folder; {_EXPECTED}")
    if (where / "meta.json").exists():
        raise DataError(f"{where}: is a set of people's photos (it has meta.json), which train reads; {_EXPECTED}")
    under = "images/" if (where / "images").is_dir() else ""
    tree = images_by_folder(where / under)
    if not tree:
        raise DataError(f"{where / under}: holds no folders; {_EXPECTED}")
    wrong = next((pair_id for pair_id, names in tree.items() if not is_pair(names)), None)
    if wrong is not None:
        raise _no_pair(where / under, wrong, tree)
    rows = [(pair_id, f"{under}{pair_id}/{zero}", f"{under}{pair_id}/{one}") for pair_id, (zero, one) in tree.items()]
    return PairTable(where, *map(list, zip(*rows, strict=True)))


def read_path_pairs(where: Path) -> PairTable:
    r"""Reads a folder of pairs as :func:`read_pairs` does, or a CSV of two paths.

    No image is opened. A relative path starts at the CSV's folder.

    Args:
        where: a folder, or a CSV in UTF-8 separated by commas, semicolons or tabs, with ``path_0`` and ``path_1`` or ``first`` and
            ``second``; ``pair_id`` is the number of the row where it is absent.

    Raises:
        DataError: if it is neither, a column is missing, a row has no two paths, or a pair's id occurs twice.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "pairs.csv"
        >>> _ = file.write_text("first;second\nann.jpg;bob.jpg\n")
        >>> read_path_pairs(file).path_1
        ['bob.jpg']
    """
    if not where.is_file():
        return read_pairs(where)
    header, rows, lines = read_cells(where, "a list of pairs", _PATHS_EXPECTED)
    names = next((pair for pair in _PATH_NAMES if set(pair) <= set(header)), None)
    if names is None:
        raise DataError(f"{where}: has the columns {', '.join(header)[:80]}; {_PATHS_EXPECTED}")
    if not rows:
        raise DataError(f"{where}: has no rows; {_PATHS_EXPECTED}")
    first, second = (header.index(name) for name in names)
    known = header.index("pair_id") if "pair_id" in header else None
    ids: dict[str, int] = {}
    for number, (row, line) in enumerate(zip(rows, lines, strict=True)):
        if not (row[first] and row[second]):
            raise DataError(f"{where}: line {line}: expected two paths, got {', '.join(row)[:80]!r}")
        pair_id = f"{number:08d}" if known is None else row[known]
        if pair_id in ids:
            raise DataError(f"{where}: line {line}: pair {pair_id} occurs twice; expected each once")
        ids[pair_id] = line
    return PairTable(where.parent, list(ids), [row[first] for row in rows], [row[second] for row in rows])


def _no_pair(folder: Path, wrong: str, tree: dict[str, list[str]]) -> DataError:
    """Phrase the refusal of a folder that holds something else than a pair."""
    names = tree[wrong]
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") if names else "no image"
    if len(tree) > 1 and any(tree.values()) and not looks_like_pairs(tree):
        return DataError(f"{folder}: holds people's folders, which train reads ({wrong} has {shown}); {_EXPECTED}")
    return DataError(f"{folder / wrong}: expected a 0.jpg and a 1.jpg and no other image, got {shown}")


def read_labels(csv: Path, pairs: PairTable) -> pd.DataFrame:
    """Read what each pair is: a CSV with ``pair_id`` and ``label``, in any order.

    A pair id that isn't a folder's name is matched by its number, so that ``7`` means the folder ``00000007``.

    Args:
        csv: the file.
        pairs: the pairs that it must label, each once.

    Returns:
        One row per pair, in the order of ``pairs``: ``label`` (int; 1 = two real photos of one person) and those of
        ``kind``, ``person_0``, ``person_1``, ``method_0`` and ``method_1`` (str) that the file has; ``kind`` also where the
        methods say it.

    Raises:
        DataError: if columns are missing, labels are not as ``labels_of`` wants them, or pairs are missing, unknown or
            labelled twice.
    """
    frame, lines = read_numbered_table(Path(csv), "a table of labels", _LABELS_EXPECTED, ["pair_id", "label"])
    positions = _positions(frame["pair_id"], pairs, Path(csv))
    return labels_of(frame, Path(csv), lines).iloc[np.argsort(positions)].reset_index(drop=True)


def _positions(pair_ids: pd.Series, pairs: PairTable, csv: Path) -> NDArray[np.int64]:
    """Find each row's pair in ``pairs``: a permutation, or an error that says why it is none."""
    known: dict[str, int] = {pair_id: row for row, pair_id in enumerate(pairs.frame["pair_id"])}
    numbers = pairs.frame["pair_id"].map(unpadded)
    by_number = {number: known[pair_id] for number, pair_id in zip(numbers, known, strict=True)}
    ambiguous = set(numbers[numbers.duplicated()])
    positions = np.empty(len(pair_ids), np.int64)
    first_line: dict[int, str] = {}
    for line, pair_id in enumerate(pair_ids):
        number = unpadded(pair_id)
        row = known.get(pair_id, by_number.get(number, -1) if number not in ambiguous else -1)
        if row < 0:
            raise DataError(f"{csv}: pair {pair_id} isn't in {pairs.root}; expected its pairs, each once")
        if row in first_line:
            raise DataError(f"{csv}: pair {pair_id} is labelled twice; expected each pair of {pairs.root} once")
        first_line[row] = pair_id
        positions[line] = row
    missing = [pair_id for pair_id, row in known.items() if row not in first_line]
    if missing:
        raise DataError(
            f"{csv}: {len(missing)} of {len(known)} pairs have no label, first {missing[0]}; "
            f"expected each pair of {pairs.root} once"
        )
    return positions
