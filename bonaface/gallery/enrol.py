"""The public ``enrol``: many people at once, from a folder or a table."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
from rich.progress import Progress

from bonaface.data.people_list import PeopleList, read_people_list
from bonaface.errors import BonafaceError, DataError, ModelError
from bonaface.gallery.collection_name import ModelMark
from bonaface.gallery.database import is_absent, refuse_other_kind
from bonaface.gallery.enrolment import (
    EmbeddedPhoto,
    JudgeAgainError,
    beyond_room,
    embed_read,
    enrol_beside,
    new_photo,
    refused_photos,
)
from bonaface.gallery.gallery import Admit, Gallery
from bonaface.gallery.people import MOST_PHOTOS, PERSON, Enrolled, NewPhoto, photo_id
from bonaface.gallery.photo_store import refuse_used_folder
from bonaface.images.decoding import read_file
from bonaface.images.photo import Photo
from bonaface.inference.verifier import Verifier, load
from bonaface.io import check_folder, private_table, refuse_other_file, spreadsheet_text
from bonaface.outputs import refuse_input
from bonaface.verification.calibration import Calibration
from bonaface.verification.thresholds import CALIBRATE

__all__ = ["EnrolledPhoto", "enrol", "people_to_enrol"]

PathLike = str | os.PathLike[str]
_Looked = tuple[str, bytes, EmbeddedPhoto | DataError | None]
"""A photo's path, its bytes, and what was seen of it; None where it is enrolled."""

ENROLLED, BEFORE, REFUSED = "enrolled", "already enrolled", "refused"
_CHUNK = 64
_READERS = 2
_LEFT_OUT = "another photo of the person was refused, and --strict takes all or none"


@dataclass(frozen=True)
class EnrolledPhoto:
    """What became of a photo.

    Args:
        person: id of the person.
        path: of the photo, as it was listed.
        status: ``enrolled``, ``already enrolled`` or ``refused``.
        reason: why it was refused; of an enrolled one what should be looked at, or nothing.
    """

    person: str
    path: str
    status: str
    reason: str


_COLUMNS = [field.name for field in fields(EnrolledPhoto)]


def enrol(
    source: PathLike,
    gallery: str,
    *,
    strict: bool = False,
    report: PathLike | None = None,
    keep_photos: PathLike | None = None,
    model: PathLike | Verifier | None = None,
    detector: PathLike | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> list[EnrolledPhoto]:
    """Enrol people from a folder or a table: their good photos, and say what is wrong with the others.

    It can be stopped at any time: what is enrolled is skipped when it is called again. A photo is refused for the reasons that the
    service has: no face or two, poor quality, forged, unlike the person's other photos; and where it lies with two people.

    Args:
        source: folder with a folder for each person, or a CSV with the columns ``person`` and ``path``.
        gallery: URI of the gallery, as ``bonaface enrol --gallery`` takes it; a new one is made.
        strict: enrol nobody with a photo that is refused, nor anyone who looks like another enrolled person.
        report: CSV to write, a line a photo, with the fields of :class:`EnrolledPhoto`; where it ends early, of those till then.
        keep_photos: folder to keep the images in, to embed them again for another model.
        model: as :func:`bonaface.load` takes it, or what it returned.
        detector: YuNet file that aligns faces for an ONNX face network.
        device: ``auto``, ``cpu`` or ``cuda``.
        progress: shows how many photos are done.

    Returns:
        What became of each photo, in the order of the source.

    Raises:
        DataError: if the source holds no photos, a person can't be called so, or no photo is enrolled in the end; the report is
            written then, and no new gallery is made.
        GalleryError: if the gallery can't be written to; the message says how many photos were enrolled before.
        ModelError: if the gallery is another model's, or the model is not calibrated.

    Example:
        >>> import tempfile
        >>> enrol(tempfile.mkdtemp(), "people.sqlite")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        bonaface.errors.DataError: ...: holds no images; expected a folder for each person, such as ann/1.jpg, or a CSV ...
    """
    people = people_to_enrol(source, gallery, report)
    verifier = model if isinstance(model, Verifier) else load(model, device, detector)
    calibration = verifier.embedder.calibration
    if calibration is None:
        raise ModelError(
            f"{verifier.name}: is not calibrated, so nobody can tell which photos are of one person; {CALIBRATE}"
        )
    keep = None if keep_photos is None else Path(keep_photos)
    is_new = is_absent(gallery)
    if keep is not None and is_new:
        refuse_used_folder(keep)
    mark, token = ModelMark.of(verifier.embedder), os.environ.get("MILVUS_TOKEN", "")
    opening = partial(Gallery, gallery, mark, keep, token)
    enrolment = _Enrolment(verifier, calibration, opening, people, strict)
    done: list[EnrolledPhoto] = []
    if not is_new:
        enrolment.open()
    task = None if progress is None else progress.add_task("enrolling", total=len(people))
    try:
        try:
            for photos in enrolment.run():
                done += photos
                if progress is not None and task is not None:
                    progress.update(task, completed=sum(bool(each.path) for each in done))
        finally:
            enrolment.close()
            if report is not None and done:
                _write(Path(report), done)
    except BonafaceError as error:
        count = sum(each.status == ENROLLED for each in done)
        if count:
            error.args = (f"{error}; {count:,} photos were enrolled before that, and the same call goes on from there",)
        raise
    if all(each.status == REFUSED for each in done):
        first = next(each for each in done if each.path)
        raise DataError(
            f"{source}: none of {len(people):,} photos was enrolled; the first, {first.path}: {first.reason}"
        )
    return done


class _Enrolment:
    """The people of a source on their way into a gallery; a new one is made when the first of them is enrolled."""

    def __init__(
        self,
        verifier: Verifier,
        calibration: Calibration,
        opening: Callable[[], Gallery],
        people: PeopleList,
        strict: bool,
    ) -> None:
        self._verifier, self._calibration, self._opening = verifier, calibration, opening
        self._gallery: Gallery | None = None
        self._people, self._strict = people, strict
        self._elsewhere = _with_two_people(people)

    def open(self) -> Gallery:
        """Open the gallery, and make it where it is missing."""
        if self._gallery is None:
            self._gallery = self._opening()
        return self._gallery

    def close(self) -> None:
        """Let go of the gallery."""
        if self._gallery is not None:
            self._gallery.close()

    def run(self) -> Iterator[list[EnrolledPhoto]]:
        """The photos of each person; people come in parts whose photos are embedded together."""
        with ThreadPoolExecutor(_READERS) as pool:
            part: list[str] = []
            waiting = 0
            for person, paths in self._people.photos.items():
                part.append(person)
                waiting += len(paths)
                if waiting >= _CHUNK:
                    yield from self._enrol_part(pool, part)
                    part, waiting = [], 0
            if part:
                yield from self._enrol_part(pool, part)

    def _enrol_part(self, pool: ThreadPoolExecutor, people: Sequence[str]) -> Iterator[list[EnrolledPhoto]]:
        there = {person: [] if self._gallery is None else self._gallery.photos_of(person) for person in people}
        asked = [(person, path) for person in people for path in self._people.photos[person]]
        known = {(person, each.photo) for person in people for each in there[person]}
        read = list(pool.map(lambda each: self._read(each[0], each[1], known), asked))
        embedded = embed_read(self._verifier, [photo for _, photo in read])
        looked: dict[str, list[_Looked]] = defaultdict(list)
        for (person, path), (data, _), photo in zip(asked, read, embedded, strict=True):
            looked[person].append((path, data, photo))
        for person in people:
            if looked[person]:
                yield self._enrol_person(person, looked[person])
            else:
                yield [EnrolledPhoto(person, "", REFUSED, "the folder holds no images")]

    def _read(
        self, person: str, path: str, known: Collection[tuple[str, str]] = ()
    ) -> tuple[bytes, Photo | DataError | None]:
        """A photo and its file's bytes; None for one that is enrolled, and what is wrong with one that can't be read."""
        file = self._people.root / path
        try:
            data = read_file(file, path)
            if (person, photo_id(person, data)) in known:
                return data, None
            if path in self._elsewhere:
                return data, DataError(f"is the same file as {self._elsewhere[path]}; expected each under one person")
            return data, self._verifier.read(data, path)
        except DataError as error:
            return b"", error

    def _enrol_person(self, person: str, photos: list[_Looked]) -> list[EnrolledPhoto]:
        if self._gallery is None:
            said, taken = self._judged(person, photos, [])
            if not taken:
                return said
        gallery = self.open()

        def attempt(there: Sequence[Enrolled], unchanged: Admit) -> list[EnrolledPhoto]:
            said, taken = self._judged(person, self._all_looked(person, photos, there), there)

            def admit(now_there: Sequence[Enrolled]) -> None:
                unchanged(now_there)
                if self._strict and self._looks_like(person, taken):
                    raise JudgeAgainError(now_there)

            gallery.keep(person, (data for _, data, photo in photos if photo is None))
            if taken:
                gallery.enrol(person, taken, admit)
            return said

        return enrol_beside(gallery, person, attempt)

    def _all_looked(self, person: str, photos: Sequence[_Looked], there: Sequence[Enrolled]) -> list[_Looked]:
        """The photos, with those embedded that were enrolled when they were read, and are not any more."""
        known = {each.photo for each in there}
        looked: list[_Looked] = []
        for path, data, photo in photos:
            if photo is None and photo_id(person, data) not in known:
                data, read = self._read(person, path)
                photo = embed_read(self._verifier, [read])[0]
            looked.append((path, data, photo))
        return looked

    def _judged(
        self, person: str, photos: Sequence[_Looked], there: Sequence[Enrolled]
    ) -> tuple[list[EnrolledPhoto], list[NewPhoto]]:
        """What becomes of each photo beside those that are there, and the good ones."""
        known = {each.photo for each in there}
        new: dict[str, tuple[str, bytes, EmbeddedPhoto | DataError]] = {}
        copies: dict[str, str] = {}
        for path, data, each in photos:
            key = photo_id(person, data) if data else path
            if each is None or key in known:
                continue
            first = new.setdefault(key, (path, data, each))[0]
            if first != path:
                copies[path] = first
        listed = list(new.values())
        ids = list(new)
        refused = refused_photos(ids, [each for *_, each in listed], there, self._calibration)
        refused |= beyond_room(person, ids, refused, there, MOST_PHOTOS)
        good = [place for place in range(len(listed)) if place not in refused]
        taken = [
            new_photo(data, each) for _, data, each in (listed[n] for n in good) if isinstance(each, EmbeddedPhoto)
        ]
        alike = self._looks_like(person, taken)
        if self._strict and (refused or alike):
            refused |= dict.fromkeys(good, alike or _LEFT_OUT)
            good, taken = [], []
        said = {listed[n][0]: (REFUSED, why.removeprefix(f"{listed[n][0]}: ")) for n, why in refused.items()}
        said |= {listed[n][0]: (ENROLLED, "; ".join(filter(None, (_rotation(listed[n][2]), alike)))) for n in good}
        for path, first in copies.items():
            said[path] = said[first] if said[first][0] == REFUSED else (BEFORE, f"is the same file as {first}")
        return [EnrolledPhoto(person, path, *said.get(path, (BEFORE, ""))) for path, *_ in photos], taken

    def _looks_like(self, person: str, photos: Sequence[NewPhoto]) -> str:
        """Who else the photos show, if it is likelier than not that someone enrolled was enrolled under another id before."""
        if not photos or self._gallery is None:
            return ""
        mean = np.mean([each.identity for each in photos], axis=0)
        hits = self._gallery.search((mean / np.linalg.norm(mean)).astype(np.float32), 2)
        other = next((hit for hit in hits if hit.person != person), None)
        if other is None:
            return ""
        # Of n photos that are there, one is of this person beforehand with odds of at most 1 to n.
        odds = float(self._calibration.same.log_odds(np.array([other.cosine]))[0]) - math.log(self._gallery.count())
        return f"looks like {other.person}, who is enrolled too: is this one person?" if odds > 0 else ""


def _rotation(looked: EmbeddedPhoto | DataError) -> str:
    degrees = looked.photo.rotated if isinstance(looked, EmbeddedPhoto) else 0
    return f"was rotated by {degrees} degrees" if degrees else ""


def people_to_enrol(source: PathLike, gallery: str, report: PathLike | None) -> PeopleList:
    """The people of a source, and all that can be refused before a model is loaded; see :func:`enrol`.

    Raises:
        DataError: if the source holds nobody who can be enrolled, or the report would replace another file.
        ConfigError: if the gallery's URI is none.
        GalleryError: if something else lies there.
    """
    people = read_people_list(Path(source))
    _refuse_names(Path(source), people)
    refuse_other_kind(gallery)
    if report is not None:
        refuse_other_file(Path(report), _COLUMNS)
        refuse_input(Path(report), Path(source), Path(gallery))
        check_folder(Path(report))
    return people


def _refuse_names(source: Path, people: PeopleList) -> None:
    wrong = [person for person in people.photos if not re.fullmatch(PERSON, person)]
    if wrong:
        raise DataError(
            f"{source}: {len(wrong)} of {len(people.photos)} people can't be called so, the first of them {wrong[0][:80]!r}; "
            "expected 1 to 64 letters, digits, dots, dashes and underscores, a letter or digit first"
        )


def _with_two_people(people: PeopleList) -> Mapping[str, str]:
    """Photos whose file lies with another person as well, and where: which of the two is right can't be said."""
    sized: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for person, paths in people.photos.items():
        for path in paths:
            file = people.root / path
            if file.is_file():
                sized[file.stat().st_size].append((person, path))
    found: dict[str, str] = {}
    for several in sized.values():
        if len({person for person, _ in several}) > 1:
            same: dict[bytes, list[tuple[str, str]]] = defaultdict(list)
            for person, path in several:
                same[hashlib.blake2b((people.root / path).read_bytes()).digest()].append((person, path))
            for copies in same.values():
                for person, path in copies:
                    others = [other for whose, other in copies if whose != person]
                    if others:
                        found[path] = others[0]
    return found


def _write(report: Path, photos: Sequence[EnrolledPhoto]) -> None:
    with private_table(report, _COLUMNS) as writer:
        for photo in photos:
            path, reason = (spreadsheet_text(text, "./") for text in (photo.path, photo.reason))
            writer.writerow([photo.person, path, photo.status, reason])
