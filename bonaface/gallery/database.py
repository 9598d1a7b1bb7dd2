"""The vector database under a gallery: Milvus Lite in a local folder, or a Milvus server, by the same calls.

The rows lie in a collection whose name says the gallery's version and the model (a description and properties are not kept by all
of Milvus's forms), and an alias says which collection counts. So a collection can be written anew (for another model, or without
what was deleted) and take the place of the old one in a single step.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc
from pymilvus import DataType, MilvusClient, MilvusException

from bonaface.errors import ConfigError, DataError
from bonaface.gallery.files import prepare_folder

__all__ = ["Database", "GalleryAwayError", "GalleryFullError", "ModelMark"]

T = TypeVar("T")
Row = dict[str, Any]

_VERSION = 1
_ALIAS = "bonaface"
_PREFIX = "bonaface_"
_NAME = re.compile(r"bonaface_v(\d+)_([0-9a-f]+)_(\d+)_([01])_([0-9a-f]*)_[0-9a-f]+")
_TIMEOUT, _TIMEOUT_HERE = 30.0, 600.0  # seconds for a server, and for what this very process does
_BATCH = 1000
_LEAST_ROOM = 256 * 2**20
_AWAY = re.compile("unavailable|deadline|timeout|closed channel", re.IGNORECASE)
# pymilvus asks for a sign of life every ten seconds, and gRPC servers cut off who asks more often than every five minutes.
_CHANNEL = {"grpc.keepalive_time_ms": 600_000}
_CONNECTION_FAILED, _NOT_LOADED = 2, 101
_FIELDS = ["id", "person", "vector", "authenticity", "enrolled", "details"]

logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # each error is raised as well, and said once


class GalleryAwayError(DataError):
    """The database does not answer; it may come back."""


class GalleryFullError(DataError):
    """The disk has no room for what should be kept."""


@dataclass(frozen=True)
class ModelMark:
    """What a gallery remembers of the model whose embeddings it holds.

    Args:
        name: what messages call it.
        fingerprint: hexadecimal; changes whenever its answers would.
        dim: length of an identity vector.
        judges: whether it also judges authenticity.
    """

    name: str
    fingerprint: str
    dim: int
    judges: bool


class Database:
    """Rows of enrolled photos. Several threads may use it.

    Args:
        uri: a path that ends in ``.db`` (Milvus Lite), or ``http://host:port`` of a Milvus server.
        token: of the server, ``user:password`` or an API key.

    Raises:
        ConfigError: if the URI is neither.
        GalleryAwayError: if the server does not answer, or another process has the folder open.
    """

    def __init__(self, uri: str, token: str = "") -> None:
        self.uri = uri
        self.folder = _folder(uri)
        if self.folder is not None:
            prepare_folder(self.folder, _ALIAS, _PREFIX)
        # While Milvus Lite moves rows from its log to its files, readers would see neither: so they take turns.
        self._turn: AbstractContextManager[Any] = nullcontext() if self.folder is None else threading.RLock()
        self._timeout = _TIMEOUT if self.folder is None else _TIMEOUT_HERE
        self._client = self._connected(token)

    def _connected(self, token: str) -> MilvusClient:
        try:
            return MilvusClient(self.uri, token=token, timeout=self._timeout, grpc_options=_CHANNEL)
        except (MilvusException, grpc.RpcError, OSError) as error:
            if self.folder is not None:
                raise GalleryAwayError(
                    f"{self.uri}: can't be opened as a gallery; expected a folder of Milvus Lite that no other process uses"
                ) from error
            raise GalleryAwayError(
                f"{self.uri}: no Milvus server answers there; start it, or name another --gallery"
            ) from error

    def mark(self) -> ModelMark | None:
        """The model of the rows that count; None where there is no gallery yet.

        Raises:
            DataError: if it is of another version, or damaged.
        """
        live = self._live()
        if live is None:
            return None
        found = _NAME.fullmatch(live)
        if found is None:
            raise DataError(f"{self.uri}: holds {live}, which is no gallery of bonaface; name another --gallery")
        version, fingerprint, dim, judges, name = found.groups()
        if int(version) != _VERSION:
            raise DataError(
                f"{self.uri}: is a gallery of version {version}, expected {_VERSION}: use the bonaface that made it"
            )
        return ModelMark(bytes.fromhex(name).decode(errors="replace"), fingerprint, int(dim), judges == "1")

    def _live(self) -> str | None:
        """The collection that counts, and away with all others: a process was killed while it wrote them."""
        found: list[str] = [name for name in self.call(MilvusClient.list_collections) if name.startswith(_PREFIX)]
        live = [name for name in found if _ALIAS in self._aliases(name)]
        if not live and len(found) > 1:
            raise DataError(
                f"{self.uri}: holds {len(found)} collections and no word which counts; restore it from a backup"
            )
        if not live and found:  # killed between making the first one and naming it
            self.call(lambda client: client.create_alias(found[0], _ALIAS))
            return found[0]
        for name in set(found) - set(live):
            self._drop(name)
        return live[0] if live else None

    def _aliases(self, collection: str) -> list[str]:
        found: list[str] = self.call(lambda client: client.list_aliases(collection))["aliases"]
        return found

    def _drop(self, collection: str) -> None:
        self.call(lambda client: client.drop_collection(collection))

    def create(self, mark: ModelMark) -> str:
        """A new, empty collection that does not count yet; its name."""
        called = mark.name.encode()[:40].hex()
        name = f"{_PREFIX}v{_VERSION}_{mark.fingerprint}_{mark.dim}_{int(mark.judges)}_{called}_{secrets.token_hex(6)}"
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
                name, schema=schema, index_params=index, consistency_level="Strong", timeout=self._timeout
            )
        )
        return name

    def swap(self, new: str) -> None:
        """Let another collection count, in one step, and drop the one that did."""
        old = [name for name in self.call(MilvusClient.list_collections) if name.startswith(_PREFIX) and name != new]
        self.call(lambda client: client.flush(new, timeout=self._timeout))
        if any(_ALIAS in self._aliases(name) for name in old):
            self.call(lambda client: client.alter_alias(new, _ALIAS))
        else:
            self.call(lambda client: client.create_alias(new, _ALIAS))
        for name in old:
            self._drop(name)

    def write(self, rows: Sequence[Row], collection: str = _ALIAS) -> None:
        """Put rows in, all or none; a row with the id of another takes its place.

        Raises:
            GalleryFullError: if there is no room; nothing was written then.
        """
        self._refuse_full()
        self.call(lambda client: client.upsert(collection, list(rows), timeout=self._timeout))

    def delete(self, condition: str) -> None:
        """Take out the rows that a filter expression names."""
        self.call(lambda client: client.delete(_ALIAS, filter=condition, timeout=self._timeout))

    def query(self, condition: str, fields: Sequence[str] = _FIELDS) -> list[Row]:
        """Some fields of the rows that a filter expression names."""
        found = self.call(lambda client: client.query(_ALIAS, condition, list(fields), timeout=self._timeout))
        return [dict(row) for row in found]

    def scan(self, condition: str, fields: Sequence[str] = _FIELDS, batch: int = _BATCH) -> Iterator[list[Row]]:
        """The same in the order of the ids, batch by batch."""
        iterator = self.call(
            lambda client: client.query_iterator(
                _ALIAS, batch_size=batch, filter=condition, output_fields=list(fields), timeout=self._timeout
            )
        )
        try:
            while rows := self.call(lambda _: iterator.next()):
                yield [dict(row) for row in rows]
        finally:
            iterator.close()

    def nearest(self, vector: Sequence[float], k: int, fields: Sequence[str]) -> list[Row]:
        """The ``k`` rows of highest inner product, each with it as ``cosine``."""
        hits = self.call(
            lambda client: client.search(
                _ALIAS, data=[vector], limit=k, output_fields=list(fields), timeout=self._timeout
            )
        )[0]
        return [{**hit["entity"], "id": hit["id"], "cosine": float(hit["distance"])} for hit in hits]

    def count(self) -> int:
        """How many rows there are; also a sign of life."""
        return int(self.query("", ["count(*)"])[0]["count(*)"])

    def flush(self) -> None:
        """Put what was written into its final files."""
        self.call(lambda client: client.flush(_ALIAS, timeout=self._timeout))

    def compact(self) -> None:
        """Let a server drop deleted rows from its files; Milvus Lite has no such call."""
        self.call(lambda client: client.compact(_ALIAS, timeout=self._timeout))

    def call(self, act: Callable[[MilvusClient], T]) -> T:
        """Anything that the client can do, its errors in a sentence.

        Raises:
            GalleryAwayError, GalleryFullError: which see.
        """
        with self._turn:
            try:
                return self._loaded(act)
            except (MilvusException, grpc.RpcError) as error:  # pymilvus passes some of gRPC's errors on as they are
                raise self._refusal(error) from error

    def _loaded(self, act: Callable[[MilvusClient], T]) -> T:
        """The same; a server that was started again has forgotten what was in memory."""
        try:
            return act(self._client)
        except MilvusException as error:
            if error.code != _NOT_LOADED:
                raise
            self._client.load_collection(_ALIAS, timeout=self._timeout)
            return act(self._client)

    def _refusal(self, error: Exception) -> DataError:
        said = str(error)
        if os.strerror(errno.ENOSPC) in said or os.strerror(errno.EDQUOT) in said:
            return GalleryFullError(f"{self.uri}: the disk is full; make room and send it again")
        if getattr(error, "code", None) == _CONNECTION_FAILED or _AWAY.search(said):
            return GalleryAwayError(f"{self.uri}: the database does not answer; try again soon")
        return GalleryAwayError(f"{self.uri}: the database could not do it ({said[:200]}); try again soon")

    def _refuse_full(self) -> None:
        if self.folder is not None and shutil.disk_usage(self.folder).free < _LEAST_ROOM:
            raise GalleryFullError(
                f"{self.uri}: less than {_LEAST_ROOM // 2**20} MB are free; make room and send it again"
            )

    def close(self) -> None:
        """Write everything out and let go of the folder."""
        self._client.close()
        if self.folder is not None:
            from milvus_lite.server_manager import server_manager_instance

            server_manager_instance.release_server(self.uri)


def _folder(uri: str) -> Path | None:
    if re.match("(https?|tcp|unix):", uri):
        return None
    if not uri.endswith(".db"):
        raise ConfigError(f"--gallery {uri}: expected a path that ends in .db, or http://host:port of a Milvus server")
    return Path(uri)
