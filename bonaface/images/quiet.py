"""OpenCV, libtiff, libpng and Pillow without what they print: our errors say what is wrong with a file.

Of a hostile file of a megabyte they print tens, which a service's log would have to hold.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import cv2
import PIL._imaging

from bonaface.locks import ThreadLock

__all__ = ["png_without_remarks", "quiet_libtiff", "quiet_opencv"]

# A line for each odd tag, which Python would also keep: it says each text once.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.\w+ImagePlugin")
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else Python prints what nobody handles

_SILENT = 0
_lock = ThreadLock()
_inside: list[int] = []
"""The level to go back to, once for each block that is being run: the level is the whole process's."""


@contextlib.contextmanager
def quiet_opencv() -> Iterator[None]:
    """Lets OpenCV print nothing until the last of the threads that are in such a block has left it."""
    logging: Any = getattr(cv2.utils, "logging", cv2)  # OpenCV up to 4.12 has its functions at the top
    with _lock:
        _inside.append(_inside[0] if _inside else logging.getLogLevel())
        logging.setLogLevel(_SILENT)
    try:
        yield
    finally:
        with _lock:
            before = _inside.pop()
            if not _inside:
                logging.setLogLevel(before)


@lru_cache(maxsize=1)
def quiet_libtiff() -> None:
    """Lets Pillow's libtiff print nothing, from here on; where it is part of Pillow's own file, it can't be reached."""
    with contextlib.suppress(AttributeError, OSError):
        library = ctypes.CDLL(PIL._imaging.__file__)  # through which those that it is linked to are found
        for setter in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
            setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
            setter(None)


def png_without_remarks(data: bytes) -> bytes:
    """A PNG's pixels and transparency alone: of other chunks libpng prints a line for each that it finds odd.

    Args:
        data: a PNG that Pillow has read.
    """
    kept, at, transparent = [data[:8]], 8, False
    while at + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        if kind in (b"IHDR", b"IDAT", b"IEND") or (kind == b"tRNS" and size == 6 and not transparent):
            transparent |= kind == b"tRNS"
            kept += [struct.pack(">I", size), kind, body, struct.pack(">I", zlib.crc32(kind + body))]
        at += 12 + size
        if kind == b"IEND":
            break
    return b"".join(kept)
