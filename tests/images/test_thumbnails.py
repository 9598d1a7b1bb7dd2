"""Thumbnails are small, and empty where an image can't be read."""

import base64
import io
from pathlib import Path

from PIL import Image

from bonaface.images.thumbnails import thumbnail


def test_a_thumbnail_is_a_small_jpeg(tmp_path: Path, write_image) -> None:
    uri = thumbnail(write_image(tmp_path / "a.png", 200))
    head, _, data = uri.partition(",")
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert head == "data:image/jpeg;base64"
    assert image.size == (96, 96)
    (tmp_path / "b.jpg").write_text("no image")
    assert thumbnail(tmp_path / "b.jpg") == ""
