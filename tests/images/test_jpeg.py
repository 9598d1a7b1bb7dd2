"""JPEG files that were cut and closed by an end marker: refused, and whole ones never."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bonaface.errors import DataError
from bonaface.images.decoding import decode_bytes

END, SCAN = b"\xff\xd9", b"\xff\xda"
KINDS = ["plain", "subsampled", "grey", "cmyk", "turned", "restarts", "optimised"]


def photo(height=97, width=130, seed=0):
    """A smooth pattern with noise, as photos have."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(40, 215, (7, 7, 3)).astype(np.float32)
    image = np.asarray(Image.fromarray(coarse.astype(np.uint8)).resize((width, height)), np.float32)
    return Image.fromarray(np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8))


def jpeg(image, kind="plain"):
    settings = {
        "plain": {"subsampling": 0},
        "subsampled": {"subsampling": 2},
        "optimised": {"optimize": True},
        "restarts": {"restart_marker_blocks": 5},
    }
    if kind == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        settings["turned"] = {"exif": exif}
    image = image.convert({"grey": "L", "cmyk": "CMYK"}.get(kind, "RGB"))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88, **settings.get(kind, {}))
    return buffer.getvalue()


def cut(data, share):
    """A share of the scan's data, and an end marker."""
    begin = data.rfind(SCAN) + 14
    return data[: begin + int(share * (len(data) - 2 - begin))].rstrip(b"\xff") + END


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_cut_files_are_refused(kind, share):
    whole = jpeg(photo(), kind)
    decode_bytes(whole, "a.jpg")
    with pytest.raises(DataError, match=r"a\.jpg: is cut short or damaged; expected a whole image"):
        decode_bytes(cut(whole, share), "a.jpg")


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from([*KINDS, "progressive"]),
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    grey=st.integers(0, 255),
    flat=st.booleans(),
)
def test_whole_files_are_read_flat_corners_and_all(kind, height, width, grey, flat):
    image = Image.new("RGB", (width, height), (grey, grey, 255 - grey)) if flat else photo(height, width, grey)
    buffer = io.BytesIO()
    if kind == "progressive":
        image.save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue() or jpeg(image, kind)
    shape = decode_bytes(data, "a.jpg").shape
    assert shape == ((width, height, 3) if kind == "turned" else (height, width, 3))
    assert decode_bytes(data + bytes(40), "a.jpg").shape == shape


@pytest.mark.parametrize("kind", ["restarts", "turned"])
@pytest.mark.parametrize("hole", ["a segment", "eight segments", "within one", "across", "the last"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_hole_between_restart_markers_is_refused_without_a_word_of_the_library(kind, hole, mode, capfd):
    step = {"restarts": {"restart_marker_blocks": 3}, "turned": {"restart_marker_rows": 1, "subsampling": 2}}[kind]
    buffer = io.BytesIO()
    photo(320, 320).convert(mode).save(buffer, "JPEG", quality=88, **step)
    data = buffer.getvalue()
    assert decode_bytes(data, "whole.jpg").shape == (320, 320, 3)
    begin = data.rfind(SCAN) + 14
    marks = [at for at in range(begin, len(data)) if data[at] == 0xFF and 0xD0 <= data[at + 1] <= 0xD7]
    start, end = {
        "a segment": (marks[3], marks[4]),
        "eight segments": (marks[3], marks[11]),
        "within one": (marks[3] + 12, marks[4]),
        "across": (marks[3] + 12, marks[6] + 12),
        "the last": (marks[-1] + 4, len(data) - 2),
    }[hole]
    with pytest.raises(DataError, match="is cut short or damaged; expected a whole image"):
        decode_bytes(data[:start] + data[end:], "hole.jpg")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", ["plain", "subsampled", "grey", "cmyk", "turned", "optimised"])
@pytest.mark.parametrize(("letters", "expected"), [(255, 24), (256, 36)], ids=["values", "values and markers"])
def test_overwritten_bytes_are_noticed_without_a_word_of_the_library(kind, letters, expected, capfd):
    """All but the few whose blocks add up to as many as before by chance."""
    data, rng, noticed = jpeg(photo(320, 320), kind), np.random.default_rng(0), 0
    begin = data.rfind(SCAN) + 14
    for place in rng.integers(begin, len(data) - 402, 40):
        junk = rng.integers(0, letters, 400, dtype=np.uint8).tobytes()
        try:
            decode_bytes(data[:place] + junk + data[place + 400 :], "hole.jpg")
        except DataError:
            noticed += 1
    assert noticed >= expected
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", KINDS)
def test_what_cameras_leave_before_or_behind_the_end_is_no_damage(kind):
    data = jpeg(photo(), kind)
    expected = decode_bytes(data, "a.jpg")
    for odd in (data[:-2] + bytes(4) + END, data + jpeg(photo(40, 40), "plain"), data + bytes(range(256))):
        assert np.array_equal(decode_bytes(odd, "a.jpg"), expected)


def test_large_photos_are_converted_strip_by_strip_with_the_same_pixels():
    image = photo(1501, 1403)
    data = jpeg(image, "subsampled")
    with Image.open(io.BytesIO(data)) as read:
        assert np.array_equal(decode_bytes(data, "a.jpg"), np.asarray(read))


def scans(count, garbage=b""):
    """A grey JPEG of 64 x 64 whose coefficients come in that many scans, each of which brings nothing."""

    def segment(marker, body):
        return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body

    parts = [
        b"\xff\xd8",
        segment(0xDB, bytes([0] + 64 * [1])),
        segment(0xC2, bytes([8, 0, 64, 0, 64, 1, 1, 0x11, 0])),
        segment(0xC4, bytes([0x00, 1, *[0] * 15, 0])),
        segment(0xC4, bytes([0x10, 1, *[0] * 15, 0xE0])),
        segment(0xDA, bytes([1, 1, 0, 0, 0, 0])) + bytes(8),  # 64 means of 0, a bit each
    ]
    one = segment(0xDA, bytes([1, 1, 0, 1, 63, 0])) + bytes([0, 0])  # the end of all blocks
    return b"".join([*parts, garbage, one * count, END])


@pytest.mark.parametrize("garbage", [b"", b"\x00\x00"])
def test_a_decoder_is_not_kept_busy_by_scans(garbage):
    assert decode_bytes(scans(20), "a.jpg").shape == (64, 64, 3)
    with pytest.raises(DataError, match=r"a\.jpg: has more than 200 scans; expected a JPEG as cameras and programs"):
        decode_bytes(scans(1000, garbage), "a.jpg")


def test_what_only_looks_like_scans_is_no_scan():
    """As the raw values of a thermal camera beside the photo."""
    data = jpeg(photo())
    raw = b"\xff\xe1" + (2 + 2000).to_bytes(2, "big") + 1000 * SCAN
    assert decode_bytes(data[:2] + raw + data[2:], "a.jpg").shape == (97, 130, 3)
