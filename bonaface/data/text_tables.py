"""CSV files as people have them: with commas, semicolons or tabs, with or without a byte order mark, every cell text."""

from __future__ import annotations

import csv
import io
import stat
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from bonaface.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_text_table"]


def read_text_table(file: Path, what: str, expected: str) -> pd.DataFrame:
    r"""Read a CSV in UTF-8 with every cell as text; an empty cell is the empty string.

    Args:
        file: columns separated by commas, or by semicolons or tabs where its first line has no comma.
        what: the file should be, for messages: ``a table of labels``.
        expected: columns, for messages.

    Returns:
        The rows in the file's order.

    Raises:
        DataError: if it can't be read, is no CSV, or names a column twice.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "labels.csv"
        >>> _ = file.write_text("pair_id;label\n007;1\n")
        >>> read_text_table(file, "a table of labels", "expected pair_id and label").to_dict("list")
        {'pair_id': ['007'], 'label': ['1']}
    """
    import pandas as pd

    try:
        if stat.S_ISCHR(file.stat().st_mode):  # it may have no end
            raise DataError(f"{file}: is a device; {expected}")
        text = file.read_bytes().decode("utf-8-sig")
        header = text[: text.find("\n")] if "\n" in text else text
        separator = next((each for each in ";\t" if each in header and "," not in header), ",")
        names = [name.strip() for name in next(csv.reader([header], delimiter=separator), [])]
        with warnings.catch_warnings(action="error", category=pd.errors.ParserWarning):  # a row longer than the header
            rows = pd.read_csv(
                io.StringIO(text),
                sep=separator,
                dtype=str,
                keep_default_na=False,
                index_col=False,
                skipinitialspace=True,
            )
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{file}: isn't {what} that can be read ({reason}); {expected}") from error
    except (ValueError, csv.Error) as error:  # no UTF-8, and pandas' parser errors
        raise DataError(f"{file}: isn't {what} as a CSV in UTF-8 ({str(error).splitlines()[0]}); {expected}") from error
    except pd.errors.ParserWarning as error:
        raise DataError(f"{file}: has a row of more cells than its first line has names; {expected}") from error
    doubled = next((name for place, name in enumerate(names) if name and name in names[:place]), None)
    if doubled is not None:
        raise DataError(f"{file}: has the column {doubled} twice; {expected}")
    return rows
