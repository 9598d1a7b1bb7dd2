"""A gallery for another model: the kept images are embedded again, and take the place of the old embeddings in one step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bonaface.errors import DataError
from bonaface.gallery.collection_name import ModelMark
from bonaface.gallery.gallery import Gallery
from bonaface.gallery.people import Enrolled, NewPhoto, as_row
from bonaface.images.decoding import decode_bytes
from bonaface.inference.embedder import Embedder

__all__ = ["reembed"]

_BATCH = 64


def reembed(uri: str, mark: ModelMark, photos: Path, embedder: Embedder, token: str = "") -> int:
    """Embed the images of a gallery again.

    It can be killed at any time: until the last step the old embeddings count.

    Args:
        uri: the gallery.
        mark: the new model.
        photos: folder of the kept images.
        embedder: the new model.
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
        every = list(gallery.every())
        missing = [each for each in every if gallery.photo_store is None or each.photo not in gallery.photo_store]
        if missing:
            raise DataError(
                f"{photos}: {len(missing)} of {len(every)} images were not kept, the first of them of {missing[0].person}: "
                "enrol them again in a new --gallery"
            )
        new = gallery.database.create(mark)
        for start in range(0, len(every), _BATCH):
            part = every[start : start + _BATCH]
            gallery.database.write(_rows(gallery, part, embedder), new)
        gallery.database.swap(new)
        return len(every)
    finally:
        gallery.close()


def _rows(gallery: Gallery, part: Sequence[Enrolled], embedder: Embedder) -> list[dict[str, object]]:
    images = [gallery.image(each.photo) or b"" for each in part]
    made = embedder.embed_images([decode_bytes(data, each.photo) for data, each in zip(images, part, strict=True)])
    odds = [None] * len(part) if made.authenticity is None else made.authenticity.tolist()
    return [
        as_row(each.person, each.photo, NewPhoto(data, vector, judged, each.details), each.enrolled)
        for each, data, vector, judged in zip(part, images, made.identity, odds, strict=True)
    ]
