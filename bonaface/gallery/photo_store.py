"""Enrolled images on disk, where a setting says that they are kept: one file a photo, named by the photo's id."""

from __future__ import annotations

import re
from collections.abc import Container
from pathlib import Path

from bonaface.errors import DataError
from bonaface.gallery.database import GalleryFullError
from bonaface.io import atomic_write

__all__ = ["KeptPhotos"]

_NAME = re.compile("[0-9a-f]{32}")


class KeptPhotos:
    """A folder of images as they came.

    Args:
        folder: made where it is missing, for its owner alone.

    Raises:
        DataError: if it can't be made.

    Example:
        >>> import tempfile
        >>> kept = KeptPhotos(Path(tempfile.mkdtemp()) / "photos")
        >>> kept.write("0" * 32, b"an image")
        >>> kept.read("0" * 32), kept.sweep(known=set()), kept.read("0" * 32)
        (b'an image', 1, None)
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"{folder}: can't be made ({(error.strerror or str(error)).lower()}); choose another folder"
            ) from error

    def __contains__(self, photo: str) -> bool:
        return self._path(photo).is_file()

    def write(self, photo: str, data: bytes) -> None:
        """Keep an image; it is there whole or not at all.

        Raises:
            GalleryFullError: if the disk is full or the folder can't be written to.
        """
        path = self._path(photo)
        if not path.exists():
            try:
                with atomic_write(path, private=True) as temporary:
                    temporary.write_bytes(data)
            except DataError as error:
                raise GalleryFullError(str(error)) from error

    def read(self, photo: str) -> bytes | None:
        """The image; None where it was not kept."""
        path = self._path(photo)
        return path.read_bytes() if path.is_file() else None

    def remove(self, photo: str) -> None:
        """Take the image off the disk."""
        self._path(photo).unlink(missing_ok=True)

    def sweep(self, known: Container[str]) -> int:
        """Remove images that no row of the gallery speaks of, and how many: a process was killed before it wrote the row."""
        stray = [path for path in self.folder.glob("*/*") if path.is_file() and path.name not in known]
        for path in stray:
            path.unlink(missing_ok=True)
        return len(stray)

    def _path(self, photo: str) -> Path:
        if not _NAME.fullmatch(photo):
            raise DataError(f"photo {photo!r}: expected an id of 32 hexadecimal digits")
        return self.folder / photo[:2] / photo
