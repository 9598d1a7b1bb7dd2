"""Small images inside HTML pages."""

from __future__ import annotations

import base64
from pathlib import Path

import cv2

from bonaface.errors import DataError
from bonaface.images.crops import square
from bonaface.images.decoding import decode

__all__ = ["thumbnail"]

_SIDE = 96
_QUALITY = 82


def thumbnail(path: Path) -> str:
    """An image's centre square as a data URI: JPEG, 96 px. Empty where it can't be read (the report lists those).

    Args:
        path: the image.
    """
    try:
        image = square(decode(path), _SIDE)
    except (DataError, OSError):
        return ""
    written, data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode('ascii')}" if written else ""
