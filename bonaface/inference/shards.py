"""The images of a folder or a table as one file, in shards: what is done is known by shard, and any shard is read alone."""

from __future__ import annotations

import itertools
import json
import os
import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from bonaface.data.layouts import is_image
from bonaface.data.videos import IN_PYTHON, told_videos, videos_among
from bonaface.errors import DataError
from bonaface.io import parse_json
from bonaface.storage import Place

__all__ = ["ImageList", "write_list"]

_SCHEMA = pa.schema([("path", pa.string())])
_KEY, _VIDEOS = b"bonaface", b"bonaface.videos"
_VIDEO = "video"
_TABLES = (".csv", ".parquet")
_EXPECTED = "expected a folder of images, or a CSV or parquet table with a column path"
_DAMAGED = (pa.ArrowException, KeyError, OSError, TypeError, ValueError)
"""What Arrow and the readers of its metadata raise of a file that is none of theirs, or is damaged."""


class ImageList:
    """A list that ``write_list`` wrote. A shard is a row group of its Parquet file, so that no other is read for it.

    Args:
        place: the file.

    Raises:
        DataError: if it can't be read, or is no such list.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        try:
            self._file = pq.ParquetFile(place.opened())
            about = parse_json(self._file.schema_arrow.metadata[_KEY])
            self.source, self.base = str(about["source"]), str(about["base"])
        except _DAMAGED as error:
            raise self._refusal() from error

    def _refusal(self) -> DataError:
        return DataError(f"{self._place.address}: is no list of images as bonaface embed writes it; remove it")

    def __len__(self) -> int:
        """Images in all."""
        return int(self._file.metadata.num_rows)

    @property
    def videos(self) -> int:
        """Number of videos in the folder and those below, which are not listed."""
        return int((self._file.metadata.metadata or {}).get(_VIDEOS, 0))

    @property
    def shards(self) -> int:
        """Number of shards."""
        return int(self._file.num_row_groups)

    def count(self, shards: Iterable[int]) -> int:
        """Number of images in some shards."""
        return sum(int(self._file.metadata.row_group(shard).num_rows) for shard in shards)

    def paths(self, shard: int) -> list[str]:
        """The images of a shard, as they are listed.

        Raises:
            DataError: if the list is damaged there.
        """
        try:
            listed: list[str] = self._file.read_row_group(shard)["path"].to_pylist()
        except _DAMAGED as error:
            raise self._refusal() from error
        return listed

    def is_of(self, source: str) -> bool:
        """True where the source is the listed one, and holds the same images as when it was listed."""
        if _whole(source) != self.source:
            return False
        listed = itertools.chain.from_iterable(map(self.paths, range(self.shards)))
        _, there = _images_of(self.source, Counter())
        return all(before == now for before, now in itertools.zip_longest(listed, there))

    def place(self, path: str) -> Place:
        """Path of a listed image."""
        return Place(path) if "://" in path or path.startswith("/") else Place(self.base) / path


def write_list(source: str, to: Place, shard: int) -> None:
    """Lists the images of a folder, or of a table; of what was listed nothing but the file's index is held in memory.

    Args:
        source: a folder (its images, and those of all folders below), or a CSV or parquet file with a column ``path``:
            relative to the table's folder, absolute or URLs.
        to: the file to write.
        shard: images in a shard.

    Raises:
        DataError: if it is neither, has no images, or a path of the table leads out of its folder.
    """
    passed_over: Counter[str] = Counter()
    base, paths = _images_of(source, passed_over)
    about = {_KEY: json.dumps({"source": _whole(source), "base": base})}
    written = 0
    with to.writing() as temporary, pq.ParquetWriter(temporary, _SCHEMA.with_metadata(about)) as writer:
        for group in _groups(paths, shard):
            writer.write_table(pa.table({"path": group}, schema=_SCHEMA.with_metadata(about)), row_group_size=shard)
            written += len(group)
        videos = passed_over[_VIDEO]
        if not written:
            told = f" ({told_videos(videos, IN_PYTHON)})" if videos else ""
            raise DataError(f"{source}: holds no images{told}; {_EXPECTED}")
        writer.add_key_value_metadata({_VIDEOS: str(videos)})


def _whole(source: str) -> str:
    """A source by a name that is its own from any folder."""
    return source if "://" in source else os.path.abspath(source)  # noqa: PTH100 - links stay


def _images_of(source: str, passed_over: Counter[str]) -> tuple[str, Iterator[str]]:
    """The folder that a source's images are named from, and the images; videos are counted as they are passed over."""
    place, whole = Place(source), _whole(source)
    if place.is_folder():
        return whole, _below(place, passed_over)
    if source.lower().endswith(_TABLES) and place.exists():
        return posixpath.dirname(whole), _listed(place)
    what = "is neither" if place.exists() else "no such file or folder"
    raise DataError(f"{source}: {what}; {_EXPECTED}")


def _below(place: Place, passed_over: Counter[str]) -> Iterator[str]:
    for folder, names in place.walk():
        if not any(part[0] in "._" for part in folder.split("/") if part != "."):
            passed_over[_VIDEO] += videos_among(names)
            yield from (posixpath.normpath(posixpath.join(folder, name)) for name in names if is_image(name))


def _listed(place: Place) -> Iterator[str]:
    try:
        for batch in _batches(place):
            for path in batch.column("path").cast(pa.string()).to_pylist():
                if not path or ".." in path.split("/"):
                    raise DataError(f"{place.address}: path: expected one below the table's folder, got {path!r}")
                yield path
    except _DAMAGED as error:
        raise DataError(f"{place.address}: isn't a table of images ({_first_line(error)}); {_EXPECTED}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip("'\"").partition("\n")[0]


def _batches(place: Place) -> Iterable[Any]:
    if place.address.lower().endswith(".parquet"):
        file = pq.ParquetFile(place.opened())
        return file.iter_batches(columns=["path"]) if "path" in file.schema_arrow.names else _no_path()
    only = pa_csv.ConvertOptions(include_columns=["path"], column_types={"path": pa.string()})
    read: Iterable[Any] = pa_csv.open_csv(place.opened(), convert_options=only)
    return read


def _no_path() -> Iterable[Any]:
    raise KeyError("has no column path")


def _groups(paths: Iterable[str], size: int) -> Iterator[list[str]]:
    group: list[str] = []
    for path in paths:
        group.append(path)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
