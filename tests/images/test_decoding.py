import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from bonaface.errors import DataError
from bonaface.images import decoding
from bonaface.images.decoding import decode, decode_bytes

SHARED = Path(__file__).parents[3] / "shared" / "lfw-deepfakes"


def ramp(height: int = 24, width: int = 40) -> NDArray[np.uint8]:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (height + width)], 2).astype(np.uint8)


def encoded(pixels: NDArray[np.uint8] | Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True})])
def test_lossless_formats_give_the_same_pixels(kind: str, options: dict[str, object]) -> None:
    result = decode_bytes(encoded(ramp(), kind, **options), "x")
    assert result.dtype == np.uint8
    assert result.flags.c_contiguous
    assert result.flags.writeable
    np.testing.assert_array_equal(result, ramp())


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 40, "subsampling": 0}])
def test_jpeg_equals_pil(options: dict[str, object]) -> None:
    data = encoded(ramp(), "JPEG", **options)
    np.testing.assert_array_equal(decode_bytes(data, "x"), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def test_the_content_counts_and_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(ramp(), "PNG"))
    np.testing.assert_array_equal(decode(path), ramp())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = ramp()
    # EXIF 2.32, 4.6.4: where the stored rows and columns lie in the upright image.
    upright = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: stored.transpose(1, 0, 2)[:, ::-1],
        7: stored.transpose(1, 0, 2)[::-1, ::-1],
        8: stored.transpose(1, 0, 2)[::-1],
    }[orientation]
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    result = decode_bytes(encoded(stored, kind, exif=exif, **options), "x")
    assert result.shape == upright.shape
    assert np.abs(result.astype(int) - upright).max() <= 6


def test_a_broken_exif_block_does_not_cost_the_image() -> None:
    data = encoded(ramp(), "JPEG", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff\x01")
    assert decode_bytes(data, "x").shape == (24, 40, 3)


def test_cmyk_jpeg_keeps_its_colours() -> None:
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    result = decode_bytes(encoded(red, "JPEG", quality=100), "x")
    assert np.abs(result.astype(int) - [255, 0, 0]).max() <= 8


def test_grey_becomes_three_equal_channels() -> None:
    grey = ramp()[:, :, 0]
    for kind in ("JPEG", "PNG"):
        result = decode_bytes(encoded(grey, kind), "x")
        assert (result == result[:, :, :1]).all()
        assert np.abs(result[:, :, 0].astype(int) - grey).max() <= 8


def test_sixteen_bits_keep_their_high_byte() -> None:
    values = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    result = decode_bytes(encoded(Image.fromarray(values), "PNG"), "x")
    np.testing.assert_array_equal(result[:, :, 1], values // 256)


def test_one_bit_grey_is_black_and_white() -> None:
    bits = Image.fromarray(ramp()[:, :, 0] > 128)
    assert set(np.unique(decode_bytes(encoded(bits, "PNG"), "x"))) == {0, 255}


def test_transparency_is_laid_on_white() -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:, :4] = [10, 20, 30, 255]
    pixels[:, 4:] = [10, 20, 30, 0]
    for image in (Image.fromarray(pixels), Image.fromarray(pixels).quantize(4)):
        result = decode_bytes(encoded(image, "PNG"), "x")
        np.testing.assert_array_equal(result[0, 0], [10, 20, 30])
        np.testing.assert_array_equal(result[0, 7], [255, 255, 255])


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_an_animation_gives_its_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    result = decode_bytes(data, "x")
    assert np.abs(result.astype(int) - [255, 0, 0]).max() <= 8


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "empty"),
        (b"\n <!DOCTYPE html><html>404</html>", "a web page"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"%PDF-1.7", "a PDF"),
        (b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom", "a video"),
        (b"\x00\x01\x02\x03", "of an unknown format"),
    ],
)
def test_what_is_no_image_is_named(tmp_path: Path, data: bytes, what: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"a.jpg: is {what}; expected a JPEG, PNG"):
        decode(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.jpg: can't be read \(no such file"):
        decode(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="can't be read"):
        decode(tmp_path)


@pytest.mark.parametrize(("width", "height"), [(30_000, 30_000), (2**31 - 1, 2**31 - 1)])
def test_a_huge_image_is_refused_by_its_header(width: int, height: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match=f"{width} x {height} pixels; expected at most 250 megapixels"):
            decode_bytes(png_header(width, height), "x")


def test_the_limit_is_a_choice() -> None:
    data = encoded(ramp(24, 40), "JPEG")
    assert decode_bytes(data, "x", max_pixels=960).shape == (24, 40, 3)
    with pytest.raises(DataError, match=r"at most 0\.000959 megapixels"):
        decode_bytes(data, "x", max_pixels=959)


WHOLE = {
    "JPEG": encoded(ramp(64, 64), "JPEG"),
    "progressive": encoded(ramp(64, 64), "JPEG", progressive=True),
    "PNG": encoded(ramp(64, 64), "PNG"),
    "WEBP": encoded(ramp(64, 64), "WEBP"),
    "BMP": encoded(ramp(64, 64), "BMP"),
    "GIF": encoded(ramp(64, 64), "GIF"),
}


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(sorted(WHOLE)), cut=st.floats(0, 1, exclude_max=True))
def test_a_cut_off_image_is_refused_or_whole(kind: str, cut: float) -> None:
    data = WHOLE[kind][: int(len(WHOLE[kind]) * cut)]
    try:
        result = decode_bytes(data, "x")
    except DataError:
        return
    np.testing.assert_array_equal(result, decode_bytes(WHOLE[kind], "x"))


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(sorted(WHOLE)), data=st.data())
def test_damage_gives_pixels_or_a_sentence(kind: str, data: st.DataObject) -> None:
    damaged = bytearray(WHOLE[kind])
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        result = decode_bytes(bytes(damaged), "x", max_pixels=1_000_000)
    except DataError:
        return
    assert result.ndim == 3
    assert result.shape[2] == 3


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/lfw-deepfakes, real photos, isn't there")
def test_real_photos_equal_pil() -> None:
    photos = sorted((SHARED / "train" / "images").glob("0000000*/*.jpg"))
    assert photos
    for path in photos:
        np.testing.assert_array_equal(decode(path), np.asarray(Image.open(path).convert("RGB")))


@pytest.mark.parametrize("kind", ["TIFF", "AVIF", "JPEG2000"])
def test_further_formats_are_read(kind: str) -> None:
    options = {"quality": 100, "subsampling": "4:4:4"} if kind == "AVIF" else {}
    result = decode_bytes(encoded(ramp(), kind, **options), "x")
    assert np.abs(result.astype(int) - ramp()).max() <= (4 if kind == "AVIF" else 0)


def test_a_format_that_pillow_does_not_read_ends_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = encoded(ramp(), "AVIF")
    said = "ann: is AVIF, which the installed Pillow .* does not read; expected 11.3 or later"
    with monkeypatch.context() as before_avif:
        before_avif.setitem(sys.modules, "PIL.AvifImagePlugin", None)
        with pytest.raises(DataError, match=said):
            decode_bytes(photo, "ann")
    monkeypatch.setattr("PIL.AvifImagePlugin.SUPPORTED", False)  # built without its library
    with pytest.raises(DataError, match=said):
        decode_bytes(photo, "ann")


@pytest.mark.parametrize("scales", [1, 2, 6])
def test_a_large_jpeg_2000_comes_smaller_whatever_scales_it_holds(scales: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(ramp(240, 400), "JPEG2000", num_resolutions=scales)
    monkeypatch.setattr(decoding, "_KEPT_PIXELS", 240 * 400 // 16)
    monkeypatch.setattr(decoding, "_WHOLE_PIXELS", 240 * 400)
    assert np.abs(decode_bytes(data, "x").astype(int) - ramp(60, 100)).max() <= 5
    monkeypatch.setattr(decoding, "_WHOLE_PIXELS", 240 * 400 // 16)
    if scales == 6:
        assert decode_bytes(data, "x").shape == (60, 100, 3)
    else:
        with pytest.raises(
            DataError, match="x: is a JPEG 2000 without enough smaller scales, of 400 x 240 pixels; expected"
        ):
            decode_bytes(data, "x")


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("kind", ["TIFF", "AVIF"])
def test_their_orientation_is_applied_once(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": "4:4:4"} if kind == "AVIF" else {}
    upright = {1: ramp(), 3: ramp()[::-1, ::-1], 6: ramp().transpose(1, 0, 2)[:, ::-1]}[orientation]
    result = decode_bytes(encoded(ramp(), kind, exif=exif, **options), "x")
    assert result.shape == upright.shape
    assert np.abs(result.astype(int) - upright).max() <= 4


def test_heic() -> None:
    heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    heif.from_pillow(Image.fromarray(ramp(64, 64))).save(buffer, quality=100)
    assert np.abs(decode_bytes(buffer.getvalue(), "x").astype(int) - ramp(64, 64)).mean() < 3


def test_of_a_heic_of_several_pictures_the_primary_one_is_read(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    file, written = tmp_path / "two.heic", heif.HeifFile()
    for grey in (10, 200):
        written.add_from_pillow(Image.new("RGB", (64, 64), (grey, grey, grey)))
    written.save(file, primary_index=1)
    assert decode(file).mean() == pytest.approx(200, abs=3)


def test_threads_may_share_a_pil_image_that_is_not_loaded_yet(tmp_path):
    file = tmp_path / "large.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8)).save(file)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(4):
            with Image.open(file) as image:
                assert len({each.tobytes() for each in pool.map(decode, [image] * 8)}) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_reads_while_its_parent_does(tmp_path):
    """The thread that reads in the parent does not live on in it, and must not hold it up."""
    code = """
import os, signal, threading
from PIL import Image
from bonaface.images.decoding import decode
image = Image.effect_noise((9, 9), 9)
image.load = lambda: (inside.set(), forked.wait(20), Image.Image.load(image))
inside, forked = threading.Event(), threading.Event()
threading.Thread(target=decode, args=(image,)).start()
inside.wait(20)
child = os.fork()
if not child:
    signal.alarm(10)
    decode(Image.new("RGB", (9, 9)))
    os._exit(0)
print(os.waitpid(child, 0)[1])
forked.set()
"""
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert said.stdout == "0\n"


def test_a_closed_pil_image_is_called_closed():
    image = Image.new("RGB", (9, 9))
    image.close()
    with pytest.raises(DataError, match="image: is closed; expected an open image"):
        decode(image)


def test_premultiplied_grey_is_laid_on_white():
    image = Image.merge("LA", [Image.new("L", (9, 9), 50), Image.new("L", (9, 9), 0)])
    assert (decode(image.convert("La")) == 255).all()


def test_heic_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(DataError, match=r"a\.heic: is HEIC, which needs pillow-heif: pip install 'bonaface\[heic\]'"):
        decode_bytes(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "a.heic")


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000", "PNG", "TIFF"])
def test_large_images_are_decoded_at_a_smaller_scale(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    smooth = ramp(480, 640)
    data = encoded(smooth, kind)
    for pixels, reduce in ((480 * 640, 1), (480 * 640 - 1, 2), (480 * 640 // 16, 4)):
        monkeypatch.setattr(decoding, "_KEPT_PIXELS", pixels)
        result = decode_bytes(data, "x")
        assert result.shape == (480 // reduce, 640 // reduce, 3)
        shrunk = cv2.resize(smooth, None, fx=1 / reduce, fy=1 / reduce, interpolation=cv2.INTER_AREA)
        assert np.abs(result.astype(int) - shrunk).mean() < 2


@pytest.mark.skipif(sys.platform != "linux", reason="/proc has the peak")
def test_a_large_image_that_is_transparent_takes_little_memory(tmp_path: Path) -> None:
    Image.new("RGBA", (7990, 7990), (10, 200, 30, 128)).save(tmp_path / "a.png")
    code = (
        "import re, sys; from bonaface.images.decoding import decode; image = decode(sys.argv[1]); "
        "print(image.shape, image[0, 0], re.search(r'VmHWM:\\s*([0-9]+)', open('/proc/self/status').read())[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.png")], capture_output=True, text=True, check=True
    )
    said, _, kilobytes = done.stdout.rpartition(" ")
    assert said == "(3995, 3995, 3) [132 227 142]"
    assert int(kilobytes) < 500_000


def test_a_large_turned_jpeg_is_upright(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_KEPT_PIXELS", 48 * 64 // 4)
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_bytes(encoded(ramp(48, 64), "JPEG", exif=exif), "x").shape == (32, 24, 3)


def test_what_must_be_decoded_whole_is_refused_when_large() -> None:
    with pytest.raises(
        DataError, match=r"is a PNG of 20000 x 10000 pixels; expected at most 64 megapixels of it, or a JPEG"
    ):
        decode_bytes(png_header(20_000, 10_000), "x")


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_blocks": 8}])
@pytest.mark.parametrize("cut", ["the rest", "a piece"])
def test_a_jpeg_cut_in_its_middle_is_refused_though_it_ends_well(options: dict[str, object], cut: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    photo = cv2.resize(noise, (320, 240), interpolation=cv2.INTER_CUBIC)
    data = encoded(photo, "JPEG", quality=90, **options)
    assert decode_bytes(data, "x").shape == (240, 320, 3)
    gap = slice(len(data) // 2, -2) if cut == "the rest" else slice(len(data) // 2, len(data) * 3 // 4)
    damaged = data[: gap.start] + data[gap.stop :]
    with pytest.raises(DataError, match="is cut short or damaged"):
        decode_bytes(damaged, "x")


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 8}])
def test_a_whole_grey_jpeg_is_not_taken_for_a_cut_one(options: dict[str, object]) -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    np.testing.assert_array_equal(decode_bytes(encoded(grey, "JPEG", **options), "x"), grey)


def test_a_scan_of_twelve_bits_is_stretched_by_its_maximum() -> None:
    grey = np.linspace(0, 3000, 32 * 32).astype(np.uint16).reshape(32, 32)
    colour = np.stack([grey, grey[::-1], grey.T], axis=2)
    for kind in ("PNG", "TIFF"):
        np.testing.assert_array_equal(
            decode_bytes(encoded(Image.fromarray(grey), kind), "x")[:, :, 0], grey * 255.0 // 3000
        )
    for suffix in (".png", ".tiff"):
        data = cv2.imencode(suffix, colour[:, :, ::-1])[1].tobytes()
        np.testing.assert_array_equal(decode_bytes(data, "x"), colour * 255.0 // 3000)
        data = cv2.imencode(suffix, (colour * 20)[:, :, ::-1])[1].tobytes()
        np.testing.assert_array_equal(decode_bytes(data, "x"), colour * 20 // 256)


def test_everything_goes_through_one_door(tmp_path: Path) -> None:
    data = encoded(ramp(), "PNG")
    path = tmp_path / "a.png"
    path.write_bytes(data)
    for source in (path, str(path), data, Image.open(path), ramp()):
        np.testing.assert_array_equal(decode(source), ramp())
    with pytest.raises(
        DataError, match=r"image: expected RGB uint8 of shape \(h, w, 3\), got float64 of shape \(4, 4\)"
    ):
        decode(np.zeros((4, 4)))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("https://example.org/a.jpg", "https://example.org/a.jpg: is a URL; expected a file, so download it first"),
        ("data:image/png;base64," + 13_000 * "A", "is a data URL; expected a file"),
    ],
)
def test_what_is_no_file_is_said_and_not_repeated(source: str, said: str) -> None:
    for each in (source, Path(source)):
        with pytest.raises(DataError) as refused:
            decode(each)
        assert "URL; expected a file" in str(refused.value)
        assert len(str(refused.value)) < 250
    with pytest.raises(DataError, match=said):
        decode(source)


def test_a_name_that_is_no_utf8_can_be_printed(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")
    with pytest.raises(DataError) as refused:
        decode(path)
    assert r"caf\xe9.jpg: can't be read" in str(refused.value)
    str(refused.value).encode()
    Path(path).write_bytes(encoded(ramp(), "PNG"))
    np.testing.assert_array_equal(decode(path), ramp())


def test_floating_point_pixels_are_called_so():
    with pytest.raises(DataError, match="has floating-point pixels"):
        decode(Image.new("F", (8, 8)))
    written = io.BytesIO()
    Image.new("F", (8, 8)).save(written, "TIFF")
    with pytest.raises(DataError, match=r"^image: has floating-point pixels"):
        decode(written.getvalue())


@pytest.mark.parametrize("stray", [b"", b"\xff\xd0"])
@pytest.mark.parametrize("scans", [[[1, 2, 3]], [[1], [2], [3]]])
def test_what_has_to_be_held_as_a_whole_is_bounded(scans, stray):
    """libjpeg holds all coefficients wherever there are several scans, not of progressive images alone."""
    side = 8960

    def segment(marker, *body):
        return bytes([0xFF, marker]) + (sum(map(len, body)) + 2).to_bytes(2, "big") + b"".join(body)

    size, table = side.to_bytes(2, "big"), bytes([1, *[0] * 15, 0])
    parts = [
        b"\xff\xd8",
        segment(0xDB, bytes([0] + 64 * [1])),
        segment(0xC0, bytes([8]), size, size, bytes([3, 1, 17, 0, 2, 17, 0, 3, 17, 0])),
        segment(0xC4, bytes([0x00]), table),
        segment(0xC4, bytes([0x10]), table),
    ]
    blocks = (side // 8) ** 2
    parts.append(stray)  # a restart marker has no length
    for scan in scans:
        parts += [segment(0xDA, bytes([len(scan), *[each for one in scan for each in (one, 0)], 0, 63, 0]))]
        parts += [bytes(blocks * 2 * len(scan) // 8)]
    data = b"".join([*parts, b"\xff\xd9"])
    if len(scans) == 1:
        assert decode_bytes(data, "a.jpg").shape == (4480, 4480, 3)
    else:
        with pytest.raises(
            DataError, match="is progressive or in several scans, of 8960 x 8960 pixels; expected at most 80 mega"
        ):
            decode_bytes(data, "a.jpg")
