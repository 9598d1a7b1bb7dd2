"""Uploaded files: few, small, and images only, by their content and never by their name."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import UploadFile

from bonaface.errors import DataError
from bonaface.service.errors import Problem
from bonaface.service.settings import ServiceSettings

__all__ = ["Upload", "read_uploads", "refuse_second_format"]

# Formats whose readers look for their start, or their directory, anywhere in a file: an image that is also one of them
# is made to be taken for both. Each of these needs five or more bytes in a row, which compressed pixels hardly ever hold.
_ACTIVE = re.compile(rb"<script|<html|<!doctype html|<svg[\s>]|<\?php|<iframe", re.IGNORECASE)
_ARCHIVES = (b"Rar!\x1a\x07", b"7z\xbc\xaf\x27\x1c", b"\x7fELF\x02\x01\x01")
_PDF_WITHIN = 1024


@dataclass(frozen=True)
class Upload:
    """An image as it came: its bytes, and what messages call it."""

    data: bytes
    name: str


async def read_uploads(files: Sequence[UploadFile], names: Sequence[str], settings: ServiceSettings) -> list[Upload]:
    """The content of uploaded files.

    Args:
        files: as the framework has parsed them.
        names: what messages call them; the client's own file names are not repeated.
        settings: limits.

    Raises:
        Problem: if there are too many, or one is too large.
    """
    if len(files) > settings.images:
        raise Problem("too-large", f"{len(files)} images in one request; expected at most {settings.images}")
    uploads = []
    for file, name in zip(files, names, strict=True):
        data = await file.read(settings.image_bytes + 1)
        if len(data) > settings.image_bytes:
            raise Problem("too-large", f"{name}: is larger than {settings.image_bytes:,} bytes; send a smaller image")
        uploads.append(Upload(data, name))
    return uploads


def refuse_second_format(data: bytes, name: str) -> None:
    """Refuse an image that can also be read as a page, a program or an archive.

    Raises:
        DataError: if it can.

    Example:
        >>> refuse_second_format(b"GIF89a...<script>alert(1)</script>", "first image")
        Traceback (most recent call last):
        bonaface.errors.DataError: first image: holds a web page or a program as well; expected an image and nothing else
    """
    if _ACTIVE.search(data) or b"%PDF-" in data[:_PDF_WITHIN]:
        raise DataError(f"{name}: holds a web page or a program as well; expected an image and nothing else")
    if any(magic in data for magic in _ARCHIVES) or zipfile.is_zipfile(io.BytesIO(data)):
        raise DataError(f"{name}: holds an archive or a program as well; expected an image and nothing else")
