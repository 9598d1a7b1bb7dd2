"""A gallery for another model: the kept images are embedded again, and take the place of the old embeddings in one step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bonaface.errors import DataError
from bonaface.gallery.collection_name import CollectionName, ModelMark
from bonaface.gallery.enrolment import EmbeddedPhoto, new_photo
from bonaface.gallery.gallery import Gallery
from bonaface.gallery.people import Enrolled, Row, as_row, photo_id, row_id
from bonaface.inference.verifier import Verifier

__all__ = ["reembed"]

_BATCH = 64


def reembed(uri: str, mark: ModelMark, photos: Path, verifier: Verifier, token: str = "") -> int:
    """Read and embed the images of a gallery again, as if they were enrolled by the new model.

    It can be killed at any time: until the last step the old embeddings count. What other processes enrol or delete meanwhile
    is enrolled or deleted afterwards too; on a Milvus server, which can't be locked, they must not run.

    Args:
        uri: the gallery.
        mark: the new model.
        photos: folder of the kept images.
        verifier: the new model.
        token: of a Milvus server.

    Returns:
        How many photos were embedded; 0 where the gallery is the model's own already.

    Raises:
        DataError: if an image was not kept; nothing is changed then.
    """
    gallery = Gallery(uri, mark, photos, token, check=False)
    try:
        found = gallery.database.name()
        if found is not None and found.mark.fingerprint == mark.fingerprint:
            return 0
        new, done = gallery.database.create(mark), dict[str, float]()
        while not _taken_over(gallery, new, done):  # each round embeds what others enrolled in the one before
            _embed(gallery, new, done, verifier)
        if gallery.database.folder is None:
            gallery.database.compact()
        return len(done)
    finally:
        gallery.close()


def _embed(gallery: Gallery, new: CollectionName, done: dict[str, float], verifier: Verifier) -> None:
    """Embed the photos that aren't done yet into the new collection."""
    every = [each for each in gallery.every() if done.get(row_id(each.person, each.photo)) != each.enrolled]
    missing = [each for each in every if gallery.photo_store is None or each.photo not in gallery.photo_store]
    missing = [each for each in missing if each.photo in {one.photo for one in gallery.photos_of(each.person)}]
    if missing:
        raise DataError(
            f"{gallery.database.uri}: {len(missing)} of {len(every)} images were not kept, the first of them of "
            f"{missing[0].person}: enrol them again in a new --gallery"
        )
    for start in range(0, len(every), _BATCH):
        found = [(each, gallery.image(each.photo)) for each in every[start : start + _BATCH]]
        part = [(each, data) for each, data in found if data is not None]  # others were deleted since
        _refuse_replaced(part, gallery)
        if not part:
            continue
        rows = _rows(part, verifier)
        with gallery.database.exclusively():  # who was deleted meanwhile is not written down anew
            there = {each.photo for person in {one.person for one, _ in part} for each in gallery.photos_of(person)}
            kept = [(row, each) for row, (each, _) in zip(rows, part, strict=True) if each.photo in there]
            gallery.database.write([row for row, _ in kept], new)
        done |= {row["id"]: each.enrolled for row, each in kept}


def _refuse_replaced(part: Sequence[tuple[Enrolled, bytes]], gallery: Gallery) -> None:
    """Refuse an image that is not the one that was enrolled: it was damaged, or put there by others."""
    for each, data in part:
        if photo_id(each.person, data) != each.photo:
            raise DataError(
                f"{gallery.database.uri}: the kept image {each.photo} of {each.person} is not what was enrolled; restore it from a "
                "backup, or delete the photo"
            )


def _taken_over(gallery: Gallery, new: CollectionName, done: dict[str, float]) -> bool:
    """Let the new collection count, without what was deleted since; False where something was enrolled that it lacks."""
    with gallery.database.exclusively():
        now = {
            row["id"]: row["enrolled"] / 1000
            for rows in gallery.database.scan(fields=["id", "enrolled"])
            for row in rows
        }
        if not now.items() <= done.items():
            return False
        gone = done.keys() - now.keys()
        if gone:
            gallery.database.delete(gone, new)
        gallery.database.swap(new)
    for each in gone:
        del done[each]
    return True


def _rows(part: Sequence[tuple[Enrolled, bytes]], verifier: Verifier) -> list[Row]:
    read = [verifier.read(data, each.photo) for each, data in part]
    made = verifier.embed_photos(read)
    return [
        as_row(each.person, each.photo, new_photo(data, EmbeddedPhoto(photo, made.row(n))), each.enrolled)
        for n, ((each, data), photo) in enumerate(zip(part, read, strict=True))
    ]
