"""One row per photo: the table that every layout becomes, and the classes that training makes of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.data import layouts
from bonaface.errors import ConfigError, DataError

__all__ = ["FaceTable", "FakeClasses", "class_labels", "merged", "read_faces"]

FakeClasses = Literal["own", "shared", "dropped"]

_COLUMNS = ["path", "person", "is_fake", "split"]


@dataclass(frozen=True)
class FaceTable:
    """Photos of people, some of them deepfakes.

    Attributes:
        root: the folder that paths start from.
        frame: one row per photo, index 0 to n - 1, with the columns ``path`` (posix, relative to ``root``; absolute
            where a table file said so), ``person`` (whose face it is, or claims to be), ``is_fake`` (bool) and
            ``split`` (``train``, ``val``, or empty where it isn't decided).
    """

    root: Path
    frame: pd.DataFrame

    def __post_init__(self) -> None:
        if list(self.frame.columns) != _COLUMNS:
            raise ValueError(f"expected the columns {_COLUMNS}, got {list(self.frame.columns)}")
        if not self.frame.index.equals(pd.RangeIndex(len(self.frame))):
            raise ValueError("expected the index 0 to n - 1; reset it")

    def __len__(self) -> int:
        return len(self.frame)

    def path(self, row: int) -> Path:
        """The file of the photo in ``row``."""
        return self.root / str(self.frame["path"].iat[row])

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "FaceTable":
        """The photos that a mask or positions choose, as a table of their own, numbered anew.

        Args:
            rows: one bool per row, shape ``(n,)``, or row positions, shape ``(k,)``.

        Example:
            >>> frame = pd.DataFrame([("a/0.jpg", "a", False, ""), ("a/1.jpg", "a", True, "")],
            ...                      columns=["path", "person", "is_fake", "split"])
            >>> table = FaceTable(Path("."), frame)
            >>> table.take(table.frame["is_fake"].to_numpy()).frame["path"].tolist()
            ['a/1.jpg']
        """
        positions = np.flatnonzero(rows) if rows.dtype == bool else rows
        return FaceTable(self.root, self.frame.iloc[positions].reset_index(drop=True))


def read_faces(where: Path) -> FaceTable:
    """Read face photos in any of the known layouts, recognised by looking.

    - The challenge's train set: ``meta.json`` (``"person/n.jpg": 0 or 1``, zero-padded or not) beside
      ``images/<person>/<n>.jpg``.
    - Plain folders ``<person>/<image>`` (LFW, VGGFace2, CASIA-WebFace unpacked): all photos are real.
    - A .csv or .parquet file in OML's retrieval format (``label``, ``path``, ``split``, ``is_query``, ``is_gallery``)
      with an optional ``is_fake``.

    No image is opened: what can't be decoded is for cleaning to find.

    Args:
        where: a folder, or a table file.

    Returns:
        The photos, sorted by path (those of a table file in its order).

    Raises:
        DataError: if it is none of these, names images that aren't there or misses some that are, or has a person
            with deepfakes but no real photo.
    """
    where = Path(where)
    if where.is_dir():
        rows = layouts.read_challenge(where) if (where / "meta.json").exists() else layouts.read_plain(where)
    elif not where.exists():
        raise DataError(f"{where}: no such file or folder; {layouts.EXPECTED}")
    elif where.suffix.lower() in (".csv", ".parquet"):
        rows = layouts.read_table_file(where)
    else:
        raise DataError(f"{where}: is neither a folder nor a .csv or .parquet table; {layouts.EXPECTED}")
    frame = pd.DataFrame(rows, columns=_COLUMNS)
    only_fakes = sorted(set(frame["person"]) - set(frame.loc[~frame["is_fake"], "person"]))
    if only_fakes:
        more = f" and {len(only_fakes) - 1} more people have" if len(only_fakes) > 1 else " has"
        raise DataError(
            f"{where}: person {only_fakes[0]}{more} deepfakes only; expected at least one real photo of each person"
        )
    return FaceTable(where if where.is_dir() else where.parent, frame)


def merged(tables: Sequence[FaceTable], names: Sequence[str]) -> FaceTable:
    """Several sources as one table: people keep apart, ``<name>/<person>``, and paths are absolute.

    Args:
        tables: one for each source.
        names: of the sources, all different.

    Returns:
        A single table as it is; of several, their rows one after another.

    Example:
        >>> one = FaceTable(Path("/x"), pd.DataFrame([("a/0.jpg", "a", False, "")], columns=_COLUMNS))
        >>> merged([one, FaceTable(Path("/y"), one.frame)], ["x", "y"]).frame["person"].tolist()
        ['x/a', 'y/a']
    """
    if len(tables) == 1:
        return tables[0]
    frames = [
        table.frame.assign(
            path=[(table.root / path).absolute().as_posix() for path in table.frame["path"]],
            person=[f"{name}/{person}" for person in table.frame["person"]],
        )
        for table, name in zip(tables, names, strict=True)
    ]
    return FaceTable(tables[0].root, pd.concat(frames, ignore_index=True))


def class_labels(table: FaceTable, fake_classes: FakeClasses) -> NDArray[np.int64]:
    """Number the classes that training tells apart: first the people by name, then their deepfakes.

    Args:
        table: photos.
        fake_classes: ``own``: the deepfakes of each person are a class of their own, as in the report, so that
            training never sees the word fake; ``shared``: all deepfakes are one class; ``dropped``: they are left out.

    Returns:
        One number per row, shape ``(n,)``: contiguous from 0, the same for the same table; -1 is left out of training.

    Raises:
        ConfigError: if ``fake_classes`` is none of these.

    Example:
        >>> frame = pd.DataFrame([("0", "b", True, ""), ("1", "b", False, ""), ("2", "a", False, ""),
        ...                       ("3", "a", True, "")], columns=["path", "person", "is_fake", "split"])
        >>> table = FaceTable(Path("."), frame)
        >>> class_labels(table, "own").tolist(), class_labels(table, "shared").tolist()
        ([3, 1, 0, 2], [2, 1, 0, 2])
        >>> class_labels(table, "dropped").tolist()
        [-1, 1, 0, -1]
    """
    person = table.frame["person"].to_numpy(dtype=object)
    is_fake = table.frame["is_fake"].to_numpy(dtype=bool)
    labels = np.full(len(table), -1, np.int64)
    people, labels[~is_fake] = np.unique(person[~is_fake], return_inverse=True)
    if fake_classes == "own":
        labels[is_fake] = len(people) + np.unique(person[is_fake], return_inverse=True)[1]
    elif fake_classes == "shared":
        labels[is_fake] = len(people)
    elif fake_classes != "dropped":
        raise ConfigError(f"fake_classes: expected own, shared or dropped, got {fake_classes!r}")
    return labels
