"""From the bytes of an image to its pixels, or to one sentence that says why there are none."""

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, GifImagePlugin, Image, ImageOps, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from bonaface.errors import DataError

__all__ = ["MAX_PIXELS", "decode", "decode_bytes", "decode_pil"]

MAX_PIXELS = 40_000_000
"""Images of more pixels than this are refused by their header: 40 megapixels are 120 MB of RGB."""

_EXIF_ORIENTATION = 0x0112
_UPRIGHT = 1
_JPEG_END = b"\xff\xd9"

# Each reader parses the header only. They are called directly, and not through Image.open, which tries every format of
# the library and warns about large images before their size can be asked for.
_READERS: dict[bytes, Callable[[io.BytesIO], Image.Image]] = {
    b"\xff\xd8\xff": JpegImagePlugin.jpeg_factory,
    b"\x89PNG\r\n\x1a\n": PngImagePlugin.PngImageFile,
    b"RIFF": WebPImagePlugin.WebPImageFile,
    b"BM": BmpImagePlugin.BmpImageFile,
    b"GIF8": GifImagePlugin.GifImageFile,
}


def decode(path: Path, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Read an image as upright 8-bit RGB.

    Reads JPEG, PNG, WebP, BMP and GIF, told apart by content and not by name. EXIF orientation is applied; CMYK, grey
    and palette become RGB; 16-bit values keep their high byte; transparent pixels are laid on white; of an animation
    the first frame is taken.

    Args:
        path: the image.
        max_pixels: width times height above which an image is refused without decoding it.

    Returns:
        Pixels of shape ``(height, width, 3)``, contiguous and writable.

    Raises:
        DataError: if the file is missing, empty, cut short, damaged, too large, or no image of these formats.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{path}: can't be read ({reason}); expected an image") from error
    return decode_bytes(data, str(path), max_pixels)


def decode_bytes(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Read an image from memory as upright 8-bit RGB; see :func:`decode`.

    Args:
        data: the whole content of the image's file.
        name: what error messages call the image.
        max_pixels: width times height above which an image is refused without decoding it.

    Returns:
        Pixels of shape ``(height, width, 3)``, contiguous and writable.

    Raises:
        DataError: if the data is empty, cut short, damaged, too large, or no image of a format that is read.

    Example:
        >>> buffer = io.BytesIO()
        >>> Image.new("L", (4, 2), 7).save(buffer, "PNG")
        >>> decode_bytes(buffer.getvalue(), "grey.png")[0, 0]
        array([7, 7, 7], dtype=uint8)
        >>> decode_bytes(b"<html>404", "missing.jpg")
        Traceback (most recent call last):
        bonaface.errors.DataError: missing.jpg: is a web page; expected a JPEG, PNG, WebP, BMP or GIF image
    """
    reader = next((reader for magic, reader in _READERS.items() if data.startswith(magic)), None)
    if reader is None:
        raise DataError(f"{name}: is {_what_else(data)}; expected a JPEG, PNG, WebP, BMP or GIF image")
    try:
        image = reader(io.BytesIO(data))
    except Exception as error:
        # PIL's plugins raise whatever their parsing stumbles on: SyntaxError, struct.error, ValueError, OSError, ...
        raise DataError(f"{name}: has a damaged or cut-off header; expected a whole image") from error
    _refuse_size(image, name, max_pixels)
    if image.mode == "RGB" and data.startswith(b"\xff\xd8") and _orientation(image) == _UPRIGHT:
        fast = _decode_plain_jpeg(data)
        if fast is not None:
            return fast
    return _whole(image, name)


def decode_pil(image: Image.Image, name: str, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Upright 8-bit RGB of a PIL image; see :func:`decode`.

    Args:
        image: as ``PIL.Image.open`` returns it, or made in memory; of an animation the first frame is taken.
        name: what error messages call the image.
        max_pixels: width times height above which an image is refused without decoding it.

    Raises:
        DataError: if it is cut short, damaged or too large.
    """
    _refuse_size(image, name, max_pixels)
    return _whole(image, name)


def _refuse_size(image: Image.Image, name: str, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise DataError(f"{name}: is {width} x {height} pixels; expected at most {max_pixels / 1e6:g} megapixels")
    if width * height == 0:
        raise DataError(f"{name}: is {width} x {height} pixels; expected an image of at least one pixel")


def _whole(image: Image.Image, name: str) -> NDArray[np.uint8]:
    try:
        return _to_rgb(image)
    except Exception as error:
        raise DataError(f"{name}: is cut short or damaged; expected a whole image") from error


def _decode_plain_jpeg(data: bytes) -> NDArray[np.uint8] | None:
    """Twice as fast as PIL and equal to it; None where PIL has to judge the file.

    Some OpenCV versions fill what is missing of a cut-off file with grey and say nothing, so only a file with its end
    marker comes here.
    """
    if not data.endswith(_JPEG_END):
        return None
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    if pixels is None:
        return None
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Decode any mode of PIL to RGB."""
    image.seek(0)
    image.load()
    if _orientation(image) != _UPRIGHT:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits of grey: PIL's own conversion would clip them at 255
        grey = (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)  # (h, w, 3)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.array(image.convert("RGB"))  # (h, w, 3)


def _orientation(image: Image.Image) -> int:
    """How the image is stored, 1 to 8 as EXIF 2.32 (4.6.4) numbers it; upright where its EXIF block can't be read.

    Of a PNG the block may follow the pixels, so this decodes it.
    """
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, _UPRIGHT))
    except Exception:
        return _UPRIGHT


def _what_else(data: bytes) -> str:
    """Name what a file is that is no image."""
    if not data:
        return "empty"
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in start:
        return "an SVG drawing"
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or b"<html" in start:
        return "a web page"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer"
    return "of an unknown format"
