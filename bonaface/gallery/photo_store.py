"""Enrolled images on disk, where a setting says that they are kept: one file a photo, named by the photo's id.

The rows of the gallery decide which images stay, but no lost row takes an image with it. An image whose row is being written or
deleted lies in ``pending/``, and nothing outside is ever removed without a deletion that asks for it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from bonaface.errors import GalleryError, GalleryFullError, GalleryReplacedError, GalleryUnavailableError
from bonaface.gallery.database import gallery_at
from bonaface.io import atomic_write, parse_json
from bonaface.locks import locked
from bonaface.outputs import is_one_file, is_there, refuse_stdout, temporary_name
from bonaface.reading import read_regular, read_regular_text

__all__ = ["NothingWrittenError", "PhotoStore", "are_gone", "refuse_kept_elsewhere", "refuse_used_folder"]

_PHOTO = re.compile("[0-9a-f]{32}")
_TRIAL = "0" * 32
_MARKER = "bonaface-photos.json"
_PENDING = "pending"
_OF_FILE_SYSTEMS = {"lost+found"}
_UNFINISHED_MARKER = temporary_name(_MARKER)


class NothingWrittenError(Exception):
    """No row of the images that :meth:`PhotoStore.adding` keeps was written, and why."""

    def __init__(self, why: Exception) -> None:
        self.why = why


class PhotoStore:
    """The folder in which a gallery keeps its images. A marker file says whose it is.

    Args:
        folder: made where it is missing, for its owner alone.
        gallery: id of the gallery.
        enrolled: gives the ids of all photos that have a row; asked only where images are pending, or where the folder
            has no marker yet because an earlier version wrote it.
        place: file or folder of the gallery, which tells it from a copy; None of a server's.

    Raises:
        GalleryError: if the folder is neither empty nor this gallery's, or can't be made or written to.

    Example:
        >>> import tempfile
        >>> store = PhotoStore(Path(tempfile.mkdtemp()) / "photos", "ab" * 6, set)
        >>> with store.adding({"0" * 32: b"an image"}):
        ...     pass  # the row is written
        >>> store.read("0" * 32)
        b'an image'
    """

    def __init__(
        self, folder: Path, gallery: str, enrolled: Callable[[], Collection[str]], place: Path | None = None
    ) -> None:
        self.folder, self._place_of_gallery = folder, place
        refuse_stdout(folder)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._claim(gallery, enrolled)
            self._pending = folder / _PENDING
            self._make_folder(self._pending)  # no link, as what is pending may be deleted
            self._lock = os.open(folder / _MARKER, os.O_RDONLY)
            self._settle(enrolled)
        except OSError as error:
            said = (error.strerror or str(error)).lower()
            raise GalleryError(f"{folder}: can't keep photos there ({said}); choose another folder") from error

    def __contains__(self, photo: str) -> bool:
        return any(_is_image(path) for path in self._places(photo))

    def read(self, photo: str) -> bytes | None:
        """The image; None where it was not kept."""
        for path in self._places(photo):
            with contextlib.suppress(FileNotFoundError):
                if _is_image(path):
                    return read_regular(path)
        return None

    @contextlib.contextmanager
    def adding(self, images: Mapping[str, bytes]) -> Iterator[None]:
        """Keep images, by id, whose rows are written in the block.

        Where the block fails, the images stay pending: whether the rows were written shows when the folder is opened next. They
        are discarded where it raises :class:`NothingWrittenError`.

        Raises:
            GalleryFullError: if the disk is full or the folder can't be written to; no image is kept then.
        """
        with self._writing():
            fresh = {photo: data for photo, data in images.items() if self.read(photo) != data}
            self._write(fresh)
            try:
                yield
            except (GalleryFullError, NothingWrittenError):
                self._discard(fresh)
                raise
            for photo in images:
                self._keep(photo)

    @contextlib.contextmanager
    def removing(self, photos: Collection[str]) -> Iterator[None]:
        """Take images off the disk whose rows are deleted in the block."""
        with self._writing():
            try:
                for photo in photos:
                    if _is_image(self._place(photo)):
                        self._place(photo).replace(self._pending / photo)
            except OSError as error:
                said = (error.strerror or str(error)).lower()
                raise GalleryFullError(f"{self.folder}: can't be written to ({said}); nothing was deleted") from error
            yield
            self._discard(photos)

    def refuse_full(self) -> None:
        """Raise an error where there is no room for an image."""
        with self._writing():
            self._write({_TRIAL: bytes(1 << 20)})
            self._discard([_TRIAL])

    def refuse_replaced(self) -> None:
        """Raise an error where another folder, or none, lies in the place of the one that was opened.

        Raises:
            GalleryReplacedError: if it does.
        """
        if not is_there(self.folder / _MARKER, os.fstat(self._lock)):
            raise GalleryReplacedError(
                f"{self.folder}: was moved, replaced or removed while it was in use; start this process again"
            )

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._lock)

    def _claim(self, gallery: str, enrolled: Callable[[], Collection[str]]) -> None:
        """Refuse the folder unless it is the gallery's; mark an empty one, and one that an earlier version wrote."""
        marker = self.folder / _MARKER
        if marker.exists():
            owner = _owner(marker)
            if owner != gallery:
                raise GalleryError(
                    f"{self.folder}: holds the photos of another gallery ({owner}, and not {gallery}); name that one by "
                    "--gallery, or keep photos in an empty folder"
                )
            original = _original(self.folder, gallery, self._place_of_gallery)
            if original is not None:
                raise GalleryError(
                    f"{self.folder}: holds the photos of {original}, of which this gallery is a copy; keep photos in an empty "
                    "folder, or remove that gallery first"
                )
            self._note_place(marker, gallery)
            return
        found = _held(self.folder)
        if found and not _is_store(found, enrolled):
            raise GalleryError(
                f"{self.folder}: holds {found[0].name} and is not this gallery's folder of photos; expected an empty folder, "
                "or the one that was named with this gallery before"
            )
        with atomic_write(marker, private=True) as temporary:
            temporary.write_text(self._marked(gallery), encoding="utf-8")
            self._give_to_owner(os.open(temporary, os.O_RDONLY | os.O_NOFOLLOW))

    def _marked(self, gallery: str) -> str:
        place = {} if self._place_of_gallery is None else {"place": os.path.realpath(self._place_of_gallery)}
        return json.dumps({"gallery": gallery} | place) + "\n"

    def _note_place(self, marker: Path, gallery: str) -> None:
        """Write where the gallery is by now into the marker as it is: others hold it locked, so no other file takes its place."""
        new, before = self._marked(gallery), marker.read_text(encoding="utf-8")
        if self._place_of_gallery is not None and new.strip() != before.strip():
            with marker.open("r+b", buffering=0) as file:
                file.write(new.strip().ljust(len(before) - 1).encode() + b"\n")

    def _settle(self, enrolled: Callable[[], Collection[str]]) -> None:
        """Keep or remove each pending image, as its row says: a process was killed before it did."""
        pending = [path for path in self._pending.iterdir() if _PHOTO.fullmatch(path.name) and _is_image(path)]
        if not pending:
            return
        with contextlib.suppress(TimeoutError), locked(self._lock, 0.0):  # else another service is writing
            known = set(enrolled())
            for path in pending:
                if path.name in known:
                    self._keep(path.name)
                else:
                    path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """One writer at a time: what one deletes would else take what another enrols again meanwhile, which bears one name.

        Raises:
            GalleryUnavailableError: if another process does not end its turn.
            GalleryReplacedError: if another folder, or none, lies in the place of the one that was opened.
        """
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(self._lock))
            except TimeoutError as error:
                raise GalleryUnavailableError(
                    f"{self.folder}: another process is writing there; try again soon"
                ) from error
            self.refuse_replaced()
            yield

    def _write(self, images: Mapping[str, bytes]) -> None:
        try:
            for photo, data in images.items():
                self._make_folder(self._place(photo).parent)
                with os.fdopen(self._create(self._pending / photo), "wb") as file:
                    file.write(data)
        except OSError as error:
            with contextlib.suppress(OSError):
                self._discard(images)
            said = (error.strerror or str(error)).lower()
            raise GalleryFullError(f"{self.folder}: can't be written to ({said}); nothing was enrolled") from error

    def _make_folder(self, folder: Path) -> None:
        """Make a folder where there is none. One that is there stays whose it is, and may be no link."""
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            self._give_to_owner(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW))
        if folder.is_symlink():
            raise NotADirectoryError(errno.ENOTDIR, f"{folder.name} is a link")

    def _create(self, path: Path) -> int:
        """A new file in the place of an unfinished one."""
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        self._give_to_owner(os.dup(descriptor))
        return descriptor

    def _give_to_owner(self, descriptor: int) -> None:
        """What root has made, as by sudo, belongs to whom the folder belongs: a service, which has to read and delete it.

        Where root may not give it away, as in a container without that right, it stays root's.
        """
        try:
            if os.geteuid() == 0:
                owner = self.folder.stat()
                with contextlib.suppress(OSError):
                    os.fchown(descriptor, owner.st_uid, owner.st_gid)
        finally:
            os.close(descriptor)

    def _keep(self, photo: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self._pending / photo).replace(self._place(photo))

    def _discard(self, photos: Collection[str]) -> None:
        for photo in photos:
            (self._pending / photo).unlink(missing_ok=True)

    def _places(self, photo: str) -> tuple[Path, Path, Path]:
        """Paths where an image may lie; the last is looked at again, as it may be moved there meanwhile."""
        place = self._place(photo)
        return place, self._pending / photo, place

    def _place(self, photo: str) -> Path:
        if not _PHOTO.fullmatch(photo):
            raise GalleryError(f"photo {photo!r}: expected an id of 32 hexadecimal digits")
        return self.folder / photo[:2] / photo


def _is_image(path: Path) -> bool:
    """Tell whether a kept image lies there, and no folder, link or pipe of others."""
    return path.is_file() and not path.is_symlink()


def refuse_used_folder(folder: Path) -> None:
    """Raise an error unless a folder is new or empty, as the one for a new gallery must be.

    Raises:
        GalleryError: if it is neither.
    """
    if folder.exists() and not folder.is_dir():
        raise GalleryError(f"{folder}: is no folder, so photos can't be kept there; name another --keep-photos")
    used = _held(folder) if folder.exists() else []
    if used:
        raise GalleryError(
            f"{folder}: holds {used[0].name}, and the gallery is new; expected an empty folder, or the gallery whose photos "
            "these are"
        )


def _held(folder: Path) -> list[Path]:
    """What lies in a folder, but for what a file system puts there, and a kill that comes while the marker is written."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.name not in _OF_FILE_SYSTEMS and not _UNFINISHED_MARKER.fullmatch(path.name)
    )


def refuse_kept_elsewhere(noted: Collection[Path], photos: Path | None, gallery: str, place: Path | None) -> None:
    """Raise an error where a gallery keeps its photos in another folder than the one that is named now, or none is named.

    What is deleted would stay there for ever. The folder of a gallery that this is a copy of is none.

    Args:
        noted: where the folder may be, as the gallery remembers it; empty where it never kept photos.
        photos: the folder that is named now.
        gallery: id of the gallery.
        place: its file or folder.

    Raises:
        GalleryError: if it does, or if the named folder is the noted one and has lost its marker: it may not be mounted.
    """
    holding = [folder for folder in noted if _holds(folder, gallery, place)]
    named = photos is not None and any(is_one_file(folder, photos) for folder in holding)
    if holding and not named:
        raise GalleryError(
            f"{holding[0]}: has the photos of this gallery, and what is deleted has to go there too; expected --keep-photos "
            f"{holding[0]}"
        )
    if photos is not None and photos.resolve() in noted and not (photos / _MARKER).exists():
        raise GalleryError(
            f"{photos}: had the photos of this gallery and has none of them now; mount or restore the folder, or name another, "
            "empty one, if they are lost"
        )


def are_gone(noted: Collection[Path], gallery: str) -> bool:
    """True where a gallery kept photos, and no folder that it remembers has any of it or of one that it is a copy of."""
    return bool(noted) and not any(_is_marked(folder, gallery) for folder in noted)


def _is_marked(folder: Path, gallery: str) -> bool:
    return (folder / _MARKER).exists() and _owner(folder / _MARKER) == gallery


def _has_images(folder: Path) -> bool:
    return any(_PHOTO.fullmatch(path.name) for path in folder.glob("*/*"))


def _holds(folder: Path, gallery: str, place: Path | None) -> bool:
    """True where photos of a gallery are in a folder, and they are not those of a gallery that it is a copy of."""
    try:
        return _is_marked(folder, gallery) and _has_images(folder) and _original(folder, gallery, place) is None
    except OSError as error:
        said = (error.strerror or str(error)).lower()
        raise GalleryError(f"{folder}: has the photos of this gallery and can't be read ({said})") from error


def _original(folder: Path, gallery: str, place: Path | None) -> Path | None:
    """The gallery that keeps its photos in a folder, if it is there still and the one at another place is a copy of it."""
    named = parse_json(read_regular_text(folder / _MARKER)).get("place")
    if place is None or named is None or is_one_file(Path(str(named)), place):
        return None
    found = gallery_at(Path(str(named)))
    if found is None or found[0] != gallery:
        return None
    elsewhere = bool(found[1]) and not any(is_one_file(folder, each) for each in found[1])
    return None if elsewhere else Path(str(named))  # where the folder was copied too, the original has its own


def _owner(marker: Path) -> str:
    """The id of the gallery that a marker names."""
    try:
        owner = parse_json(read_regular_text(marker))["gallery"]
    except (ValueError, KeyError, TypeError) as error:
        raise GalleryError(
            f"{marker}: is damaged, so whose photos these are is unknown; restore it from a backup"
        ) from error
    return str(owner)


def _is_store(found: Collection[Path], enrolled: Callable[[], Collection[str]]) -> bool:
    """True where everything in a folder has the form of kept images, and one of them is this gallery's."""
    photos = [photo for path in found if path.is_dir() for photo in path.iterdir()]
    formed = all(path.is_dir() and not path.is_symlink() and len(path.name) == 2 for path in found) and all(
        _PHOTO.fullmatch(photo.name) and photo.name.startswith(photo.parent.name) and photo.is_file()
        for photo in photos
    )
    return formed and not {photo.name for photo in photos}.isdisjoint(enrolled())
