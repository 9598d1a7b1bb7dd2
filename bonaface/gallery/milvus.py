"""A gallery in Milvus Lite in a local folder, or on a Milvus server, by the same calls.

A collection's name says the gallery's version and the model (a description and properties are not kept by all of Milvus's forms),
and an alias says which collection counts.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bonaface.errors import (
    ConfigError,
    GalleryDamagedError,
    GalleryError,
    GalleryFullError,
    GalleryOutdatedError,
    GalleryReplacedError,
    GalleryUnavailableError,
)
from bonaface.gallery.collection_name import PREFIX, CollectionName, ModelMark
from bonaface.gallery.lite_folder import prepare_folder
from bonaface.gallery.people import Row, checked_row
from bonaface.outputs import is_there

if TYPE_CHECKING:
    from pymilvus import MilvusClient

__all__ = ["MilvusDatabase"]

T = TypeVar("T")

_ALIAS = "bonaface"
_TIMEOUT, _TIMEOUT_HERE = 30.0, 600.0  # seconds for a server, and for what this very process does
_BATCH = 1000
_LEAST_ROOM = 256 * 2**20
_UNAVAILABLE = re.compile("unavailable|deadline|timeout|closed channel", re.IGNORECASE)
# pymilvus asks for a sign of life every ten seconds, and gRPC servers cut off who asks more often than every five minutes.
_CHANNEL = {"grpc.keepalive_time_ms": 600_000}
_CONNECTION_FAILED, _NOT_FOUND, _NOT_LOADED = 2, 100, 101
_LOGGERS = ("pymilvus", "milvus_lite", "grpc._server")
_FIELDS = ["id", "person", "vector", "authenticity", "enrolled", "details"]


class MilvusDatabase:
    """Rows of enrolled photos. Several threads may use it; see ``Database``.

    Args:
        uri: a path that ends in ``.db`` (Milvus Lite), or ``http://host:port`` of a Milvus server.
        token: of the server, ``user:password`` or an API key.
        read_only: change nothing of what is there; it must be there.

    Raises:
        ConfigError: if the URI is neither.
        GalleryUnavailableError: if the server does not answer, or another process has the folder open.
        GalleryDamagedError: if files of the folder are damaged or missing.
    """

    def __init__(self, uri: str, token: str = "", read_only: bool = False) -> None:
        self.uri, self._read_only = uri, read_only
        self.folder = _folder(uri)
        self.transactional = self.folder is not None
        if self.folder is not None:
            prepare_folder(self.folder, _ALIAS, read_only)
            self._opened = self.folder.stat()
        # While Milvus Lite moves rows from its log to its files, readers would see neither: so they take turns.
        self._turn: AbstractContextManager[Any] = nullcontext() if self.folder is None else threading.RLock()
        self._timeout = _TIMEOUT if self.folder is None else _TIMEOUT_HERE
        self._counts = _ALIAS
        """By its own name, once it is known: under the alias a server may have another model's rows one day."""
        self._client = self._connected(token)

    def _connected(self, token: str) -> MilvusClient:
        from pymilvus import MilvusClient  # which sets the level of its own logger

        for name in _LOGGERS:  # what they log with a traceback is raised as well, and said once
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        try:
            return MilvusClient(self.uri, token=token, timeout=self._timeout, grpc_options=_CHANNEL)
        except _client_errors() as error:
            if self.folder is not None:
                raise GalleryDamagedError(
                    f"{self.uri}: Milvus Lite can't open the folder ({_short(error)}); restore it from a backup"
                ) from error
            raise GalleryUnavailableError(
                f"{self.uri}: no Milvus server answers there; start it, or name another --gallery"
            ) from error

    def kept_photos(self) -> tuple[Path, ...]:
        """Of Milvus no folder is known."""
        return ()

    def note_kept_photos(self, folder: Path) -> None:
        """Of Milvus no folder is noted."""

    def name(self) -> CollectionName | None:
        """The name of the collection that counts; None where there is no gallery yet.

        Raises:
            GalleryError: if it is of another version, or damaged.
        """
        live = self._live()
        if live is None:
            return None
        self._counts = live
        name = CollectionName.parse(live)
        if name is None:
            raise GalleryError(f"{self.uri}: holds {live}, which is no gallery of bonaface; name another --gallery")
        return name.check_version(self.uri)

    def _live(self) -> str | None:
        """The collection that counts. Where it may write, away with all others: a process was killed while it wrote them."""
        found = self._collections()
        live = [name for name in found if _ALIAS in self._aliases(name)]
        if not live and len(found) > 1:
            raise GalleryDamagedError(
                f"{self.uri}: holds {len(found)} collections and no word which counts; restore it from a backup"
            )
        if self._read_only:
            return live[0] if live else None
        if not live and found:  # killed between making the first one and naming it
            self.call(lambda client: client.create_alias(found[0], _ALIAS))
            return found[0]
        for name in set(found) - set(live):
            if CollectionName.parse(name):
                self.drop(name)
        return live[0] if live else None

    def _collections(self) -> list[str]:
        return [name for name in self.call(lambda client: client.list_collections()) if name.startswith(PREFIX)]

    def _aliases(self, collection: str) -> list[str]:
        found: list[str] = self.call(lambda client: client.list_aliases(collection))["aliases"]
        return found

    def drop(self, collection: str) -> None:
        """Remove a collection with all its rows."""
        self.call(lambda client: client.drop_collection(collection))

    def create(self, mark: ModelMark) -> CollectionName:
        """A new, empty collection that does not count yet."""
        from pymilvus import DataType, MilvusClient

        live = self.name()
        name = CollectionName.new(mark, "" if live is None else live.gallery)
        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.VARCHAR, max_length=128, is_primary=True)
        schema.add_field("person", DataType.VARCHAR, max_length=64)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=mark.dim)
        schema.add_field("authenticity", DataType.FLOAT)
        schema.add_field("enrolled", DataType.INT64)
        schema.add_field("details", DataType.JSON)
        index = MilvusClient.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="IP")
        self.call(
            lambda client: client.create_collection(
                str(name), schema=schema, index_params=index, consistency_level="Strong", timeout=self._timeout
            )
        )
        return name

    def swap(self, new: CollectionName) -> None:
        """Let another collection count, in one step, and drop the one that did."""
        old = [name for name in self._collections() if name != str(new)]
        self.call(lambda client: client.flush(str(new), timeout=self._timeout))
        live = [name for name in old if _ALIAS in self._aliases(name)]
        if live:
            self.call(lambda client: client.alter_alias(str(new), _ALIAS))
        else:
            self.call(lambda client: client.create_alias(str(new), _ALIAS))
        self._counts = str(new)
        for name in live:
            self.drop(name)

    def write(self, rows: Sequence[Row], collection: CollectionName | None = None) -> None:
        """Put rows in, all or none; a row with the id of another takes its place. Without a name into the one that counts.

        Raises:
            GalleryFullError: if there is no room; nothing was written then.
        """
        self.refuse_full()
        into = self._counts if collection is None else str(collection)
        self.call(lambda client: client.upsert(into, list(rows), timeout=self._timeout))

    def delete(self, ids: Collection[str], collection: CollectionName | None = None) -> None:
        """Take rows out."""
        from_ = self._counts if collection is None else str(collection)
        self.call(lambda client: client.delete(from_, filter=_with_ids(ids), timeout=self._timeout))

    def of_person(self, person: str) -> list[Row]:
        """All rows of a person."""
        return self._query(f'person == "{person}"', _FIELDS)

    def _query(self, condition: str, fields: Sequence[str]) -> list[Row]:
        found = self.call(lambda client: client.query(self._counts, condition, list(fields), timeout=self._timeout))
        return [self._whole(dict(row)) for row in found]

    def scan(self, after: str = "", fields: Sequence[str] = _FIELDS, batch: int = _BATCH) -> Iterator[list[Row]]:
        """Rows in the order of their ids, batch by batch, from the one behind ``after``."""
        condition = f'id > "{after}"' if after else ""
        iterator = self.call(
            lambda client: client.query_iterator(
                self._counts, batch_size=batch, filter=condition, output_fields=list(fields), timeout=self._timeout
            )
        )
        try:
            while rows := self.call(lambda _: iterator.next()):
                yield [self._whole(dict(row)) for row in rows]
        finally:
            iterator.close()

    def present(self, ids: Collection[str]) -> set[str]:
        """Those of some ids that rows have."""
        return {row["id"] for row in self._query(_with_ids(ids), ["id"])}

    def nearest(self, vector: Sequence[float], k: int) -> list[Row]:
        """The ``k`` rows, all but their vectors, of highest inner product, each with it as ``cosine``, best first."""
        fields = [name for name in _FIELDS if name != "vector"]  # all of them, as any may be damaged
        hits = self.call(
            lambda client: client.search(
                self._counts, data=[vector], limit=k, output_fields=fields, timeout=self._timeout
            )
        )[0]
        return [self._whole({**hit["entity"], "id": hit["id"], "cosine": float(hit["distance"])}) for hit in hits]

    def _whole(self, row: Row) -> Row:
        try:
            return checked_row(row)
        except (KeyError, TypeError, ValueError) as error:
            raise GalleryDamagedError(f"{self.uri}: has a damaged row ({error}); restore it from a backup") from error

    def count(self) -> int:
        """Number of rows; also a sign of life."""
        return int(self._query("", ["count(*)"])[0]["count(*)"])

    def flush(self) -> None:
        """Put what was written into its final files."""
        self.call(lambda client: client.flush(self._counts, timeout=self._timeout))

    def compact(self) -> None:
        """Let a server drop deleted rows from its files; Milvus Lite has no such call."""
        self.flush()
        self.call(lambda client: client.compact(self._counts, timeout=self._timeout))

    def exclusively(self) -> AbstractContextManager[None]:
        """Milvus Lite's folder is one process's; a server has no transactions, so there it promises nothing."""
        return nullcontext()

    def call(self, act: Callable[[MilvusClient], T]) -> T:
        """Anything that the client can do, its errors in a sentence.

        Raises:
            GalleryError: one of the three kinds.
        """
        with self._turn:
            self._refuse_replaced()
            try:
                done = self._loaded(act)
            except _client_errors() as error:  # pymilvus passes some of gRPC's errors on as they are
                raise self._refusal(error) from error
            self._refuse_replaced()  # before it is said that all is well
            return done

    def _refuse_replaced(self) -> None:
        if self.folder is not None and not is_there(self.folder, self._opened):
            raise GalleryReplacedError(
                f"{self.uri}: was replaced or removed while it was in use; start this process again"
            )

    def _loaded(self, act: Callable[[MilvusClient], T]) -> T:
        """The same; a server that was started again has forgotten what was in memory."""
        try:
            return act(self._client)
        except _client_errors() as error:
            if getattr(error, "code", None) != _NOT_LOADED:
                raise
            self._client.load_collection(self._counts, timeout=self._timeout)
            return act(self._client)

    def _refusal(self, error: Exception) -> GalleryError:
        said = str(error)
        if getattr(error, "code", None) == _NOT_FOUND and self.folder is None:
            return GalleryOutdatedError(f"{self.uri}: was embedded for another model meanwhile; start again with it")
        if any(os.strerror(code) in said for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)):
            return GalleryFullError(f"{self.uri}: the disk is full or a file too large; make room and send it again")
        if getattr(error, "code", None) == _CONNECTION_FAILED or _UNAVAILABLE.search(said):
            return GalleryUnavailableError(f"{self.uri}: the database does not answer; try again soon")
        if self.folder is None:
            return GalleryUnavailableError(
                f"{self.uri}: the database could not do it ({_short(error)}); try again soon"
            )
        return GalleryDamagedError(
            f"{self.uri}: the database can't read or write its files ({_short(error)}); restore it from a backup"
        )

    def refuse_full(self) -> None:
        """Raise an error where there is too little room to write."""
        if self.folder is not None and shutil.disk_usage(self.folder).free < _LEAST_ROOM:
            raise GalleryFullError(
                f"{self.uri}: less than {_LEAST_ROOM // 2**20} MB are free; make room and send it again"
            )

    def close(self) -> None:
        """Write everything out and let go of the folder."""
        with self._turn:
            self._client.close()
        if self.folder is not None:
            from milvus_lite.server_manager import server_manager_instance

            server_manager_instance.release_server(self.uri)


def _with_ids(ids: Collection[str]) -> str:
    return f"id in {list(ids)}".replace("'", '"')


def _client_errors() -> tuple[type[Exception], ...]:
    import grpc
    from pymilvus import MilvusException

    return MilvusException, grpc.RpcError, OSError


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _folder(uri: str) -> Path | None:
    if re.match("(https?|tcp|unix):", uri):
        return None
    if not uri.endswith(".db"):
        raise ConfigError(
            f"--gallery {uri}: expected milvus:PATH.db (Milvus Lite), or http://host:port of a Milvus server"
        )
    return Path(uri)
