"""Names of a gallery's collections: they say the version, the model and the gallery.

A description and properties are not kept by all of Milvus's forms, a name is.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bonaface.errors import GalleryError

if TYPE_CHECKING:
    from bonaface.inference.embedder import Embedder

__all__ = ["PREFIX", "VERSION", "CollectionName", "ModelMark"]

VERSION = 1
PREFIX = "bonaface_"

_NAME = re.compile(r"bonaface_v(\d+)_([0-9a-f]+)_(\d+)_([01])_([0-9a-f]*)_([0-9a-f]{12,})")
_ID_DIGITS = 12
_NAME_BYTES = 40


@dataclass(frozen=True)
class ModelMark:
    """The model whose embeddings a gallery holds, as far as the gallery remembers it.

    Args:
        name: what messages call it.
        fingerprint: hexadecimal; changes whenever its answers would.
        dim: length of an identity vector.
        judges: whether it also judges authenticity.
        source: as ``--model`` names it, which a gallery does not remember; None for the shipped one.
    """

    name: str
    fingerprint: str
    dim: int
    judges: bool
    source: str | None = field(default="PATH", compare=False)

    @classmethod
    def of(cls, embedder: Embedder) -> ModelMark:
        """Facts of a model that a gallery remembers, and how it is named."""
        judges = "authenticity" in embedder.network.views
        return cls(embedder.name, embedder.fingerprint, embedder.network.dim, judges, embedder.source)


@dataclass(frozen=True)
class CollectionName:
    """The name of a collection, taken apart.

    Args:
        version: of the gallery's form.
        mark: the model.
        gallery: id of the gallery, 12 hexadecimal digits. It stays when the rows move to a new collection.
        unique: tells the gallery's collections apart; empty for the first.

    Example:
        >>> name = CollectionName.new(ModelMark("tiny", "ff", 16, True))
        >>> CollectionName.parse(str(name)) == name, CollectionName.parse("bonaface_backup")
        (True, None)
    """

    version: int
    mark: ModelMark
    gallery: str
    unique: str

    @classmethod
    def new(cls, mark: ModelMark, gallery: str = "") -> CollectionName:
        """A name that no other collection has, of a gallery or of a new one."""
        if not gallery:
            return cls(VERSION, mark, secrets.token_hex(_ID_DIGITS // 2), "")
        return cls(VERSION, mark, gallery, secrets.token_hex(4))

    def check_version(self, uri: str) -> CollectionName:
        """The name itself.

        Args:
            uri: of its gallery, for the message.

        Raises:
            GalleryError: if it is of another version.
        """
        if self.version != VERSION:
            raise GalleryError(
                f"{uri}: is a gallery of version {self.version}, expected {VERSION}: use the bonaface that made it"
            )
        return self

    @classmethod
    def parse(cls, name: str) -> CollectionName | None:
        """The parts of a name; None where it is no gallery's."""
        found = _NAME.fullmatch(name)
        if found is None or len(found[5]) % 2:
            return None
        called = bytes.fromhex(found[5]).decode(errors="replace")
        mark = ModelMark(called, found[2], int(found[3]), found[4] == "1")
        return cls(int(found[1]), mark, found[6][:_ID_DIGITS], found[6][_ID_DIGITS:])

    def __str__(self) -> str:
        called = self.mark.name.encode()[:_NAME_BYTES].hex()
        return (
            f"{PREFIX}v{self.version}_{self.mark.fingerprint}_{self.mark.dim}_{int(self.mark.judges)}_{called}"
            f"_{self.gallery}{self.unique}"
        )
