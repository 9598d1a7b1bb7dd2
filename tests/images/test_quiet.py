"""OpenCV prints nothing in a block, and what it printed before afterwards; its versions name its functions differently.

Other readers print nothing at all.
"""

import io
import struct
import subprocess
import sys
import threading
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from bonaface.errors import DataError
from bonaface.images.decoding import decode
from bonaface.images.quiet import png_without_remarks, quiet_opencv


@pytest.fixture(params=["up to 4.12", "from 4.13"])
def level(request, monkeypatch):
    """The level of a version, as a list of one."""
    now = [3]
    logging = SimpleNamespace(getLogLevel=lambda: now[0], setLogLevel=lambda new: now.__setitem__(0, new))
    if request.param == "from 4.13":
        monkeypatch.setattr(cv2.utils, "logging", logging, raising=False)
        return now
    monkeypatch.delattr(cv2.utils, "logging", raising=False)
    for name, function in vars(logging).items():
        monkeypatch.setattr(cv2, name, function, raising=False)
    return now


def test_it_is_silent_in_a_block(level):
    with quiet_opencv():
        assert level == [0]
    assert level == [3]
    with pytest.raises(ZeroDivisionError), quiet_opencv():
        _ = 1 / 0
    assert level == [3]


def test_the_last_thread_to_leave_puts_the_level_back(level):
    entered, left = threading.Event(), threading.Event()

    def other():
        with quiet_opencv():
            entered.set()
            left.wait(10)

    thread = threading.Thread(target=other)
    with quiet_opencv():
        thread.start()
        assert entered.wait(10)
    assert level == [0]
    left.set()
    thread.join()
    assert level == [3]


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def deep_png(extra: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    pixels = zlib.compress(8 * (b"\0" + 48 * b"\7"))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def tiff(compression: int, data: bytes, bits: int = 8, samples: int = 1, odd: range = range(0)) -> bytes:
    """Of 8 x 8 pixels; tags of ``odd`` numbers point behind the file."""
    start = 10 + 12 * (9 + len(odd)) + 4
    tags = [(256, 8), (257, 8), (258, bits), (259, compression), (262, 1), (273, start), (277, samples), (278, 8)]
    rows = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in [*tags, (279, len(data))]]
    rows += [struct.pack("<HHII", tag, 4, 10_000_000 + tag, 1_000_000_000 + tag) for tag in odd]
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(rows)) + b"".join(rows) + b"\0\0\0\0" + data


def test_no_reader_prints_of_a_hostile_file(tmp_path):
    files = {
        "lzw.tif": tiff(5, 64 * b"\x55"),
        "packbits.tif": tiff(32773, 64 * b"\x7f"),
        "tags.tif": tiff(1, bytes(64), odd=range(40_000, 40_100)),
        "samples.tif": tiff(1, bytes(64), samples=27_136),
        "times.png": deep_png(50 * chunk(b"tIME", b"\x07\xd0\1\1\0\0\0")),
        "profile.png": deep_png(chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(200)))),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    code = (
        "import contextlib, sys\nfrom bonaface.errors import DataError\nfrom bonaface.images.decoding import decode\n"
        "for path in sys.argv[1:]:\n    with contextlib.suppress(DataError):\n        decode(path)"
    )
    command = [sys.executable, "-c", code, *(str(tmp_path / name) for name in files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_png_keeps_its_pixels_and_its_transparency(mode):
    pixels = np.random.default_rng(1).integers(0, 65536, (9, 7, len(mode)), np.uint16)
    data = cv2.imencode(".png", pixels)[1].tobytes()
    extra = chunk(b"tIME", bytes(7)) + (chunk(b"tRNS", pixels[0, 0].byteswap().tobytes()) if mode == "RGB" else b"")
    plain = png_without_remarks(data[:33] + extra + data[33:])
    assert b"tIME" not in plain
    assert (b"tRNS" in plain) == (mode == "RGB")
    np.testing.assert_array_equal(
        cv2.imdecode(np.frombuffer(plain, np.uint8), cv2.IMREAD_UNCHANGED)[..., :3], pixels[..., :3]
    )


@pytest.mark.parametrize("compression", [2, 3, 4, 32771])
def test_a_fax_is_refused_whose_rows_are_read_or_not(compression, capfd):
    data = tiff(compression, 64 * b"\x55", bits=1)
    for source in (data, Image.open(io.BytesIO(data))):
        with pytest.raises(DataError, match="is a TIFF in black and white as faxes are; expected grey or colour"):
            decode(source)
    assert capfd.readouterr().err == ""
