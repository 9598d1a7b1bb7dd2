"""JPEG files: whether one is whole, and its pixels at full or reduced scale.

libjpeg fills what is missing of a file with grey, skips what is too much, and says nothing that Pillow passes on. Two things give
damage away. A decoder that is given a file in parts asks for the last one if and only if the scan ends where it should; that costs
nothing. In scans that refine one another, and between restart markers, bytes that are put in before the end are read as the missing
part, while behind a whole image they are skipped; that takes a second decoding.
"""

from __future__ import annotations

import io
import random
import re
from array import array
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

__all__ = ["TooManyScansError", "decode_jpeg", "is_in_one_scan"]

_END = b"\xff\xd9"
_ALONE = (0x01, *range(0xD0, 0xD8))
"""Markers without a length, which decoders pass over wherever they stand."""
_SCAN, _FRAMES = 0xDA, (0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
_PROGRESSIVE = (0xC2, 0xCA)
_SEQUENTIAL = (0xC0, 0xC1)
_INTERVAL = 0xDD
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
# Within a scan 0xff is followed by 0 (a value), 0xff (padding) or a restart marker; anything else ends the scan.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_SLACK = 16
"""Bytes before the end that some cameras fill, and the last of a scan that may be damaged unseen."""
# A scan of 1 to 4 components: its marker, the header's length and their number. Other segments may hold the marker alone.
_SCAN_HEADER = re.compile(rb"\xff\xda\x00(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)")
_MOST_SCANS = 200
"""Programs write a progressive JPEG in some ten."""
_PADDING = b"\xff\x00" * 8
"""No code of any JPEG: the decoder looks eight bytes ahead, and what is missing can't be read from these."""
_SHORT_PROBE, _SHORTEST_PROBE = 64, 16
_PROBED_BYTES = 64_000_000
"""That probes may take together, in files of millions of restart markers."""
_SPARE = 8
_SMALL_PIXELS = 1_000_000
_PROBE = bytes(random.Random(0).choices(range(0xFF), k=4096))  # noqa: S311 - no marker among them


class TooManyScansError(Exception):
    """A few bytes a scan make a decoder work for hours."""


@dataclass
class _Structure:
    """End of a JPEG's image, and what its scans brought.

    Args:
        end: position of the end marker, or of the marker behind the last scan where what follows can't be followed; -1 where
            there is neither.
        progressive: whether scans refine one another.
        sequential: whether it is coded by Huffman's codes from top to bottom.
        scans: how many there are.
        first: how many components the first of them has.
        seen: lowest bit that is known, by component and coefficient.
        components: identifiers.
        sampling: horizontal and vertical sampling of each component.
        size: width and height.
        interval: blocks of pixels between two restart markers; 0 where there are none.
        restarts: positions of the restart markers.
        in_order: whether in each scan none of them is missing, and not half of them are too many.
    """

    end: int = -1
    progressive: bool = False
    sequential: bool = False
    scans: int = 0
    first: int = 0
    components: tuple[int, ...] = ()
    seen: dict[tuple[int, int], int] = field(default_factory=dict)
    sampling: dict[int, tuple[int, int]] = field(default_factory=dict)
    size: tuple[int, int] = (0, 0)
    interval: int = 0
    restarts: array[int] = field(default_factory=lambda: array("q"))
    in_order: bool = True

    @property
    def one_pass(self) -> bool:
        """True where one scan goes from top to bottom."""
        return self.sequential and self.scans == 1

    @property
    def complete(self) -> bool:
        """True once each component has its mean, and no coefficient waits for lower bits."""
        return not any(self.seen.values()) and all((each, 0) in self.seen for each in self.components)


class _Scans(io.BytesIO):
    """A file whose decoder is stopped at more scans than a camera or a program writes: each goes over all pixels anew."""

    scans, tail = 0, b""

    def read(self, size: int | None = -1, /) -> bytes:
        read = super().read(size)
        self.scans += len(_SCAN_HEADER.findall(self.tail + read))
        self.tail = read[-4:]
        if self.scans > _MOST_SCANS:
            raise TooManyScansError(
                f"has more than {_MOST_SCANS} scans; expected a JPEG as cameras and programs write it"
            )
        return read


class _InParts(_Scans):
    """A file of one scan that is read up to its last bytes, then up to its end, where padding follows, then wholly."""

    def __init__(self, data: bytes, end: int) -> None:
        super().__init__(b"".join([data[:end], _PADDING, data[end:]]))
        self.last, self.end = end - _SLACK, end + len(_PADDING)

    def read(self, size: int | None = -1, /) -> bytes:
        at = self.tell()
        stop = next((each for each in (self.last, self.end) if at < each), None)
        if stop is not None:
            size = stop - at if size is None or size < 0 else min(size, stop - at)
        return super().read(size)

    @property
    def ends_well(self) -> bool:
        """True where the decoder asked for the last bytes, and for no more."""
        return self.last < self.tell() <= self.end


def decode_jpeg(image: Image.Image, data: bytes, reduce: int = 1) -> bool:
    """Load the pixels of a JPEG whose header has been read.

    Args:
        image: the JPEG; its pixels are loaded at the smaller scale.
        data: the file's content.
        reduce: 1, 2, 4 or 8: how many times smaller the image shall be.

    Returns:
        True where the whole image is there; False where part of it is missing or damaged.

    Raises:
        TooManyScansError: if it is made to keep a decoder busy.
    """
    found = _structure(data)
    if found is not None and _has_hole(data, found):
        return False
    parts = _InParts(data, found.end) if found is not None and found.end > 0 and found.one_pass else None
    image.fp = parts or _Scans(data)  # type: ignore[attr-defined]
    image.draft(image.mode, (-(-image.width // reduce), -(-image.height // reduce)))
    image.load()
    if parts is not None:
        return parts.ends_well
    return found is None or found.end < 0 or not _is_cut(data, found, image, reduce)


def _has_hole(data: bytes, found: _Structure) -> bool:
    """True where part of a JPEG between two restart markers is missing.

    A file with restart markers is decoded twice more, one of more than a megapixel the means of its blocks alone.
    """
    if not found.restarts or found.end < 0:
        return not found.in_order
    scale = 1 if found.size[0] * found.size[1] <= _SMALL_PIXELS else 8
    return not (found.in_order and np.array_equal(_decoded(data, scale), _decoded(_probed(data, found), scale)))


def is_in_one_scan(data: bytes) -> bool:
    """True where a JPEG's pixels come from top to bottom; a decoder has to hold all of them where several scans bring them."""
    found = _structure(data)
    return found is not None and not found.progressive and found.first == len(found.components)


def _is_cut(data: bytes, found: _Structure, image: Image.Image, reduce: int) -> bool:
    """True where scans, or parts of one, are missing before a JPEG's end."""
    if not found.complete:
        return True
    probed = data[: found.end] + _PROBE + data[found.end :]
    return not np.array_equal(np.asarray(image), _decoded(probed, reduce))


def _probed(data: bytes, found: _Structure) -> bytes:
    """The file with bytes before its end and each restart marker, which all lie behind what they end."""
    probe = _PROBE[: max(_SHORTEST_PROBE, min(_SHORT_PROBE, _PROBED_BYTES // len(found.restarts)))]
    probed, before = bytearray(), 0
    for place in found.restarts:
        probed += data[before:place]
        probed += probe
        before = place
    return b"".join([probed, data[before : found.end], _PROBE, data[found.end :]])


def _decoded(data: bytes, reduce: int) -> NDArray[np.uint8]:
    with JpegImagePlugin.JpegImageFile(_Scans(data)) as image:
        image.draft(image.mode, (-(-image.width // reduce), -(-image.height // reduce)))
        return np.asarray(image)


def _structure(data: bytes) -> _Structure | None:
    """Walks over the markers (ITU-T T.81, annex B); None where they can't be followed up to the first scan's end."""
    found, place = _Structure(), 2
    scanned = 0
    while place + 4 <= len(data):
        if data[place] != 0xFF:
            found.end = scanned
            return found if scanned else None
        marker = data[place + 1]
        if marker == 0xFF:
            place += 1
            continue
        if marker in _ALONE:
            place += 2
            continue
        if marker == _END[1]:
            found.end = place
            return found
        body = data[place + 4 : place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")]
        place += 4 + len(body)
        if marker in _FRAMES:
            found.progressive = marker in _PROGRESSIVE
            found.sequential = marker in _SEQUENTIAL
            found.components = tuple(body[6::3])
            found.sampling = {each: divmod(by, 16) for each, by in zip(body[6::3], body[7::3], strict=False)}
            found.size = (int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big"))
        if marker == _INTERVAL:
            found.interval = int.from_bytes(body[:2], "big")
        if marker == _SCAN:
            _note_scan(found, body)
            following = _MARKER.search(data, place)
            if following is None:
                return found
            _note_restarts(found, body, data, place, following.start())
            place = scanned = following.start()
            found.scans += 1
    found.end = place if data[place : place + 2] == _END else scanned or -1
    return found


def _note_scan(found: _Structure, body: bytes) -> None:
    count = body[0]
    found.first = found.first or count
    first, last, bits = body[1 + 2 * count : 4 + 2 * count]
    if not found.progressive:
        first, last, bits = 0, 0, 0
    for component in body[1 : 1 + 2 * count : 2]:
        for coefficient in range(first, last + 1):
            found.seen[component, coefficient] = bits & 15


def _note_restarts(found: _Structure, body: bytes, data: bytes, start: int, end: int) -> None:
    """Restart markers of a scan: they count from 0 to 7 again and again, and their number follows from the image's size."""
    if not found.interval:
        return
    places = array("q", (match.start() for match in _RESTART.finditer(data, start, end)))
    expected = -(-_blocks(found, body[1 : 1 + 2 * body[0] : 2]) // found.interval) - 1
    counted = all(data[place + 1] & 7 == number & 7 for number, place in enumerate(places))
    found.in_order &= expected <= len(places) <= 2 * expected + _SPARE and counted
    found.restarts.extend(places)


def _blocks(found: _Structure, components: bytes) -> int:
    """Blocks of a scan (T.81, A.2): of one component its own, of several those that all of them share."""
    width, height = found.size
    across, down = (max((each[axis] for each in found.sampling.values()), default=1) or 1 for axis in (0, 1))
    if len(components) == 1:
        own = found.sampling.get(components[0], (1, 1))
        return -(-width * own[0] // (8 * across)) * -(-height * own[1] // (8 * down))
    return -(-width // (8 * across)) * -(-height // (8 * down))
