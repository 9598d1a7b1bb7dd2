"""From an image, in a file or in memory, to its pixels, or to one sentence that says why there are none."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bonaface.errors import DataError
from bonaface.images.formats import open_image
from bonaface.images.jpeg import TooManyScansError, decode_jpeg, is_in_one_scan
from bonaface.images.jpeg2000 import halvings
from bonaface.images.quiet import png_without_remarks, quiet_libtiff, quiet_opencv
from bonaface.locks import ThreadLock
from bonaface.reading import open_regular

__all__ = [
    "IMAGE_TYPES",
    "MAX_PIXELS",
    "ImageSource",
    "decode",
    "decode_bytes",
    "name_of",
    "read_file",
    "refuse_no_image",
    "refuse_url",
]

ImageSource: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image | NDArray[Any]"
"""A path, the bytes of an image file, a PIL image, or RGB pixels of shape ``(h, w, 3)``, uint8."""

IMAGE_TYPES = str, os.PathLike, bytes, bytearray, memoryview, Image.Image, np.ndarray
"""The types of an ``ImageSource``."""

MAX_PIXELS = 250_000_000
"""Images of more pixels than this are refused by their header."""
_KEPT_PIXELS = 40_000_000
"""Images above this come at a half, a quarter or an eighth of their scale."""
_WHOLE_PIXELS = 64_000_000
"""Formats that have no smaller scale are decoded up to here: 0.3 GB while it lasts, 1.2 GB of 16 bits a colour or of JPEG 2000."""
_SCANS_PIXELS = 80_000_000
"""Of a JPEG in several scans, as a progressive one is, the decoder holds all coefficients, 3 to 6 bytes a pixel."""
_MAX_BYTES = 512_000_000

_EXIF_ORIENTATION = 0x0112
_UPRIGHT = 1
_TWELVE_BITS = 4095
_STRIP = 256
_STRIPWISE_PIXELS, _STRIP_PIXELS = 2_000_000, 250_000
_LARGE_PIXELS = 16_000_000
_one_large = ThreadLock()
"""Threads decode images of more than 16 megapixels one after another: what that takes is taken once."""
_one_pil = ThreadLock()
_FAX = ("tiff_ccitt", "group3", "group4", "tiff_raw_16")
"""Pillow's names of compressions in black and white alone; libtiff passes over their damage, with a line for each row."""
_NO_FILE = re.compile(r"(data:)|(https?|ftp|s3|gs|file):/", re.IGNORECASE)
_LONGEST_NAME = 160

_TURNS: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {  # EXIF 2.32, 4.6.4
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: stored.transpose(1, 0, 2)[:, ::-1],
    7: lambda stored: stored.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda stored: stored.transpose(1, 0, 2)[::-1],
}


class _DamagedError(Exception):
    """Part of the pixels is missing."""


class _OtherPixelsError(Exception):
    """The pixels are of a kind that is not read."""


def decode(source: ImageSource, name: str | None = None, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Reads an image as upright 8-bit RGB.

    Reads JPEG, PNG, WebP, TIFF, AVIF, JPEG 2000, BMP and GIF, and HEIC where pillow-heif is installed, told apart by content and
    not by name. EXIF orientation is applied; CMYK, grey and palette become RGB; of 16 bits the upper 8 are kept, unless all values
    fit 12 bits: those are stretched by their maximum; transparent pixels are laid on white. Of an animation or a file of several
    pages the first picture is taken, of a HEIC of several pictures its primary one. Images of more than 40 megapixels come at a
    half, a quarter or an eighth of their scale, so that memory is bounded. Where a program sets Pillow's
    ``LOAD_TRUNCATED_IMAGES``, files that are cut short are read as far as they go, here too.

    Args:
        source: the image.
        name: what messages call it (default: its path, or "image").
        max_pixels: width times height above which an image is refused without decoding it.

    Returns:
        Pixels of shape ``(height, width, 3)``, contiguous and writable.

    Raises:
        DataError: if the file is missing, empty, cut short, damaged, too large, or no image of these formats.
        TypeError: if the source is of no kind that is read.

    Example:
        >>> decode(np.zeros((2, 3, 3), np.uint8)).shape
        (2, 3, 3)
        >>> decode("https://example.org/a.jpg")
        Traceback (most recent call last):
        bonaface.errors.DataError: https://example.org/a.jpg: is a URL; expected a file, so download it first
    """
    name = name or name_of(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return decode_bytes(bytes(source), name, max_pixels)
    if isinstance(source, np.ndarray):
        refuse_no_image(source, name)
        return np.ascontiguousarray(source)
    if isinstance(source, Image.Image):
        return _decode_pil(source, name, max_pixels)
    if isinstance(source, str | os.PathLike):
        return decode_bytes(read_file(source, name), name, max_pixels)
    raise TypeError(f"{name}: expected a path, bytes, a PIL image or an RGB array, got {type(source).__name__}")


def decode_bytes(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Reads an image from the bytes of its file; see :func:`decode`.

    Args:
        data: the whole content of the image's file.
        name: what error messages call the image.
        max_pixels: width times height above which an image is refused without decoding it.

    Returns:
        Pixels of shape ``(height, width, 3)``, contiguous and writable.

    Raises:
        DataError: if the data is empty, cut short, damaged, too large, or no image of a format that is read.

    Example:
        >>> import io
        >>> buffer = io.BytesIO()
        >>> Image.new("L", (4, 2), 7).save(buffer, "PNG")
        >>> decode_bytes(buffer.getvalue(), "grey.png")[0, 0]
        array([7, 7, 7], dtype=uint8)
    """
    image, kind = open_image(data, name)
    reduce = _reduction(image, kind, data, name, max_pixels)
    try:
        with _one_large if image.width * image.height > _LARGE_PIXELS else contextlib.nullcontext():
            if kind != "JPEG":
                pixels = _decode_other(image, kind, data, reduce)
            elif decode_jpeg(image, data, reduce):
                pixels = _to_rgb(image)
            else:
                raise _DamagedError
    except (_OtherPixelsError, TooManyScansError) as error:
        raise DataError(f"{name}: {error}") from error
    except Exception as error:
        raise DataError(f"{name}: is cut short or damaged; expected a whole image") from error
    turn = _TURNS.get(_orientation(image))
    return np.ascontiguousarray(pixels if turn is None else turn(pixels))


def read_file(source: str | os.PathLike[str], name: str | None = None) -> bytes:
    """The content of an image's file.

    Raises:
        DataError: if it can't be read, is larger than an image can be, or is a URL.
    """
    name = name or name_of(source)
    refuse_url(source, name)
    try:
        with open_regular(source) as stream:
            size = os.fstat(stream.fileno()).st_size
            data = stream.read() if size <= _MAX_BYTES else b""
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise DataError(f"{name}: can't be read ({reason}); expected an image") from error
    if size > _MAX_BYTES:
        raise DataError(f"{name}: is larger than {_MAX_BYTES / 1e6:g} MB; expected an image")
    return data


def refuse_url(source: str | os.PathLike[str], name: str) -> None:
    """Raises DataError where a path is a URL or a data URL."""
    if url := _NO_FILE.match(os.fspath(source)):
        what = "a data URL; expected a file" if url[1] else "a URL; expected a file, so download it first"
        raise DataError(f"{name}: is {what}")


def refuse_no_image(pixels: NDArray[Any], name: str = "image") -> None:
    """Raises DataError where an array is no RGB image of at least 2 x 2 pixels, uint8, shape ``(h, w, 3)``."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or min(pixels.shape[:2]) < 2:
        raise DataError(f"{name}: expected RGB uint8 of shape (h, w, 3), got {pixels.dtype} of shape {pixels.shape}")


def name_of(source: object) -> str:
    r"""The name of an image in messages: its path, shortened and with bytes that are no UTF-8 as escapes; or "image".

    Example:
        >>> name_of("caf\udce9.jpg"), len(name_of("data:image/png;base64," + 10_000 * "A")), name_of(b"")
        ('caf\\xe9.jpg', 160, 'image')
    """
    if not isinstance(source, str | os.PathLike):
        return "image"
    text = os.fsencode(source).decode("utf-8", "backslashreplace")
    half = (_LONGEST_NAME - 3) // 2
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 3 - half]}...{text[-half:]}"


def _reduction(image: Image.Image, kind: str, data: bytes, name: str, max_pixels: int) -> int:
    """Factor by which an image is decoded smaller: 1, 2, 4 or 8; refuses those that are too large."""
    width, height = image.size
    pixels = width * height
    if pixels == 0:
        raise DataError(f"{name}: is {width} x {height} pixels; expected an image of at least one pixel")
    if pixels > max_pixels:
        raise DataError(f"{name}: is {width} x {height} pixels; expected at most {max_pixels / 1e6:g} megapixels")
    limit, which = MAX_PIXELS, f"a {kind} "
    if kind == "JPEG 2000":
        limit, which = _WHOLE_PIXELS * 4 ** halvings(data), "a JPEG 2000 without enough smaller scales, "
    elif kind != "JPEG":
        limit = _WHOLE_PIXELS
    elif pixels > _SCANS_PIXELS and not is_in_one_scan(data):
        limit, which = _SCANS_PIXELS, "progressive or in several scans, "
    if pixels > limit:
        which += f"of {width} x {height} pixels"
        raise DataError(
            f"{name}: is {which}; expected at most {limit / 1e6:g} megapixels of it, or a JPEG in one scan, not progressive"
        )
    return next((each for each in (1, 2, 4) if pixels <= _KEPT_PIXELS * each**2), 8)


def _decode_other(image: Image.Image, kind: str, data: bytes, reduce: int) -> NDArray[np.uint8]:
    if reduce > 1 and kind == "JPEG 2000":
        own = min(reduce.bit_length() - 1, halvings(data))
        image.reduce = own  # type: ignore[assignment, method-assign]  # JPEG 2000's own: halvings
        reduce >>= own
    _load(image)
    if _deep_colour(image, kind, data):
        data = png_without_remarks(data) if kind == "PNG" else data
        with quiet_opencv():
            deep = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)  # Pillow keeps 8 bits of it
        if (
            deep is not None
            and deep.dtype == np.uint16
            and deep.ndim == 3
            and deep.shape[:2] == (image.height, image.width)
        ):
            order, most = cv2.COLOR_BGRA2RGBA if deep.shape[2] == 4 else cv2.COLOR_BGR2RGB, int(deep.max())
            return _strip_by_strip(
                image.size,
                reduce,
                lambda top, below: Image.fromarray(cv2.cvtColor(_eight_bits(deep[top:below], most), order)),
            )
    return _to_rgb(image, reduce)


def _load(image: Image.Image) -> None:
    if image.format == "TIFF":
        quiet_libtiff()
        if image.info.get("compression") in _FAX:
            raise _OtherPixelsError("is a TIFF in black and white as faxes are; expected grey or colour")
    image.load()


def _deep_colour(image: Image.Image, kind: str, data: bytes) -> bool:
    """True for a PNG or TIFF of 16 bits a colour."""
    if kind == "PNG":
        return data[24] == 16 and data[25] in (2, 6)  # IHDR: bit depth, colour type
    return kind == "TIFF" and image.mode in ("RGB", "RGBA") and 16 in image.tag_v2.get(258, ())  # type: ignore[attr-defined]


def _to_rgb(image: Image.Image, reduce: int = 1) -> NDArray[np.uint8]:
    """Any mode of Pillow to RGB, at ``1 / reduce`` of its scale."""
    if image.mode.startswith("I"):  # 16 bits of grey: Pillow's own conversion would clip them at 255
        values = np.asarray(image)
        image = Image.fromarray(_eight_bits(values, int(values.max())))
    if image.mode == "F":
        raise _OtherPixelsError("has floating-point pixels, whose black and white are not known; expected 8 or 16 bits")
    if reduce == 1 and image.width * image.height < _STRIPWISE_PIXELS:
        return np.array(_without_alpha(image))  # (h, w, 3)
    return _strip_by_strip(image.size, reduce, lambda top, below: image.crop((0, top, image.width, below)))


def _without_alpha(image: Image.Image) -> Image.Image:
    """RGB; transparent pixels are laid on white."""
    if image.has_transparency_data:
        image = image.convert("LA") if image.mode == "La" else image
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def _strip_by_strip(size: tuple[int, int], reduce: int, cut: Callable[[int, int], Image.Image]) -> NDArray[np.uint8]:
    """A large image as an array, in little memory, and four times as fast as Pillow's own conversion, which goes over all twice.

    Args:
        size: of the image, width first.
        reduce: of so many pixels a side one is made, their mean.
        cut: the rows from one to before another.
    """
    width, height = size
    made = np.empty((-(-height // reduce), -(-width // reduce), 3), np.uint8)
    rows = max(1, _STRIP_PIXELS // width // reduce) * reduce
    for top in range(0, height, rows):
        strip = _without_alpha(cut(top, min(top + rows, height)))
        strip = strip.reduce(reduce) if reduce > 1 else strip
        padded = np.frombuffer(strip.tobytes("raw", "RGBX"), np.uint8).reshape(
            strip.height, strip.width, 4
        )  # as it lies there
        start = top // reduce
        cv2.cvtColor(padded, cv2.COLOR_RGBA2RGB, dst=made[start : start + strip.height])
    return made


def _eight_bits(values: NDArray[Any], most: int) -> NDArray[np.uint8]:
    """The high byte of 16 bits; a scan of at most 12 bits, which that would leave black, is stretched by its maximum.

    Args:
        values: of the image, or of some of its rows.
        most: the whole image's maximum.
    """
    most = max(0, most)
    made = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), _STRIP):  # wider numbers of a whole scan would take gigabytes
        strip = values[start : start + _STRIP].clip(0).astype(np.uint32)
        if 0 < most <= _TWELVE_BITS:
            made[start : start + _STRIP] = strip * 255 // most
        else:
            made[start : start + _STRIP] = strip >> max(most.bit_length() - 8, 8)
    return made


def _decode_pil(image: Image.Image, name: str, max_pixels: int) -> NDArray[np.uint8]:
    """A PIL image's pixels. It reads its file when they are first asked for, which two threads must not do at once."""
    if image.width * image.height > min(max_pixels, _WHOLE_PIXELS):
        raise DataError(
            f"{name}: is {image.width} x {image.height} pixels; expected at most {_WHOLE_PIXELS / 1e6:g} megapixels"
        )
    closed = getattr(image, "fp", image) is None and bool(getattr(image, "tile", ()))  # before its pixels were read
    try:
        with _one_pil:
            _load(image)
            turn = _TURNS.get(_orientation(image))
        pixels = _to_rgb(image)
    except _OtherPixelsError as error:
        raise DataError(f"{name}: {error}") from error
    except Exception as error:
        closed |= "closed" in str(error)
        what = "is closed; expected an open" if closed else "is cut short or damaged; expected a whole"
        raise DataError(f"{name}: {what} image") from error
    return np.ascontiguousarray(pixels if turn is None else turn(pixels))


def _orientation(image: Image.Image) -> int:
    """Orientation of the stored image, 1 to 8 as EXIF 2.32 (4.6.4) numbers it; upright where its EXIF block can't be read.

    Of a PNG the block may follow the pixels, and Pillow turns TIFF itself and forgets how: so it is asked after decoding.
    """
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, _UPRIGHT))
    except Exception:
        return _UPRIGHT
