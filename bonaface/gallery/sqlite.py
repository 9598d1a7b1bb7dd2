"""A gallery in one SQLite file, searched exactly by numpy: nothing to install, nothing to run.

Every change is a transaction that is on the disk when it has been answered (write-ahead log, ``synchronous=FULL``), so neither a
kill nor a power cut loses or halves one. Several processes may use the file at once. Deleted rows are overwritten with zeros
(``secure_delete``), and the log is cut off after each deletion.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import logging
import os
import re
import secrets
import sqlite3
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from bonaface.errors import (
    GalleryDamagedError,
    GalleryError,
    GalleryFullError,
    GalleryOutdatedError,
    GalleryReplacedError,
    GalleryUnavailableError,
)
from bonaface.gallery.collection_name import CollectionName, ModelMark
from bonaface.gallery.people import Row, checked_row
from bonaface.gallery.vectors import Vectors
from bonaface.io import parse_json
from bonaface.outputs import is_there

__all__ = ["SqliteDatabase", "refuse_lone_log"]

_LOG = logging.getLogger("bonaface.gallery")

_APPLICATION = 0x626F6E61
"""Marks the file as a gallery, as SQLite's format has room for: "bona"."""
_PAGE = 16_384  # seven rows of 512 numbers
_REPLACED = "was replaced or removed while it was in use; start this process again"
_OVERWRITTEN = "another copy was written into it while it was in use; stop every process and restore it again"
_TICK = 50_000_000  # ns
_LAST_VERSION = 2**31 - 1  # SQLite has 32 bits for it
_MOUNTS = Path("/proc/self/mountinfo")
_SECONDS = 30.0  # that another process may hold the file
_BATCH = 1000
_FIELDS = ("id", "person", "vector", "authenticity", "enrolled", "details")
_SEARCHED = ("id", "authenticity", "enrolled", "details")
_PASSING = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_IOERR,
)
_NO_ROOM = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_SHMOPEN,
    sqlite3.SQLITE_IOERR_SHMSIZE,
)
"""Nothing was changed: the disk is full, or a file must not become as large (``EFBIG``)."""
_UNUSABLE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH)


class SqliteDatabase:
    """Rows of enrolled photos in a file. Several threads and processes may use it; see ``Database``.

    Args:
        file: made where it is missing, for its owner alone.
        read_only: change nothing of it; it must be there.

    Raises:
        GalleryError: if it can't be written to, is something else, or is damaged.
    """

    folder: Path | None = None
    transactional = True

    def __init__(self, file: Path, read_only: bool = False) -> None:
        self.uri = str(file)
        self._turn = threading.RLock()
        self._vectors = Vectors()
        self._seen: str | None = None
        with self._in_words():
            _refuse_irregular(file)
            _refuse_two_names(file)
            refuse_lone_log(file)
            was_empty = file.is_file() and file.stat().st_size == 0
            if not read_only:
                _make_private(file)
            self._file = file.absolute()
            self._opened = {self._file: file.stat()}
            self._seen_state, self._in_file, self._version = (-1, -1), -1, -1
            self._replaced = ""
            self._beside = file.resolve().parent
            self._connection = sqlite3.connect(  # by the whole path: ":memory:" is no file to SQLite
                self._file, timeout=_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=64
            )
        try:
            with self._in_words():
                self._refuse_others()
                self._refuse_cut(file)
                if read_only:
                    self._connection.execute("PRAGMA query_only=ON")
                else:
                    self._prepare()
                    self._refuse_damaged()
                self._note_logs(file)
                if was_empty and not read_only:
                    _LOG.warning(
                        "%s: was an empty file; a new gallery begins in it. If people were enrolled, restore it from a backup",
                        self.uri,
                    )
        except GalleryError:
            self._connection.close()
            raise

    def _note_logs(self, file: Path) -> None:
        """Remember the log and its index too: SQLite removes them when the last process closes the file, and not before."""
        logs = [Path(f"{os.path.realpath(file)}-{kind}") for kind in ("wal", "shm")]
        self._opened |= {log: log.stat() for log in logs if log.exists()}

    def _refuse_replaced(self) -> None:
        """Raise an error where another file, or none, lies in the place of one that was opened: what is written would be lost."""
        if not all(map(is_there, self._opened, self._opened.values())):
            self._replaced = _REPLACED
        else:
            self._look_into_file()
        self._refuse_once_replaced()

    def _refuse_once_replaced(self) -> None:
        """What was once replaced stays so until the end of the process, whatever others write into it meanwhile."""
        if self._replaced:
            raise GalleryReplacedError(f"{self.uri}: {self._replaced}")

    def _look_into_file(self) -> None:
        """Notice an older copy that was written into the file: what is in the log does not belong to it."""
        state = _state_of(self._file)
        if state == self._seen_state:
            return
        version = _written_version(self._file)
        if version is None:  # another process may be in the middle of writing the log into it
            return
        if version < self._in_file:
            self._replaced = _OVERWRITTEN
        self._in_file = version
        if time.time_ns() - state[0] > _TICK:  # else it may be written again at the same time, as file systems count it
            self._seen_state = state

    def _refuse_other_state(self) -> None:
        """In a transaction, raise an error where the gallery's version went back, or the file is ahead of its log."""
        version = int(self._connection.execute("PRAGMA user_version").fetchone()[0])
        if version < self._version:
            self._replaced = _REPLACED
        elif version < self._in_file:
            self._replaced = _OVERWRITTEN
        self._refuse_once_replaced()
        self._version = version

    def _refuse_others(self) -> None:
        pages = self._connection.execute("PRAGMA page_count").fetchone()[0]
        if pages and self._connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
            raise GalleryError(f"{self.uri}: is an SQLite file, but no gallery of bonaface; name another --gallery")
        tables = self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        if ("gallery",) in tables and self._connection.execute("SELECT count(*) FROM gallery").fetchone() != (1,):
            raise GalleryDamagedError(f"{self.uri}: has lost the row that says what counts; restore it from a backup")

    def _refuse_cut(self, file: Path) -> None:
        """Refuse a file whose last page is not whole: SQLite would fill it up, and write on."""
        page = self._connection.execute("PRAGMA page_size").fetchone()[0]
        for wait in (0.1, 0.0):  # another process may be about to write it
            if file.stat().st_size % page == 0:
                return
            time.sleep(wait)
        raise GalleryDamagedError(f"{self.uri}: is cut; restore it from a backup")

    def _prepare(self) -> None:
        for setting in (
            f"page_size={_PAGE}",
            f"application_id={_APPLICATION}",
            "journal_mode=WAL",
            "synchronous=FULL",
            "secure_delete=ON",
        ):
            self._set(setting)
        with self._writing():  # also shows whether it can be written to
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS gallery (one INTEGER PRIMARY KEY CHECK (one = 1), live TEXT, deletions INTEGER)"
            )
            self._connection.execute("INSERT OR IGNORE INTO gallery VALUES (1, NULL, 0)")
            self._forget_what_is_not_live()
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # a kill may have left deleted rows in it

    def _set(self, setting: str) -> None:
        """A PRAGMA; that of the log does not wait by itself while other processes open a new file at the same moment."""
        until = time.monotonic() + _SECONDS
        while True:
            try:
                self._connection.execute(f"PRAGMA {setting}")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
                time.sleep(0.02)

    def _refuse_damaged(self) -> None:
        """Refuse a file whose pages contradict each other, as where two copies got mixed; it is read as a whole."""
        (said,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if said != "ok":
            raise self._damaged(" ".join(said.split()))

    def kept_photos(self) -> tuple[Path, ...]:
        """Where the folder may be in which photos were kept last: where it was, and as far from the file as it was."""
        with self._reading():
            if not self._connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'photos'").fetchone():
                return ()
            found = self._connection.execute("SELECT folder, beside FROM photos").fetchone()
        return () if found is None else (Path(found[0]), self._beside / found[1])

    def note_kept_photos(self, folder: Path) -> None:
        """Remember in which folder photos are kept."""
        beside = os.path.relpath(folder, self._beside)
        with self._writing():  # a table of its own: earlier versions, which know of none, go on
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS photos "
                "(one INTEGER PRIMARY KEY CHECK (one = 1), folder TEXT NOT NULL, beside TEXT NOT NULL)"
            )
            self._connection.execute("INSERT OR REPLACE INTO photos VALUES (1, ?, ?)", (str(folder), beside))

    def name(self) -> CollectionName | None:
        """The name of the collection that counts; None where there is no gallery yet.

        Raises:
            GalleryError: if it is of another version.
        """
        with self._reading():
            live = self._state()[0]
            held = [] if live is not None else [each for each in self._collections() if self._rows_of(each)]
        if held:
            raise GalleryDamagedError(f"{self.uri}: holds people whom no gallery names; restore it from a backup")
        if live is None:
            return None
        name = CollectionName.parse(live)
        if name is None:
            raise GalleryDamagedError(f"{self.uri}: names no collection; restore it from a backup")
        name.check_version(self.uri)
        with self._reading():
            self._connection.execute(f"SELECT vector, {', '.join(_SEARCHED)} FROM {name} LIMIT 0")  # noqa: S608 - a parsed name
        return name

    def create(self, mark: ModelMark) -> CollectionName:
        """A new, empty collection that does not count yet, in the place of those that never came to count."""
        live = self.name()
        name = CollectionName.new(mark, "" if live is None else live.gallery)
        with self._writing():
            for table in self._collections():
                if table != str(live):
                    self._connection.execute(f"DROP TABLE {table}")
            self._connection.execute(
                f"CREATE TABLE {name} (seq INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, authenticity REAL NOT NULL, "
                "enrolled INTEGER NOT NULL, details TEXT NOT NULL, vector BLOB NOT NULL)"
            )
        return name

    def _collections(self) -> list[str]:
        """The tables of people, live or not."""
        found = self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return [table for (table,) in found if CollectionName.parse(table)]

    def _rows_of(self, table: str) -> int:
        return int(self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - a parsed name

    def swap(self, new: CollectionName) -> None:
        """Let another collection count, in one step, and drop the one that did; of two first ones the earlier counts."""
        with self._writing():
            live, _ = self._state()
            if live is not None and not new.unique:
                self._connection.execute(f"DROP TABLE {new}")
                return
            self._refuse_dropped(new)
            self._connection.execute("UPDATE gallery SET live = ?, deletions = deletions + ?", (str(new), _leap()))
            if live is not None:
                self._connection.execute(f"DROP TABLE {live}")
            self._seen = str(new)

    def drop(self, collection: str) -> None:
        """Remove a collection with all its rows."""
        with self._writing():
            self._connection.execute(f"DROP TABLE {collection}")

    def write(self, rows: Sequence[Row], collection: CollectionName | None = None) -> None:
        """Put rows in, all or none; a row with the id of another takes its place."""
        with self._writing():
            table = self._table(collection)
            self._forget(table, [row["id"] for row in rows])
            last = self._connection.execute(f"SELECT coalesce(max(seq), 0) FROM {table}").fetchone()[0]  # noqa: S608 - ours
            first = last + _leap()
            self._connection.executemany(
                f"INSERT INTO {table} (seq, id, authenticity, enrolled, details, vector) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608
                ((seq, *_packed(row)) for seq, row in enumerate(rows, first)),
            )

    def delete(self, ids: Collection[str], collection: CollectionName | None = None) -> None:
        """Take rows out; where no collection is named, also of those that do not count, which a re-embedding may have left."""
        with self._writing():
            for table in self._collections() if collection is None else [self._table(collection)]:
                self._forget(table, ids)

    def _table(self, collection: CollectionName | None) -> str:
        live = self._state()[0]
        if collection is None:
            return str(live)
        self._refuse_dropped(collection)
        return str(collection)

    def _refuse_dropped(self, collection: CollectionName) -> None:
        if str(collection) not in self._collections():
            raise GalleryUnavailableError(
                f"{self.uri}: another process began to embed it again, so this one stops; let one do it at a time"
            )

    def _forget(self, table: str, ids: Collection[str]) -> None:
        gone = self._connection.executemany(f"DELETE FROM {table} WHERE id = ?", [(key,) for key in ids])  # noqa: S608 - ours
        if gone.rowcount > 0:
            self._note_deletion()

    def _forget_what_is_not_live(self) -> None:
        """Take out of collections that do not count who was deleted from the one that does."""
        live, tables = self._state()[0], self._collections()
        for table in tables if live in tables else []:
            if table != live:
                self._connection.execute(f"DELETE FROM {table} WHERE id NOT IN (SELECT id FROM {live})")  # noqa: S608 - ours

    def _note_deletion(self) -> None:
        self._connection.execute("UPDATE gallery SET deletions = deletions + ?", (_leap(),))

    def of_person(self, person: str) -> list[Row]:
        """All rows of a person."""
        with self._reading():
            return self._rows("id > ? AND id < ?", (f"{person}:", f"{person};"), _FIELDS)

    def scan(self, after: str = "", fields: Sequence[str] = _FIELDS, batch: int = _BATCH) -> Iterator[list[Row]]:
        """Rows in the order of their ids, batch by batch, from the one behind ``after``."""
        while True:
            with self._reading():
                rows = self._rows("id > ? LIMIT ?", (after, batch), [*{"id", *fields}])
            if not rows:
                return
            yield rows
            after = rows[-1]["id"]

    def _rows(self, condition: str, values: tuple[str | int, ...], fields: Sequence[str]) -> list[Row]:
        columns = [name for name in fields if name != "person"]
        where, limited, rest = condition.partition(" LIMIT")
        found = self._connection.execute(
            f"SELECT {', '.join(columns)} FROM {self._state()[0]} WHERE {where} ORDER BY id{limited}{rest}",  # noqa: S608 - ours
            values,
        )
        return [_unpacked(dict(zip(columns, row, strict=True))) for row in found]

    def present(self, ids: Collection[str]) -> set[str]:
        """Those of some ids that rows have."""
        with self._reading():
            return {row["id"] for row in self._rows(f"id IN ({', '.join('?' * len(ids))})", tuple(ids), ["id"])}

    def nearest(self, vector: Sequence[float], k: int) -> list[Row]:
        """The ``k`` rows, all but their vectors, of highest inner product, each with it as ``cosine``, best first."""
        with self._reading():
            table, deletions = self._state()
            if table is None:
                return []
            name = CollectionName.parse(table)
            self._vectors.update(self._connection, table, deletions, 0 if name is None else name.mark.dim)
            best = self._vectors.nearest(np.asarray(vector, np.float32), k)
            asked = ", ".join("?" * len(best))
            found = self._connection.execute(
                f"SELECT seq, {', '.join(_SEARCHED)} FROM {table} WHERE seq IN ({asked})",  # noqa: S608 - ours
                list(best),
            )
            known = {seq: dict(zip(_SEARCHED, row, strict=True)) for seq, *row in found}
            return [_unpacked({**known[seq], "cosine": cosine}) for seq, cosine in best.items()]

    def count(self) -> int:
        """Number of rows; also a sign of life."""
        with self._reading():
            return int(self._connection.execute(f"SELECT count(*) FROM {self._state()[0]}").fetchone()[0])  # noqa: S608 - ours

    def flush(self) -> None:
        """Nothing is left to be done: what was written is in the file."""

    def refuse_full(self) -> None:
        """Raise an error where there is no room to write."""
        with self._writing():
            self._note_deletion()  # SQLite writes no equal row

    def compact(self) -> None:
        """Cut off the log, which has what deleted rows once were; in the file itself zeros are in their place."""
        with self._turn, self._in_words():
            self._refuse_replaced()
            busy = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            self._look_into_file()
        if busy:
            raise GalleryUnavailableError(f"{self.uri}: another process reads what was deleted; try again soon")

    def close(self) -> None:
        """Write everything out and let go of the file."""
        with self._turn, self._in_words():
            if self._replaced == _OVERWRITTEN:
                _never_close(self._connection)
            else:
                self._connection.close()

    def _state(self) -> tuple[str | None, int]:
        """The collection that counts, and how many deletions there were."""
        live, deletions = self._connection.execute("SELECT live, deletions FROM gallery").fetchone()
        if self._seen not in (None, live):
            raise GalleryOutdatedError(f"{self.uri}: was embedded for another model meanwhile; start again with it")
        self._seen = live
        return live, int(deletions)

    def exclusively(self) -> AbstractContextManager[None]:
        """No other process or thread changes anything in the block, and of the changes in it all are made or none."""
        return self._writing()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """One state of the file, whatever others write meanwhile; content that nobody here wrote is damage."""
        try:
            with self._transaction("BEGIN"):
                yield
        except GalleryError:
            raise
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise GalleryDamagedError(f"{self.uri}: has a damaged row ({error}); restore it from a backup") from error

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """One change of the file, by which its version rises: a copy that was made before has a lower one."""
        with self._transaction("BEGIN IMMEDIATE"):
            yield

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        with self._turn, self._in_words():
            if self._connection.in_transaction:  # this thread's own, see exclusively
                yield
                return
            self._refuse_replaced()
            self._connection.execute(begin)
            try:
                self._refuse_other_state()
                before = self._connection.total_changes
                yield
                if self._connection.total_changes != before:
                    self._connection.execute(f"PRAGMA user_version={min(self._version + 1, _LAST_VERSION)}")
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            self._refuse_replaced()  # before it is said that all is well

    @contextlib.contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._refusal(error) from error
        except UnicodeDecodeError as error:  # SQLite's message quotes what is damaged
            raise self._damaged("the schema is not UTF-8") from error
        except OSError as error:
            raise self._unusable((error.strerror or str(error)).lower()) from error

    def _refusal(self, error: sqlite3.Error) -> GalleryError:
        undecoded = isinstance(error, sqlite3.OperationalError)  # without a code: Python can't read what SQLite gave
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT if undecoded else sqlite3.SQLITE_BUSY)
        if code in _NO_ROOM:
            return GalleryFullError(f"{self.uri}: can't be written to ({error}); make room and send it again")
        code &= 0xFF
        if code in _PASSING:
            return GalleryUnavailableError(f"{self.uri}: can't be used at the moment ({error}); try again soon")
        if code in _UNUSABLE:
            return self._unusable(str(error))
        return self._damaged(str(error).split(" with text ")[0])  # a damaged row's own text is no message

    def _damaged(self, why: str) -> GalleryError:
        return GalleryDamagedError(
            f"{self.uri}: can't be read as a gallery ({why}); restore it from a backup as docs/guides/gallery.md says, "
            "or name another --gallery"
        )

    def _unusable(self, why: str) -> GalleryError:
        return GalleryError(
            f"{self.uri}: can't be used as a gallery ({why}); expected a file in a folder that can be written to"
        )


def refuse_lone_log(file: Path) -> None:
    """Refuse a file that is empty or missing where its log holds rows: SQLite would take it for a new one and delete the log.

    Raises:
        GalleryDamagedError: if it does.
    """
    log = Path(f"{os.path.realpath(file)}-wal")
    if (
        log.is_file() and log.stat().st_size and not (file.exists() and file.stat().st_size)
    ):  # the file is written first
        raise GalleryDamagedError(
            f"{file}: is {'empty' if file.exists() else 'missing'}, and its log {log.name} is not; restore both from a "
            "backup, or move the log away"
        )


def _refuse_irregular(file: Path) -> None:
    if file.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder")
    if file.exists() and not file.is_file():
        raise OSError(errno.EINVAL, "is a pipe or a device, and no regular file")


def _refuse_two_names(file: Path) -> None:
    """Refuse a file that has another name too: SQLite's log lies beside each, and what one holds the other does not know."""
    if not file.exists():
        return
    if file.stat().st_nlink > 1:
        raise OSError(errno.EMLINK, "has a second name, a hard link; remove one, or copy the gallery as the docs say")
    mounted: list[bytes] = []
    with contextlib.suppress(OSError):  # there is no such list but on Linux
        mounted = [line.split()[4] for line in _MOUNTS.read_bytes().splitlines()]
    place = os.fsencode(os.path.realpath(file))
    if re.sub(rb"[ \t\n\\]", lambda found: b"\\%03o" % found[0][0], place) in mounted:  # as the kernel writes them
        raise OSError(errno.EXDEV, "is mounted as a single file; mount its folder")


def _never_close(connection: sqlite3.Connection) -> None:
    """Keep a connection until the process has ended: SQLite would write its log into the copy that is in the file now."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def _leap() -> int:
    """How far to count on: by chance, so that two copies of a gallery that both go on have no number in common."""
    return secrets.randbelow(2**20) + 1


def _state_of(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_mtime_ns, found.st_size


def _written_version(file: Path) -> int | None:
    """The version in the file itself, without what is still in the log; None where it can't be read."""
    try:
        # By SQLite, as closing a file of one's own would drop the locks of this process.
        with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            return int(connection.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.DatabaseError:
        return None


def _make_private(file: Path) -> None:
    """Make the file where it is missing, for its owner alone: SQLite gives its log the same mode."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(os.path.realpath(file), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _packed(row: Row) -> tuple[object, ...]:
    vector = np.asarray(row["vector"], "<f4").tobytes()
    return row["id"], row["authenticity"], row["enrolled"], json.dumps(row["details"]), vector


def _unpacked(row: Row) -> Row:
    if "authenticity" in row:
        row["authenticity"] = float(row["authenticity"])
    row["person"] = row["id"].partition(":")[0]
    if "vector" in row:
        row["vector"] = np.frombuffer(row["vector"], "<f4")
    if "details" in row:
        row["details"] = parse_json(row["details"])
    return checked_row(row)
