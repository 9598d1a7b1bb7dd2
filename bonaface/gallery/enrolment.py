"""Conditions of enrolment: what is wrong here is wrong in every verification that follows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from bonaface.errors import DataError
from bonaface.gallery.gallery import Admit, Gallery
from bonaface.gallery.people import Enrolled, NewPhoto, plain, stacked
from bonaface.images.copies import Thumbprint, are_copies
from bonaface.images.photo import Photo
from bonaface.images.quality import ENROLMENT, unfit
from bonaface.verification.calibration import Calibration
from bonaface.verification.embeddings import Embeddings

if TYPE_CHECKING:
    from bonaface.inference.verifier import Verifier

__all__ = [
    "EmbeddedPhoto",
    "JudgeAgainError",
    "beyond_room",
    "embed_read",
    "enrol_beside",
    "new_photo",
    "refusals",
    "refused_photos",
]

Said = TypeVar("Said")
Unread = TypeVar("Unread")


@dataclass(frozen=True)
class EmbeddedPhoto:
    """A photo that was read and embedded.

    Args:
        photo: its faces and quality.
        embedding: of its face, one row; None where the photo cannot be judged.
    """

    photo: Photo
    embedding: Embeddings | None


def embed_read(verifier: Verifier, read: Sequence[Photo | Unread]) -> list[EmbeddedPhoto | Unread]:
    """Embed photos together, in their order; what is no photo, such as an error in the place of one, stays as it is.

    Args:
        verifier: the model that read them.
        read: photos, and what came instead of others.
    """
    good = [each for each in read if isinstance(each, Photo) and each.problem is None]
    embeddings = verifier.embed_photos(good) if good else None
    rows = iter(range(len(good)))
    return [
        EmbeddedPhoto(each, embeddings.row(next(rows)) if embeddings is not None and each.problem is None else None)
        if isinstance(each, Photo)
        else each
        for each in read
    ]


def refused_photos(
    ids: Sequence[str],
    photos: Sequence[EmbeddedPhoto | DataError],
    there: Sequence[Enrolled],
    calibration: Calibration,
) -> dict[int, str]:
    """Why some photos of one person are refused, by their place; see :func:`refusals`.

    Args:
        ids: of the photos; those that are enrolled have been judged.
        photos: as they were read, or why they can't be.
        there: the person's photos that are enrolled.
        calibration: of the model.
    """
    known = {each.photo for each in there}
    places = [place for place, key in enumerate(ids) if key not in known]
    if not places:
        return {}
    new = [photos[place] for place in places]
    refused = refusals(
        [str(each) if isinstance(each, DataError) else _why_not(each) for each in new],
        [None if isinstance(each, DataError) else each.embedding for each in new],
        stacked(there) if there else None,
        calibration,
        [None if isinstance(each, DataError) else next(iter(each.photo.thumbprints), None) for each in new],
    )
    return {places[row]: why for row, why in refused.items()}


def beyond_room(
    person: str, ids: Sequence[str], refused: Collection[int], there: Sequence[Enrolled], most: int
) -> dict[int, str]:
    """Why photos that nothing else is wrong with are refused, by their place: those that come after as many as there is room for.

    Args:
        person: id of the person.
        ids: of the photos.
        refused: places of those that are refused anyway.
        there: the person's photos that are enrolled.
        most: photos of a person.
    """
    kept = {each.photo for each in there}
    beyond: dict[int, str] = {}
    for place, key in enumerate(ids):
        if place in refused or key in kept:
            continue
        if len(kept) < most:
            kept.add(key)
        else:
            beyond[place] = f"{person} would have more than {most} photos"
    return beyond


class JudgeAgainError(Exception):
    """What new photos were judged beside is not what is there now."""

    def __init__(self, there: Sequence[Enrolled]) -> None:
        self.there = there


def enrol_beside(gallery: Gallery, person: str, attempt: Callable[[Sequence[Enrolled], Admit], Said]) -> Said:
    """Judge photos of a person beside those that are there, and enrol the good ones, as one step.

    Args:
        gallery: where to.
        person: id of the person.
        attempt: given the photos that are there, judges new ones beside them, and passes the second argument on to
            :meth:`Gallery.enrol` as ``admit``. It is called anew with those that are there by then if another thread, service
            or command changes the person before the new ones are written, or if it raises :class:`JudgeAgainError` there.

    Returns:
        What the last attempt returned.
    """
    there: Sequence[Enrolled] = gallery.photos_of(person)
    while True:  # each round follows a change of the person by another
        known = {each.photo for each in there}

        def unchanged(now_there: Sequence[Enrolled], known: set[str] = known) -> None:
            if {each.photo for each in now_there} != known:
                raise JudgeAgainError(now_there)

        try:
            return attempt(there, unchanged)
        except JudgeAgainError as changed:
            there = changed.there


def _why_not(embedded: EmbeddedPhoto) -> str | None:
    quality = embedded.photo.quality
    return embedded.photo.problem or (None if quality is None else unfit(quality, ENROLMENT))


def new_photo(data: bytes, embedded: EmbeddedPhoto) -> NewPhoto:
    """What a gallery keeps of a photo that nothing is wrong with.

    Args:
        data: the image's file.
        embedded: with an embedding.
    """
    embedding = embedded.embedding
    if embedding is None:
        raise DataError(embedded.photo.problem or f"{embedded.photo.name}: can't be judged")
    odds, genuine = embedding.authenticity, embedding.genuine
    details = {
        "quality": plain(embedded.photo.quality),
        "genuine": None if genuine is None else plain(float(genuine[0])),
    }
    return NewPhoto(data, embedding.identity[0], None if odds is None else float(odds[0]), details)


def refusals(
    problems: Sequence[str | None],
    photos: Sequence[Embeddings | None],
    there: Embeddings | None,
    calibration: Calibration,
    thumbprints: Sequence[Thumbprint | None] = (),
) -> Mapping[int, str]:
    """Reasons why some photos of one person are refused, by their place among those that are to be enrolled.

    A photo is refused if it has a problem (no face, two prominent ones, poor quality), if it is classified as fake, or if it is
    unlike the person's other photos: if more than half of those that are enrolled are rather of other people, or more than half of
    all. Copies of one photo count as one.

    Args:
        problems: of each photo, as reading it says; None where there is none.
        photos: their embeddings, one row each; None where there is a problem.
        there: the person's photos that are enrolled already.
        calibration: of the model.
        thumbprints: of the images, by which re-encoded copies are known; may be left out.

    Raises:
        DataError: if there are no photos.

    Example:
        >>> from bonaface.verification.calibration import Logistic
        >>> ann, like_ann, bob = (Embeddings(np.float32([each])) for each in ([1, 0], [0.8, 0.6], [0, 1]))
        >>> refusals([None, None, None], [ann, like_ann, bob], None, Calibration(Logistic(20.0, -14.0)))
        {2: 'is unlike 2 of the 2 other photos'}
    """
    if not problems:
        raise DataError("no photos: expected one or more")
    refused = {place: problem for place, problem in enumerate(problems) if problem is not None}
    for place, photo in enumerate(photos):
        if photo is not None and _looks_forged(photo, calibration):
            refused[place] = "looks forged: genuine photos of a person's face are expected"
    good = [place for place in range(len(photos)) if place not in refused]
    prints = [thumbprints[place] if thumbprints else None for place in good]
    unlike = _unlike([photos[place] for place in good], prints, there, calibration)
    return refused | {good[row]: why for row, why in unlike.items()}


def _looks_forged(photo: Embeddings, calibration: Calibration) -> bool:
    return photo.authenticity is not None and bool(calibration.called_fake(photo.authenticity)[0])


_SAME_PHOTO = 1 - 1e-4
"""Cosine from which two embeddings are of one photo."""


def _unlike(
    photos: Sequence[Embeddings | None],
    thumbprints: Sequence[Thumbprint | None],
    there: Embeddings | None,
    calibration: Calibration,
) -> dict[int, str]:
    parts: list[NDArray[np.float32]] = [photo.identity for photo in photos if photo is not None]
    if not parts:
        return {}
    new = np.concatenate(parts)
    old = new[:0] if there is None else there.identity
    unlike_new, unlike_old = (calibration.same.log_odds(new @ each.T) < 0 for each in (new, old))
    # New photos, however many, do not outvote those that are there, and copies do not vouch for each other.
    apart = _told_apart(new, thumbprints)
    elsewhere = ~(new @ old.T > _SAME_PHOTO).any(axis=0)  # those that are not sent again
    rules = (
        ("enrolled", len(old), unlike_old.sum(axis=1)),
        (
            "other",
            apart.sum() - 1 + elsewhere.sum(),
            unlike_new[:, apart].sum(axis=1) + unlike_old[:, elsewhere].sum(axis=1),
        ),
    )
    return {
        int(row): f"is unlike {wrong[row]} of the {count} {name} photos"
        for name, count, wrong in rules
        for row in np.flatnonzero(2 * wrong > count)
    }


def _told_apart(identity: NDArray[np.float32], thumbprints: Sequence[Thumbprint | None]) -> NDArray[np.bool_]:
    """True for each photo that is no copy of one before it, ``(n,)``."""
    copies = identity @ identity.T > _SAME_PHOTO
    for a, b in combinations(range(len(identity)), 2):
        copies[a, b] |= are_copies(thumbprints[a], thumbprints[b])
    return np.asarray(~np.triu(copies, 1).any(axis=0))
