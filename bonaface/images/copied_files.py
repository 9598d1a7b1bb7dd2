"""Files that are copies of one photo, as a verdict has it: alike as a whole, and where the face is."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from bonaface.assets import shipped_detector
from bonaface.errors import DataError
from bonaface.images.alignment import Aligner
from bonaface.images.copies import Thumbprint, are_copies, thumbprint
from bonaface.images.decoding import decode
from bonaface.images.quality import faces_of

__all__ = ["CopiedFiles"]


class CopiedFiles:
    """Says whether two files are copies of one photo; each is read once. It can be used by several threads.

    Perceptual hashes find candidates among many, but those of two people in front of one camera are equal where the faces are
    small: here the faces are compared. Of images without a face the whole is.

    Example:
        >>> CopiedFiles()(Path("gone.jpg"), Path("gone too.jpg"))
        False
    """

    def __init__(self) -> None:
        self._prints: dict[Path, Thumbprint | None] = {}

    def __call__(self, a: Path, b: Path) -> bool:
        """True for two files of one photo; False also where one can't be read."""
        return are_copies(self._print(a), self._print(b))

    @cached_property
    def _aligner(self) -> Aligner:
        return Aligner(shipped_detector())

    def _print(self, path: Path) -> Thumbprint | None:
        if path not in self._prints:
            try:
                image = decode(path)
            except DataError:
                self._prints[path] = None
            else:
                faces = faces_of(self._aligner.faces(image))
                self._prints[path] = thumbprint(image, faces[0].box if faces else None)
        return self._prints[path]
