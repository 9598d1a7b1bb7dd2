"""The public ``search``: which enrolled people photos show."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, fields, replace
from numbers import Integral
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from bonaface.data.layouts import listed_images
from bonaface.data.videos import is_video
from bonaface.errors import ConfigError, DataError
from bonaface.gallery.collection_name import ModelMark
from bonaface.gallery.database import refuse_absent, refuse_other_kind
from bonaface.gallery.enrolment import EmbeddedPhoto, embed_read
from bonaface.gallery.gallery import Gallery
from bonaface.gallery.people import Hit
from bonaface.images.decoding import read_file
from bonaface.images.photo import Photo
from bonaface.inference.verifier import Verifier, load, qualified
from bonaface.io import private_table, refuse_other_file, spreadsheet_text
from bonaface.verification.decision import Verdict
from bonaface.verification.embeddings import Embeddings

__all__ = ["SearchHit", "copy_of_enrolled", "people_found", "photos_to_search", "search"]

PathLike = str | os.PathLike[str]

_CHUNK = 64
_READERS = 2
_MOST = 50
_COPY = "This is the file of an enrolled photo: nothing is proved."


@dataclass(frozen=True)
class SearchHit:
    """A person whom a photo may show, or why a photo can't be searched by.

    Args:
        path: of the photo.
        rank: 1 for the person who is most alike; 0 where the photo can't be judged.
        person: id; empty where the photo can't be judged.
        photo: id of the enrolled photo that is most alike.
        decision: on the two photos, as :meth:`bonaface.Verifier.verify` gives it; "cannot tell" where the file itself is one of the
            person's enrolled photos, which proves nothing. A copy that was encoded again is not told: no pixels are kept.
        similarity: of the two; None where the photo can't be judged.
        probability: that they are genuine photos of one person, at even prior odds.
        threshold: similarity from which the decision is "same person".
        fmr: false match rate of one comparison.
        reason: one sentence.
    """

    path: str
    rank: int
    person: str
    photo: str
    decision: str
    similarity: float | None
    probability: float | None
    threshold: float
    fmr: float
    reason: str


_COLUMNS = [field.name for field in fields(SearchHit)]


def search(
    photos: PathLike | Sequence[PathLike],
    gallery: str,
    *,
    k: int = 5,
    fmr: float | None = None,
    out: PathLike | None = None,
    model: PathLike | Verifier | None = None,
    detector: PathLike | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> list[SearchHit]:
    """Find the enrolled people who are most like the faces of photos.

    Args:
        photos: files, or folders with all folders below.
        gallery: URI of the gallery, as ``bonaface search --gallery`` takes it; it is not made.
        k: people for each photo, 1 to 50; fewer where fewer are enrolled.
        fmr: false match rate of one comparison: among n enrolled photos a stranger is expected to match ``fmr * n``. None is 0.1 %,
            as :meth:`bonaface.Verifier.threshold` has it.
        out: CSV to write, a line a hit, with the fields of :class:`SearchHit`.
        model: as :func:`bonaface.load` takes it, or what it returned; the gallery's own model.
        detector: YuNet file that aligns faces for an ONNX face network.
        device: ``auto``, ``cpu`` or ``cuda``.
        progress: shows how many photos have been searched by.

    Returns:
        For each photo its hits, best first; one with ``rank`` 0 for a photo that can't be judged.

    Raises:
        DataError: if there are no photos, no gallery, or nobody is enrolled in it.
        ModelError: if the gallery is another model's.
        ConfigError: if the URI or a number makes no sense.

    Example:
        >>> search("gone.jpg", "gone.sqlite")
        Traceback (most recent call last):
        bonaface.errors.DataError: gone.sqlite: no such gallery; enrol people first by bonaface enrol
    """
    files = photos_to_search(photos, gallery, k, out)
    verifier = model if isinstance(model, Verifier) else load(model, device, detector)
    threshold = verifier.threshold(fmr)
    fmr = threshold.fmr
    opened = Gallery(gallery, ModelMark.of(verifier.embedder), token=os.environ.get("MILVUS_TOKEN", ""), read_only=True)
    try:
        if not opened.count():
            raise DataError(f"{gallery}: nobody is enrolled; enrol people first by bonaface enrol")
        task = None if progress is None else progress.add_task("searching", total=len(files))
        hits: list[SearchHit] = []
        for file, data, photo in _embedded(verifier, files):
            if isinstance(photo, str):
                unknown = SearchHit(str(file), 0, "", "", "cannot tell", None, None, threshold.threshold, fmr, photo)
                hits.append(unknown)
            else:
                hits += _hits(verifier, opened, file, data, photo, k, fmr)
            if progress is not None and task is not None:
                progress.advance(task)
    finally:
        opened.close()
    if out is not None:
        _write(Path(out), hits)
    return hits


def photos_to_search(photos: PathLike | Sequence[PathLike], gallery: str, k: int, out: PathLike | None) -> list[Path]:
    """The photos, and all that can be refused before a model is loaded; see :func:`search`.

    Raises:
        DataError: if there are no photos or no gallery, or the CSV would replace another file.
        ConfigError: if the URI or a number makes no sense.
    """
    if not isinstance(k, Integral) or not 1 <= k <= _MOST:
        raise ConfigError(f"--k {k}: expected a whole number from 1 to {_MOST}")
    refuse_other_kind(gallery)
    refuse_absent(gallery)
    named = [photos] if isinstance(photos, str | os.PathLike) else photos
    if out is not None:
        refuse_other_file(Path(out), _COLUMNS)
    return list(listed_images([Path(each) for each in named]))


def people_found(
    verifier: Verifier, gallery: Gallery, photo: EmbeddedPhoto, data: bytes, k: int, fmr: float
) -> list[tuple[Hit, Verdict]]:
    """The enrolled people who are most like a photo, each with the verdict on it and their best photo, by falling similarity.

    Args:
        verifier: the model.
        gallery: where to search.
        photo: nobody is found by one that can't be judged.
        data: the photo's file.
        k: people, at most.
        fmr: false match rate.
    """
    if photo.embedding is None:
        return []
    hits = gallery.search(photo.embedding.identity[0], k)
    if not hits:
        return []
    # In the plane of the two: their cosine is all.
    rows = [Embeddings(_at_cosine(hit.cosine), _row(hit.authenticity)) for hit in hits]
    query = Embeddings(_at_cosine(1.0), photo.embedding.authenticity)
    verdicts = verifier.compare(Embeddings.joined([query] * len(rows)), Embeddings.joined(rows), fmr)
    copied = gallery.with_file([hit.person for hit in hits], data)
    said = [
        (hit, qualified(copy_of_enrolled(verdict) if hit.person in copied else verdict, photo.photo))
        for hit, verdict in zip(hits, verdicts, strict=True)
    ]
    return sorted(said, key=lambda pair: -pair[1].similarity)


def _at_cosine(cosine: float) -> NDArray[np.float32]:
    """A unit vector that has a cosine to the first axis, shape ``(1, 2)``."""
    return np.array([[cosine, np.sqrt(max(0.0, 1 - cosine**2))]], np.float32)


def copy_of_enrolled(verdict: Verdict) -> Verdict:
    """The verdict on a photo whose file is enrolled: whoever sends it may have it from anywhere."""
    return replace(verdict, decision="cannot tell", reason=_COPY)


def _row(authenticity: float | None) -> NDArray[np.float32] | None:
    return None if authenticity is None else np.array([authenticity], np.float32)


def _embedded(verifier: Verifier, files: Sequence[Path]) -> Iterator[tuple[Path, bytes, EmbeddedPhoto | str]]:
    """Each photo that can be judged with its file's bytes, or a photo with what is wrong with it."""
    with ThreadPoolExecutor(_READERS) as pool:
        for start in range(0, len(files), _CHUNK):
            chunk = files[start : start + _CHUNK]
            read = list(pool.map(lambda file: _read(verifier, file), chunk))
            embedded = embed_read(verifier, [photo for _, photo in read])
            for file, (data, _), each in zip(chunk, read, embedded, strict=True):
                if isinstance(each, DataError):
                    yield file, data, str(each)
                elif each.embedding is None:
                    yield file, data, str(each.photo.problem)
                else:
                    yield file, data, each


def _read(verifier: Verifier, file: Path) -> tuple[bytes, Photo | DataError]:
    """A photo and its file's bytes; none of a video, which nobody enrols."""
    try:
        if is_video(file):
            return b"", verifier.read(file)
        data = read_file(file)
        return data, verifier.read(data, str(file))
    except DataError as error:
        return b"", error


def _hits(
    verifier: Verifier, gallery: Gallery, file: Path, data: bytes, photo: EmbeddedPhoto, k: int, fmr: float
) -> list[SearchHit]:
    return [
        SearchHit(
            str(file),
            rank,
            hit.person,
            hit.photo,
            verdict.decision,
            verdict.similarity,
            verdict.probability,
            verdict.threshold,
            verdict.fmr,
            verdict.reason,
        )
        for rank, (hit, verdict) in enumerate(people_found(verifier, gallery, photo, data, k, fmr), 1)
    ]


def _write(out: Path, hits: Sequence[SearchHit]) -> None:
    with private_table(out, _COLUMNS) as writer:
        for hit in hits:
            texts = (spreadsheet_text(hit.path, "./"), spreadsheet_text(hit.reason, "./"))
            cells = astuple(replace(hit, path=texts[0], reason=texts[1]))
            writer.writerow([f"{value:.6g}" if isinstance(value, float) else value for value in cells])
