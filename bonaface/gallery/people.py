"""Enrolled people and their photos, apart from where they are stored."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonaface.errors import DataError
from bonaface.verification.embeddings import Embeddings

__all__ = [
    "MOST_PHOTOS",
    "PERSON",
    "UNIT_TOLERANCE",
    "Enrolled",
    "Hit",
    "NewPhoto",
    "Person",
    "Row",
    "as_row",
    "checked_row",
    "photo_id",
    "plain",
    "refuse_person_id",
    "row_id",
    "stacked",
]

Row = dict[str, Any]

PERSON = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
"""How a person may be called: the client's own id, never a path."""
MOST_PHOTOS = 50
"""Most photos of a person."""
_ID = re.compile(f"{PERSON}:[0-9a-f]{{32}}")
_END_OF_TIME = 253_402_300_800_000
"""Milliseconds from 1970 to the year 10000."""
UNIT_TOLERANCE = 0.01
"""How far a vector's length may be from 1."""


@dataclass(frozen=True)
class NewPhoto:
    """A photo to enrol.

    Args:
        data: the image's file.
        identity: unit vector, shape ``(dim,)``.
        authenticity: log-odds that it is genuine; None where the model doesn't judge it.
        details: plain values about it that are kept with it.

    Raises:
        ValueError: if the vector is not of length 1.
    """

    data: bytes
    identity: NDArray[np.float32]
    authenticity: float | None
    details: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _refuse_other_length(self.identity)


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


def photo_id(person: str, data: bytes) -> str:
    """The id under which a person's image is enrolled: 32 hexadecimal digits."""
    return hashlib.blake2b(person.encode() + b"\0" + data, digest_size=16).hexdigest()


def row_id(person: str, key: str) -> str:
    """The id of a photo's row in the database."""
    return f"{person}:{key}"


def stacked(photos: Sequence[Enrolled | NewPhoto]) -> Embeddings:
    """Embeddings of photos, one a row."""
    judged = [photo.authenticity for photo in photos]
    odds = None if None in judged else np.array(judged, np.float32)
    return Embeddings(np.stack([photo.identity for photo in photos]), odds)


def as_row(person: str, key: str, photo: NewPhoto, now: float) -> Row:
    """Row of the database for a photo."""
    return {
        "id": row_id(person, key),
        "person": person,
        "vector": photo.identity.astype(np.float32),
        "authenticity": 0.0 if photo.authenticity is None else float(photo.authenticity),
        "enrolled": round(now * 1000),
        "details": photo.details,
    }


def checked_row(row: Row) -> Row:
    """A row as it came from a database, once every field that it has is what enrolling writes.

    Raises:
        ValueError: if one is not; the message names it.
    """
    if "id" in row and not _ID.fullmatch(row["id"]):
        raise ValueError("an id is not of the form person:photo")
    if not math.isfinite(row.get("authenticity", 0.0)):
        raise ValueError("an authenticity is not finite")
    if not 0 <= row.get("enrolled", 0) < _END_OF_TIME:
        raise ValueError("a time is out of range")
    if not isinstance(row.get("details", {}), dict):
        raise ValueError("details are no object")
    if not abs(row.get("cosine", 0.0)) <= 1 + UNIT_TOLERANCE:
        raise ValueError("a cosine is more than 1, so a vector is not of length 1")
    if "vector" in row:
        _refuse_other_length(row["vector"])
    return row


def _refuse_other_length(vector: NDArray[np.float32] | Sequence[float]) -> None:
    with np.errstate(all="ignore"):  # a damaged one's length may be infinite
        length = float(np.linalg.norm(vector))
    if not abs(length - 1) < UNIT_TOLERANCE:
        raise ValueError("a vector is not of length 1")


def refuse_person_id(person: str) -> None:
    """Raise an error unless a person may be called so.

    Raises:
        DataError: otherwise.
    """
    if not re.fullmatch(PERSON, person):
        raise DataError(
            f"person {person[:80]!r}: expected 1 to 64 letters, digits, dots, dashes and underscores, a letter or digit first"
        )


def plain(value: Any) -> Any:
    """Dataclasses and tuples as JSON has them; four digits of each number, and null where it is none."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value
