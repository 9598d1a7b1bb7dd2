"""A folder of hostile files: each is a clear answer, none a fault, and none takes long."""

import io
import struct
import time
import zipfile
import zlib

import pytest
from pattern_service import files, random_image
from PIL import Image

pytest_plugins = ("pattern_service",)


def _saved(kind: str, size=(64, 64), **how) -> bytes:
    written = io.BytesIO()
    Image.effect_noise(size, 60).convert("RGB").save(written, kind, **how)
    return written.getvalue()


def _png_of(width: int, height: int) -> bytes:
    """A PNG that says it is large, and compresses to nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10**6), 9))
        + chunk(b"IEND", b"")
    )


def _zip_behind(data: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        writer.writestr("a.txt", "a")
    return data + archive.getvalue()


HOSTILE = {
    "empty": b"",
    "one byte": b"\xff",
    "html": b"<!doctype html><html><body>no</body></html>",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "svg with xml head": b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]><svg>&a;</svg>',
    "pdf": b"%PDF-1.7\n1 0 obj\n",
    "zip": _zip_behind(b""),
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "half a tiff": _saved("TIFF")[:60],
    "decompression bomb": _png_of(60_000, 60_000),
    "wide bomb": _png_of(2**31 - 1, 1),
    "no pixels": _png_of(0, 10),
    "cut jpeg": _saved("JPEG", (400, 400))[:3000],
    "cut png": _saved("PNG")[:-30],
    "jpeg of zeros": b"\xff\xd8\xff\xe0" + bytes(5000),
    "gif header": b"GIF89a",
    "webp header": b"RIFF\xff\xff\xff\xffWEBPVP8 ",
    "bmp of lies": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 2**30, 2**30, 1, 24, 0, 0, 0, 0, 0, 0),
    "jpeg and zip": _zip_behind(_saved("JPEG")),
    "png and html": _saved("PNG") + b"<html><script>alert(1)</script></html>",
    "gif and javascript": b"GIF89a/*" + bytes(40) + b"*/=1;<script src=x></script>",
    "jpeg with php in its comment": _saved("JPEG", comment=b"<?php system($_GET[0]); ?>"),
    "jpeg with a drawing in its comment": _saved("JPEG", comment=b"<svg onload=alert(1)>"),
    "jpeg and html": _saved("JPEG") + b"<html>hello",
    "pdf in an image": b"\x89PNG\r\n\x1a\n%PDF-1.4" + bytes(100),
    "git lfs pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_each_is_refused_in_a_sentence(make_client, name):
    client = make_client()
    started = time.perf_counter()
    answer = client.post("/v1/verify", files=files(first=random_image(1), second=HOSTILE[name]))
    assert answer.status_code == 422, answer.text
    said = answer.json()
    assert said["type"] in ("urn:bonaface:image", "urn:bonaface:request")
    assert "second" in said["detail"]
    assert "Traceback" not in said["detail"]
    assert time.perf_counter() - started < 10


def test_none_of_them_is_enrolled_or_left_anywhere(client, tmp_path):
    for data in HOSTILE.values():
        assert client.post("/v1/people/ann/photos", files=files(photos=[random_image(1), data])).status_code == 422
    assert client.get("/v1/people").json()["people"] == []
    assert not [path for path in (tmp_path / "photos").glob("*/*") if path.is_file()]


def test_what_cameras_write_is_no_second_format(make_client):
    """Trailing data of other kinds than pages and archives is what phones add: motion photos, maps of depth."""
    client = make_client()
    phone = _saved("JPEG") + b"MotionPhoto_Data" + b"\x00\x00\x00\x18ftypmp42" + bytes(2000)
    assert client.post("/v1/verify", files=files(first=phone, second=_saved("WEBP"))).status_code == 200


@pytest.mark.parametrize("chance", [b"PK\5\6", b"<svg ", b"<HTml", b"<?PhP"])
def test_a_few_bytes_as_compressed_pixels_hold_are_no_second_format(chance, make_client):
    client = make_client()
    photo = _saved("JPEG", comment=chance + bytes(range(128, 160)))
    assert client.post("/v1/verify", files=files(first=photo, second=_saved("WEBP"))).status_code == 200


@pytest.mark.parametrize("filename", ["../../etc/passwd", "a\x00b.png", "x" * 5000, "<script>.png", "é" * 300])
def test_the_clients_file_names_are_not_used(make_client, filename):
    client = make_client()
    answer = client.post(
        "/v1/verify", files=[("first", (filename, random_image(1))), ("second", (filename, b"<html>"))]
    )
    assert answer.status_code == 422
    assert filename[:40] not in answer.text


@pytest.mark.parametrize(
    "body",
    [b"", b"--x\r\n", b"--x\r\nContent-Disposition: form-data; name=first\r\n\r\n", b"\xff" * 1000, b"--x--\r\n" * 3],
)
def test_bodies_that_are_no_forms(make_client, body):
    client = make_client()
    answer = client.post("/v1/verify", content=body, headers={"content-type": "multipart/form-data; boundary=x"})
    assert answer.status_code == 422
    assert client.post("/v1/verify", content=b"{}", headers={"content-type": "application/json"}).status_code == 422
