"""Enrolled people: embeddings of their photos in a database, found again by person or by likeness.

The rows of the database are the truth, and the images that are kept follow them, also after a kill (see ``photo_store``). A photo's
id is a digest of the person and the image's bytes: enrolling again what may or may not have been enrolled changes nothing.
"""

from __future__ import annotations

import contextlib
import logging
import random
import shlex
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bonaface.errors import (
    DataError,
    GalleryError,
    GalleryFullError,
    GalleryReplacedError,
    GalleryUnavailableError,
    ModelError,
)
from bonaface.gallery.collection_name import CollectionName, ModelMark
from bonaface.gallery.database import is_absent, local_place, open_database
from bonaface.gallery.erasure import Eraser
from bonaface.gallery.people import Enrolled, Hit, NewPhoto, Person, Row, as_row, photo_id, refuse_person_id, row_id
from bonaface.gallery.photo_store import (
    NothingWrittenError,
    PhotoStore,
    are_gone,
    refuse_kept_elsewhere,
    refuse_used_folder,
)

__all__ = ["Gallery"]

_LOG = logging.getLogger("bonaface.gallery")
_SETTLE_ROWS = 1000
_MOST_ROWS = 16_384
"""Milvus answers at most so many rows to one call."""
_ATTEMPTS = 5
"""How often an enrolment begins anew because another service enrols the same person."""

Admit = Callable[[Sequence[Enrolled]], None]
"""Raises an error where photos of a person must not be added to, or taken from, those that are there."""


class Gallery:
    """Enrolled people. Several threads may use it; those that write take turns.

    Args:
        uri: of the database, see :func:`bonaface.gallery.database.open_database`.
        mark: the model whose embeddings it holds.
        photos: folder to keep images in; None keeps none.
        token: of the server.
        check: refuse a gallery of another model; :func:`bonaface.gallery.reembed.reembed` alone does not.
        read_only: make no gallery, and change nothing of one.

    Raises:
        ModelError: if the embeddings are another model's.
        DataError: if the database can't be opened or is of another version.
    """

    def __init__(
        self,
        uri: str,
        mark: ModelMark,
        photos: Path | None = None,
        token: str = "",
        check: bool = True,
        read_only: bool = False,
    ) -> None:
        self.mark = mark
        self._read_only = read_only
        if photos is not None and is_absent(uri):
            refuse_used_folder(photos)
        self.database = open_database(uri, token, read_only)
        self._writing = threading.RLock()
        self._unsettled = 0
        self._closed = False
        self._full = False  # a change failed for want of room, and none was found since
        try:
            found = self._opened(mark, check, photos)
            self._photos, self._place, self._id = photos, local_place(uri), found.gallery
            if not read_only:
                self._refuse_kept_elsewhere()
            self.photo_store = None
            if photos is not None:
                self.photo_store = PhotoStore(photos, found.gallery, self._photo_ids, self._place)
                self._note_photos(photos)
            elif not read_only and (lost := self._lost_photos()):
                _LOG.warning(lost)
        except Exception:
            self.database.close()
            raise
        self._eraser = Eraser(self.database, found.mark, self._writing)
        if not read_only:
            self._eraser.resume()

    def _refuse_kept_elsewhere(self) -> None:
        refuse_kept_elsewhere(self.database.kept_photos(), self._photos, self._id, self._place)

    def _note_photos(self, photos: Path) -> None:
        if set(self.database.kept_photos()) != {photos.resolve()}:
            self.database.note_kept_photos(photos.resolve())

    def _lost_photos(self) -> str:
        """What is to be done where photos were kept in a folder that is not at hand; empty where none was."""
        if self.photo_store is not None or not are_gone(self.database.kept_photos(), self._id):
            return ""
        return (
            f"{self.database.uri}: photos were kept in {self.database.kept_photos()[0]}, which is not there, so nobody can be "
            "deleted; mount the folder and name it by --keep-photos, or, if the photos are lost, an empty one"
        )

    def _opened(self, mark: ModelMark, check: bool, photos: Path | None) -> CollectionName:
        found = self.database.name()
        if found is None:
            if self._read_only:
                raise DataError(f"{self.database.uri}: nobody is enrolled; enrol people first by bonaface enrol")
            with self.database.exclusively():  # of two first openings the earlier counts
                found = self.database.name()
                if found is None:
                    found = self.database.create(mark)
                    self.database.swap(found)
                    found = self.database.name() or found
        if check and found.mark.fingerprint != mark.fingerprint:
            kept = photos or next(filter(Path.is_dir, self.database.kept_photos()), Path("DIR"))
            raise ModelError(_other_model(self.database.uri, found.mark, mark, kept))
        return found

    def enrol(
        self,
        person: str,
        photos: Sequence[NewPhoto],
        admit: Admit = lambda there: None,
        now: Callable[[], float] = time.time,
    ) -> list[str]:
        """Add photos of a person, all or none; those that are there already stay as they are.

        Args:
            person: id of the person.
            photos: to be added.
            admit: given the person's photos, raises an error if these must not be added. Nothing is enrolled between this and the
                end, by any thread or service; where the gallery is a Milvus server, nothing of the person.
            now: seconds since 1970.

        Returns:
            The photos' ids.

        Raises:
            DataError: if the person's id is none.
            GalleryError: if the database or the disk refuses; enrolling again is safe.
        """
        refuse_person_id(person)
        given = {photo_id(person, photo.data): photo for photo in photos}
        with self._exclusively():
            for attempt in range(_ATTEMPTS):
                if self._added(person, given, admit, now()):
                    return [photo_id(person, photo.data) for photo in photos]
                time.sleep(random.uniform(0, 0.05 * 2**attempt))  # noqa: S311 - so that the two don't meet again
        raise GalleryUnavailableError(f"{person}: is being enrolled by another service; try again soon")

    def keep(self, person: str, images: Iterable[bytes]) -> None:
        """Keep images of photos that were enrolled while none was kept; nothing where none is kept now.

        Args:
            person: id of the person.
            images: files of photos of theirs; one that is not enrolled is passed over.

        Raises:
            GalleryError: if the database or the disk refuses.
        """
        if self.photo_store is None:
            return
        with self._exclusively():
            known = {each.photo for each in self.photos_of(person)}
            missing = {key: data for data in images if (key := photo_id(person, data)) in known}
            missing = {key: data for key, data in missing.items() if key not in self.photo_store}
            if missing:
                try:
                    with self.photo_store.adding(missing), self._begun():
                        if not missing.keys() <= {each.photo for each in self.photos_of(person)}:  # deleted meanwhile
                            raise NothingWrittenError(DataError(f"{person}: was changed"))
                except NothingWrittenError as refused:
                    if isinstance(refused.why, GalleryError):
                        raise refused.why from None

    def _added(self, person: str, given: dict[str, NewPhoto], admit: Admit, now: float) -> bool:
        """Write rows and images of those that are not there; False if another service of a server was in the way."""
        images = {key: photo.data for key, photo in given.items()}
        keeping = contextlib.nullcontext() if self.photo_store is None else self.photo_store.adding(images)
        try:
            with keeping, self._begun():
                known = self._admitted(person, admit)
                fresh = {key: photo for key, photo in given.items() if key not in known}
                if fresh:
                    self.database.write([as_row(person, key, photo, now) for key, photo in fresh.items()])
        except NothingWrittenError as refused:
            raise refused.why from None
        # Of services that write at once to a server, at least one reads the other's rows here, and takes its own out again.
        if not self.database.transactional and {each.photo for each in self.photos_of(person)} - known - fresh.keys():
            self._take_out(person, fresh)
            self._eraser.start()
            return False
        self._settle(len(fresh))
        return True

    @contextlib.contextmanager
    def _begun(self) -> Iterator[None]:
        """A change of the database; where it can't begin, nothing was written."""
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self.database.exclusively())
            except GalleryError as error:
                raise NothingWrittenError(error) from error
            yield

    def _admitted(self, person: str, admit: Admit) -> set[str]:
        """The ids of a person's photos, once ``admit`` has seen these."""
        there = self.photos_of(person)
        try:
            admit(there)
        except Exception as error:
            raise NothingWrittenError(error) from error
        return {each.photo for each in there}

    def photos_of(self, person: str) -> list[Enrolled]:
        """Photos of a person, by id; none where nobody is called so."""
        refuse_person_id(person)
        rows = self.database.of_person(person)
        return sorted(map(self._enrolled, rows), key=lambda each: each.photo)

    def people(self, after: str = "", limit: int = 100) -> list[Person]:
        """Up to ``limit`` people in the order of their ids, from the one behind ``after``."""
        if after:
            refuse_person_id(after)
        behind = f"{after};" if after else ""  # ; follows : which ends a person's part of the id
        found: dict[str, Person] = {}
        for rows in self.database.scan(behind, ["id", "person", "enrolled"]):
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
            rows = self.database.nearest(vector, min(wanted, _MOST_ROWS))
            for row in rows:
                photo = row["id"].rpartition(":")[2]
                best.setdefault(row["person"], Hit(row["person"], photo, row["cosine"], self._judged(row)))
            if len(rows) < wanted:
                break
            wanted *= 4
        return sorted(best.values(), key=lambda hit: -hit.cosine)[:k]

    def with_file(self, people: Iterable[str], data: bytes) -> set[str]:
        """Those of some people of whom an image's very file is enrolled."""
        asked = {row_id(person, photo_id(person, data)): person for person in people}
        return {asked[key] for key in self.database.present(asked)} if asked else set()

    def remove(self, person: str, photo: str | None = None, admit: Admit = lambda gone: None) -> int:
        """Take a person, or one photo of theirs, out of the database and off the disk.

        Args:
            person: id of the person.
            photo: id of the one photo.
            admit: given the photos that are about to go, raises an error if they must stay.

        Returns:
            How many photos there were; none of them is found any more, also after a kill. :meth:`erased` says when their bytes are
            off the disk as well.

        Raises:
            GalleryError: if the database or the disk refuses.
        """
        with self._exclusively():
            gone = [each for each in self.photos_of(person) if photo in (None, each.photo)]
            if gone:
                if self.photo_store is not None:
                    self.photo_store.refuse_replaced()
                self._refuse_kept_elsewhere()  # another process may have begun to keep them
                if lost := self._lost_photos():
                    raise GalleryReplacedError(lost)
                admit(gone)
                self._eraser.announce()
                self._take_out(person, [each.photo for each in gone])
                self._eraser.start()
        return len(gone)

    def _take_out(self, person: str, photos: Collection[str]) -> None:
        with contextlib.nullcontext() if self.photo_store is None else self.photo_store.removing(photos):
            self.database.delete([row_id(person, key) for key in photos])

    def erased(self, timeout: float) -> bool:
        """True once all that was removed is off the disk, waiting up to ``timeout`` seconds for it."""
        return self._eraser.wait(timeout)

    def image(self, photo: str) -> bytes | None:
        """The kept image of a photo; None where it was not kept."""
        return None if self.photo_store is None else self.photo_store.read(photo)

    def every(self) -> Iterator[Enrolled]:
        """All photos, by person."""
        for rows in self.database.scan():
            yield from map(self._enrolled, rows)

    def count(self) -> int:
        """Number of photos.

        Raises:
            GalleryUnavailableError: if the database does not answer.
        """
        return self.database.count()

    def refuse_unready(self) -> None:
        """Raise an error unless people can be enrolled, found and deleted.

        Raises:
            GalleryError: if the database does not answer, what was deleted can't be taken off the disk, or a change failed for
                want of room and there is still none.
        """
        self.count()
        if self.photo_store is not None:
            self.photo_store.refuse_replaced()
        if self._full:
            self._refuse_full()
        if self._eraser.failure is not None:
            raise GalleryUnavailableError(
                f"{self.database.uri}: what was deleted is not off the disk yet ({self._eraser.failure})"
            )

    def _refuse_full(self) -> None:
        with self._exclusively():
            self.database.refuse_full()
            if self.photo_store is not None:
                self.photo_store.refuse_full()
            self._full = False

    def close(self) -> None:
        """Finish what was begun, and let go of the database."""
        self._eraser.close()
        with self._writing:
            if self._closed:
                return
            self._closed = True
            if self.photo_store is not None:
                self.photo_store.close()
            self.database.close()

    @contextlib.contextmanager
    def _exclusively(self) -> Iterator[None]:
        with self._writing:
            if self._closed:
                raise GalleryUnavailableError(f"{self.database.uri}: is closed, as the service is ending")
            try:
                yield
            except GalleryFullError:
                self._full = True
                raise

    def _photo_ids(self) -> set[str]:
        scanned = self.database.scan(fields=["id"], batch=_MOST_ROWS)
        return {row["id"].rpartition(":")[2] for rows in scanned for row in rows}

    def _settle(self, rows: int) -> None:
        """Milvus Lite finds rows in its files far faster than those it has only logged."""
        self._unsettled += rows
        if self._unsettled >= _SETTLE_ROWS:
            self._unsettled = 0
            with contextlib.suppress(GalleryUnavailableError):  # the rows are kept either way
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


def _other_model(uri: str, found: ModelMark, mark: ModelMark, photos: Path) -> str:
    """What is wrong with a gallery of another model, and what helps: first what who forgot to name its model needs."""
    named = [] if mark.source is None else ["--model", mark.source]
    command = ["bonaface", "serve", *named, "--gallery", uri, "--keep-photos", str(photos), "--re-embed"]
    shipped = " (of the shipped one leave it out)" if named else ""
    return (
        f"{uri}: holds embeddings of another model, {found.name} ({found.fingerprint[:12]}) and not {mark.name} "
        f"({mark.fingerprint[:12]}): name that model by --model PATH{shipped}, or another --gallery; or, where photos were "
        f"kept, let this model embed them again: {shlex.join(command)}"
    )
