"""Pairs to verify, without labels: a folder of pairs, or a CSV of two paths."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from bonaface.data.pairs import PairTable, read_pairs
from bonaface.errors import DataError

__all__ = ["read_path_pairs"]

_NAMES = (("path_0", "path_1"), ("first", "second"), ("a", "b"))
_EXPECTED = "expected a CSV with the columns path_0 and path_1 (or first and second), optionally pair_id"


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
    rows = _rows(where)
    header = [name.strip() for name in rows[0]] if rows else []
    names = next((pair for pair in _NAMES if set(pair) <= set(header)), None)
    if names is None:
        raise DataError(f"{where}: has the columns {', '.join(header)[:80] or 'of no name'}; {_EXPECTED}")
    places = [header.index(name) for name in names]
    known = header.index("pair_id") if "pair_id" in header else None
    ids: dict[str, int] = {}
    paths: tuple[list[str], list[str]] = ([], [])
    for line, row in enumerate(rows[1:], 2):
        cells = [row[place].strip() if place < len(row) else "" for place in places]
        if not all(cells):
            raise DataError(f"{where}: line {line}: expected two paths, got {', '.join(row)[:80]!r}")
        pair_id = row[known] if known is not None and known < len(row) else f"{line - 2:08d}"
        if pair_id in ids:
            raise DataError(f"{where}: line {line}: pair {pair_id} occurs twice; expected each once")
        ids[pair_id] = line
        for listed, cell in zip(paths, cells, strict=True):
            listed.append(cell)
    if not ids:
        raise DataError(f"{where}: has no rows; {_EXPECTED}")
    return PairTable(where.parent, list(ids), *paths)


def _rows(file: Path) -> Sequence[list[str]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
        first = text.partition("\n")[0]
        separator = next((each for each in ";\t" if each in first and "," not in first), ",")
        return [row for row in csv.reader(text.splitlines(), delimiter=separator) if any(row)]
    except OSError as error:
        raise DataError(f"{file}: can't be read ({(error.strerror or str(error)).lower()}); {_EXPECTED}") from error
    except (ValueError, csv.Error) as error:
        raise DataError(f"{file}: isn't a CSV in UTF-8 ({error}); {_EXPECTED}") from error
