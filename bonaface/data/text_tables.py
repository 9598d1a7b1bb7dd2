"""CSV files as people have them: with commas, semicolons or tabs, a byte order mark and comments; every cell text."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bonaface.errors import DataError
from bonaface.reading import read_regular

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_cells", "read_numbered_table", "read_text_table"]


def read_text_table(file: Path, what: str, expected: str) -> pd.DataFrame:
    r"""Read a CSV in UTF-8 with every cell as stripped text; an empty cell is the empty string.

    Lines before the header that start with ``#`` are comments, and so are later ones that have not as many cells as the header.

    Args:
        file: columns separated by commas, or by semicolons or tabs where its header has no comma.
        what: the file should be, for messages: ``a table of labels``.
        expected: columns, for messages.

    Returns:
        The rows in the file's order.

    Raises:
        DataError: if it can't be read, is no CSV, names a column twice, or has a row of more cells than columns.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "labels.csv"
        >>> _ = file.write_text("# by hand\npair_id;label\n007;1\n")
        >>> read_text_table(file, "a table of labels", "expected pair_id and label").to_dict("list")
        {'pair_id': ['007'], 'label': ['1']}
    """
    return read_numbered_table(file, what, expected)[0]


def read_numbered_table(
    file: Path, what: str, expected: str, columns: Sequence[str] = ()
) -> tuple[pd.DataFrame, list[int]]:
    """Read a CSV as :func:`read_text_table` does, and the line of each row.

    Args:
        file: the CSV.
        what: the file should be, for messages.
        expected: columns, for messages.
        columns: that must be there; then there must be a row too.

    Raises:
        DataError: as ``read_text_table`` does, or if a column or every row is missing.
    """
    import pandas as pd

    names, rows, lines = read_cells(file, what, expected, columns)
    return pd.DataFrame(rows, columns=names, dtype=str), lines


def read_cells(
    file: Path, what: str, expected: str, columns: Sequence[str] = ()
) -> tuple[list[str], list[list[str]], list[int]]:
    """Names of the columns, stripped cells of each row, and the line of each row; needs no pandas.

    Args:
        file: the CSV.
        what: the file should be, for messages.
        expected: columns, for messages.
        columns: that must be there; then there must be a row too.

    Raises:
        DataError: as ``read_numbered_table`` does.
    """
    lines = list(io.StringIO(_text(file, what, expected), newline=""))
    # Excel takes a first line such as sep=; for the separator, and so do people's files.
    skipped = ("#", "sep=")
    header_at = next((at for at, line in enumerate(lines) if line.strip() and not line.startswith(skipped)), len(lines))
    header = lines[header_at] if header_at < len(lines) else ""
    separator = next((each for each in ";\t" if each in header and "," not in header), ",")
    reader = csv.reader(lines[header_at:], delimiter=separator, skipinitialspace=True, strict=True)
    rows: list[list[str]] = []
    numbers: list[int] = []
    try:
        names = [name.strip() for name in next(reader, [])]
        _check_names(names, columns, file, what, expected)
        for cells in reader:
            line = header_at + reader.line_num
            row = _fitted([cell.strip() for cell in cells], len(names), f"{file}: line {line}", expected)
            if row is not None:
                rows.append(row)
                numbers.append(line)
    except csv.Error as error:
        where = f"line {header_at + reader.line_num}: {error}"
        raise DataError(f"{file}: isn't {what} as a CSV in UTF-8 ({where}); {expected}") from error
    if columns and not rows:
        raise DataError(f"{file}: has no rows; {expected}")
    return names, rows, numbers


def _text(file: Path, what: str, expected: str) -> str:
    try:
        data = read_regular(file)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{file}: isn't {what} that can be read ({reason}); {expected}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        where = f"line {line}: {error.reason}"
        raise DataError(f"{file}: isn't {what} as a CSV in UTF-8 ({where}); {expected}") from error
    if "\0" in text:
        raise DataError(f"{file}: isn't {what} as a CSV in UTF-8 (it holds a zero byte); {expected}")
    return text


def _check_names(names: Sequence[str], columns: Sequence[str], file: Path, what: str, expected: str) -> None:
    missing = [column for column in columns if column not in names]
    if missing:
        raise DataError(f"{file}: has no column {' and no column '.join(missing)}; {expected}")
    if not names:
        raise DataError(f"{file}: isn't {what} as a CSV in UTF-8 (it is empty); {expected}")
    doubled = next((name for place, name in enumerate(names) if name and name in names[:place]), None)
    if doubled is not None:
        raise DataError(f"{file}: has the column {doubled} twice; {expected}")


def _fitted(cells: list[str], width: int, where: str, expected: str) -> list[str] | None:
    """The cells of one line, as many as the header has; None of a blank line and of a comment."""
    if not cells or (cells[0].startswith("#") and len(cells) != width):
        return None
    if any(cells[width:]):
        raise DataError(f"{where}: has {len(cells)} cells, more than its header has names; {expected}")
    return cells[:width] + [""] * (width - len(cells))
