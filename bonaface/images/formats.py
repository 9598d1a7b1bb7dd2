"""Format of an image file, told by its content and not by its name, and a reader that has parsed its header alone."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import PIL
from PIL import Image

from bonaface.errors import DataError

__all__ = ["READ", "open_image"]

READ = "JPEG, PNG, WebP, TIFF, AVIF, JPEG 2000, HEIC, BMP or GIF"
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}
_AVIF_BRANDS = {b"avif", b"avis"}


@dataclass(frozen=True)
class _Format:
    """A format, the bytes that its files start with, and Pillow's plugin for it, imported where there is such a file."""

    name: str
    starts: tuple[bytes, ...]
    plugin: str
    reader: str

    def load(self) -> Callable[[io.BytesIO], Image.Image]:
        reader: Callable[[io.BytesIO], Image.Image] = getattr(import_module(f"PIL.{self.plugin}"), self.reader)
        return reader


# Readers parse the header only. They are called directly, and not through Image.open, which tries every format of the library and
# warns about large images before their size can be asked for.
_FORMATS = (
    _Format("JPEG", (b"\xff\xd8\xff",), "JpegImagePlugin", "jpeg_factory"),
    _Format("PNG", (b"\x89PNG\r\n\x1a\n",), "PngImagePlugin", "PngImageFile"),
    _Format("WebP", (b"RIFF",), "WebPImagePlugin", "WebPImageFile"),
    _Format("TIFF", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "TiffImagePlugin", "TiffImageFile"),
    _Format("JPEG 2000", (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n"), "Jpeg2KImagePlugin", "Jpeg2KImageFile"),
    _Format("BMP", (b"BM",), "BmpImagePlugin", "BmpImageFile"),
    _Format("GIF", (b"GIF8",), "GifImagePlugin", "GifImageFile"),
)
_AVIF = _Format("AVIF", (), "AvifImagePlugin", "AvifImageFile")


def open_image(data: bytes, name: str) -> tuple[Image.Image, str]:
    """An image whose header has been read and whose pixels have not; and the name of its format.

    Raises:
        DataError: if the data is no image, its header is damaged, or what reads its format isn't installed.
    """
    kind, reader = _reader(data, name)
    try:
        return reader(io.BytesIO(data)), kind
    except DataError:
        raise
    except Exception as error:
        if "not installed" in str(error):  # of a Pillow that was built without the format's library
            raise _unread(kind, name) from error
        # PIL's plugins raise whatever their parsing stumbles on: SyntaxError, struct.error, ValueError, OSError, ...
        raise DataError(f"{name}: has a damaged or cut-off header; expected a whole image") from error


def _reader(data: bytes, name: str) -> tuple[str, Callable[[io.BytesIO], Image.Image]]:
    for each in _FORMATS:
        if data.startswith(each.starts):
            return each.name, _loaded(each, name)
    if data[4:8] == b"ftyp":
        size = min(int.from_bytes(data[:4], "big"), 256)
        brands = {data[8:12], *(data[at : at + 4] for at in range(16, size, 4))}
        if brands & _AVIF_BRANDS:
            return _AVIF.name, _loaded(_AVIF, name)
        if brands & _HEIC_BRANDS:
            return "HEIC", _heic_reader(name)
    raise DataError(f"{name}: is {_what_else(data)}; expected a {READ} image")


def _loaded(kind: _Format, name: str) -> Callable[[io.BytesIO], Image.Image]:
    try:
        return kind.load()
    except ImportError as error:
        raise _unread(kind.name, name) from error


def _unread(kind: str, name: str) -> DataError:
    return DataError(
        f"{name}: is {kind}, which the installed Pillow {PIL.__version__} does not read; expected 11.3 or later"
    )


def _heic_reader(name: str) -> Callable[[io.BytesIO], Image.Image]:
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise DataError(f"{name}: is HEIC, which needs pillow-heif: pip install 'bonaface[heic]'") from error
    reader: Callable[[io.BytesIO], Image.Image] = HeifImageFile
    return reader


def _what_else(data: bytes) -> str:
    """Names what a file is that is no image."""
    if not data:
        return "empty"
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in start:
        return "an SVG drawing"
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or b"<html" in start:
        return "a web page"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer"
    if start.startswith(b"%pdf"):
        return "a PDF"
    if data[4:8] == b"ftyp":
        return "a video"
    return "of an unknown format"
