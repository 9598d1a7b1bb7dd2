"""Enrolled people: embeddings of their photos in a vector database, found again by person or by likeness.

The rows of the database are the truth. A kept image is written before its row and removed after it, so that a process killed
between any two writes leaves at most an image without a row, which the next start removes. A photo's id is a digest of the person
and the image's bytes: enrolling again what may or may not have been enrolled changes nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonaface.errors import DataError, ModelError
from bonaface.gallery.database import Database, GalleryAwayError, ModelMark, Row
from bonaface.gallery.erasure import Eraser
from bonaface.gallery.photo_store import KeptPhotos
from bonaface.verification.embeddings import Embeddings

__all__ = ["PERSON", "Enrolled", "Gallery", "Hit", "NewPhoto", "Person", "as_row", "photo_id", "stacked"]

PERSON = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
"""How a person may be called: the client's own id, never a path."""

_SETTLE_ROWS = 1000
_MOST_ROWS = 16_384
"""Milvus answers at most so many rows to one call."""


@dataclass(frozen=True)
class NewPhoto:
    """A photo to enrol.

    Args:
        data: the image's file.
        identity: unit vector, shape ``(dim,)``.
        authenticity: log-odds that it is genuine; None where the model doesn't judge it.
        details: plain values about it that are kept with it.
    """

    data: bytes
    identity: NDArray[np.float32]
    authenticity: float | None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Enrolled:
    """An enrolled photo: its id, whose it is, its embedding, when it came (seconds since 1970) and what is known about it."""

    photo: str
    person: str
    identity: NDArray[np.float32]
    authenticity: float | None
    enrolled: float
    details: dict[str, Any]


@dataclass(frozen=True)
class Person:
    """An enrolled person: id, number of photos, when the last one came (seconds since 1970)."""

    id: str
    photos: int
    enrolled: float


@dataclass(frozen=True)
class Hit:
    """A person found by likeness: by which photo, its cosine, and its log-odds of being genuine."""

    person: str
    photo: str
    cosine: float
    authenticity: float | None


class Gallery:
    """Enrolled people. Several threads may use it; those that write take turns.

    Args:
        uri: a path that ends in ``.db`` (Milvus Lite), or ``http://host:port`` of a Milvus server.
        mark: the model whose embeddings it holds.
        photos: folder to keep images in; None keeps none.
        token: of the server.
        check: refuse a gallery of another model; :func:`bonaface.gallery.reembed.reembed` alone does not.

    Raises:
        ModelError: if the embeddings are another model's.
        DataError: if the database can't be opened or is of another version.
    """

    def __init__(
        self, uri: str, mark: ModelMark, photos: Path | None = None, token: str = "", check: bool = True
    ) -> None:
        self.mark = mark
        self.database = Database(uri, token)
        self.kept = None if photos is None else KeptPhotos(photos)
        self._writing = threading.RLock()
        self._unsettled = 0
        found = self.database.mark()
        if found is None:
            self.database.swap(self.database.create(mark))
        elif check and found.fingerprint != mark.fingerprint:
            raise ModelError(_other_model(uri, found, mark))
        self._eraser = Eraser(self.database, self.mark if found is None else found, self._writing)
        if self.kept is not None:
            self.kept.sweep(
                {row["id"].rpartition(":")[2] for rows in self.database.scan("", ["id"], _MOST_ROWS) for row in rows}
            )

    def enrol(self, person: str, photos: Sequence[NewPhoto], now: Callable[[], float] = time.time) -> list[str]:
        """Add photos of a person, all or none; those that are there already stay as they are.

        Returns:
            The photos' ids.

        Raises:
            DataError: if the person's id is none.
            GalleryAwayError, GalleryFullError: which see; enrolling again is safe.
        """
        _refuse_name(person)
        ids = [photo_id(person, photo.data) for photo in photos]
        with self._writing:
            there = {each.photo for each in self.photos_of(person)}
            fresh = {key: photo for key, photo in zip(ids, photos, strict=True) if key not in there}
            if self.kept is not None:
                for key, photo in fresh.items():
                    self.kept.write(key, photo.data)
            if fresh:
                self.database.write([as_row(person, key, photo, now()) for key, photo in fresh.items()])
                self._settle(len(fresh))
        return ids

    def photos_of(self, person: str) -> list[Enrolled]:
        """Photos of a person, by id; none where nobody is called so."""
        _refuse_name(person)
        rows = self.database.query(f'person == "{person}"')
        return sorted(map(self._enrolled, rows), key=lambda each: each.photo)

    def people(self, after: str = "", limit: int = 100) -> list[Person]:
        """Up to ``limit`` people in the order of their ids, from the one behind ``after``."""
        condition = ""
        if after:
            _refuse_name(after)
            condition = f'id > "{after};"'  # ; follows : which ends a person's part of the id
        found: dict[str, Person] = {}
        for rows in self.database.scan(condition, ["id", "person", "enrolled"]):
            for row in rows:
                known = found.get(row["person"], Person(row["person"], 0, 0.0))
                if not known.photos and len(found) == limit:
                    return list(found.values())
                last = max(known.enrolled, row["enrolled"] / 1000)
                found[known.id] = Person(known.id, known.photos + 1, last)
        return list(found.values())

    def search(self, identity: NDArray[np.float32], k: int) -> list[Hit]:
        """The ``k`` people whose photos are most like a face, best first: each by their best photo."""
        vector, wanted, best = identity.tolist(), 4 * k, dict[str, Hit]()
        while len(best) < k:
            rows = self.database.nearest(vector, min(wanted, _MOST_ROWS), ["person", "authenticity"])
            for row in rows:
                photo = row["id"].rpartition(":")[2]
                best.setdefault(row["person"], Hit(row["person"], photo, row["cosine"], self._judged(row)))
            if len(rows) < wanted:
                break
            wanted *= 4
        return sorted(best.values(), key=lambda hit: -hit.cosine)[:k]

    def remove(self, person: str, photo: str | None = None) -> int:
        """Take a person, or one photo of theirs, out of the database and off the disk.

        Returns:
            How many photos there were; none of them is found any more, also after a kill. :meth:`erased` says when their bytes are
            off the disk as well.
        """
        with self._writing:
            gone = [each.photo for each in self.photos_of(person) if photo in (None, each.photo)]
            if gone:
                self._eraser.announce()
                self.database.delete(f"id in {[f'{person}:{key}' for key in gone]}".replace("'", '"'))
                for key in gone if self.kept is not None else ():
                    self.kept.remove(key)  # type: ignore[union-attr]
                self._eraser.start()
        return len(gone)

    def erased(self, timeout: float) -> bool:
        """Whether all that was removed is off the disk, waiting up to ``timeout`` seconds for it."""
        return self._eraser.wait(timeout)

    def image(self, photo: str) -> bytes | None:
        """The kept image of a photo; None where it was not kept."""
        return None if self.kept is None else self.kept.read(photo)

    def every(self) -> Iterator[Enrolled]:
        """All photos, by person."""
        for rows in self.database.scan(""):
            yield from map(self._enrolled, rows)

    def count(self) -> int:
        """How many photos there are.

        Raises:
            GalleryAwayError: if the database does not answer.
        """
        return self.database.count()

    def close(self) -> None:
        """Finish what was begun, and let go of the database."""
        self._eraser.close()
        self.database.close()

    def _settle(self, rows: int) -> None:
        """Milvus Lite finds rows in its files far faster than those it has only logged."""
        self._unsettled += rows
        if self._unsettled >= _SETTLE_ROWS:
            self._unsettled = 0
            with contextlib.suppress(GalleryAwayError):  # the rows are kept either way
                self.database.flush()

    def _enrolled(self, row: Row) -> Enrolled:
        return Enrolled(
            row["id"].rpartition(":")[2],
            row["person"],
            np.asarray(row["vector"], np.float32),
            self._judged(row),
            row["enrolled"] / 1000,
            dict(row["details"]),
        )

    def _judged(self, row: Row) -> float | None:
        return float(row["authenticity"]) if self.mark.judges else None


def photo_id(person: str, data: bytes) -> str:
    """The id under which a person's image is enrolled: 32 hexadecimal digits."""
    return hashlib.blake2b(person.encode() + b"\0" + data, digest_size=16).hexdigest()


def stacked(photos: Sequence[Enrolled | NewPhoto]) -> Embeddings:
    """Embeddings of photos, one a row."""
    judged = [photo.authenticity for photo in photos]
    odds = None if None in judged else np.array(judged, np.float32)
    return Embeddings(np.stack([photo.identity for photo in photos]), odds)


def as_row(person: str, key: str, photo: NewPhoto, now: float) -> Row:
    """What the database keeps of a photo."""
    return {
        "id": f"{person}:{key}",
        "person": person,
        "vector": photo.identity.astype(np.float32),
        "authenticity": 0.0 if photo.authenticity is None else float(photo.authenticity),
        "enrolled": round(now * 1000),
        "details": photo.details,
    }


def _refuse_name(person: str) -> None:
    if not re.fullmatch(PERSON, person):
        raise DataError(
            f"person {person[:80]!r}: expected 1 to 64 letters, digits, dots, dashes and underscores, a letter or digit first"
        )


def _other_model(uri: str, found: ModelMark, mark: ModelMark) -> str:
    return (
        f"{uri}: holds embeddings of another model, {found.name} ({found.fingerprint[:12]}) and not {mark.name} "
        f"({mark.fingerprint[:12]}): embed the kept photos again by bonaface serve --model {mark.name} --gallery {uri} "
        "--keep-photos DIR --re-embed, or name another --gallery"
    )
