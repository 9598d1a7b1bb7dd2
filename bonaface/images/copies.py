"""Images that look the same though their files differ: thumbprints of two photos, perceptual hashes of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Thumbprint", "any_copies", "are_copies", "near_pairs", "perceptual_hash", "thumbprint"]

Box: TypeAlias = "tuple[float, float, float, float]"

_SIDE = 32
_COPIES = 0.993
"""Of 2,185 pairs of frames of one person, many of one video, none correlates as much (at most 0.986); of 480 copies in another
quality, size or sharpness all do (at least 0.998). A copy that was cropped does not."""
_FACE_SIDE, _SHARED = 64, 0.5
_COPIES_OF_FACE = 0.9
"""Where a face is small, a card or a window around it is alike whoever it shows. Two people's faces in one frame correlate by 0.778
at most (of 4,680 pairs), two photos of one person by 0.733; 1,257 copies all do by more than 0.93."""
_SHARE = 0.5
_KEPT = 8
_EXACT_UP_TO = 100_000
_BLOCK = 512
_TABLES, _BITS, _FLIPPED = 4, 16, 1
_ONES_OF_BYTE = np.array([byte.bit_count() for byte in range(256)], np.uint8)


@dataclass(frozen=True)
class Thumbprint:
    """An image in little, by which copies of it are known.

    Args:
        whole: 32 x 32 grey values of mean 0 and length 1, shape ``(1024,)``; zeros where it is all of one colour.
        face: 64 x 64 grey values of its face, shape ``(64, 64)``, uint8.
        place: of the face: left, top, right and bottom as shares of the image's width and height.
    """

    whole: NDArray[np.float32]
    face: NDArray[np.uint8]
    place: Box


def thumbprint(image: NDArray[np.uint8], box: Box | None = None) -> Thumbprint:
    """An image in little.

    Args:
        image: RGB, shape ``(h, w, 3)``.
        box: of its face: left, top, width and height in px; None takes the whole image for it.
    """
    height, width = image.shape[:2]
    x, y, wide, high = box or (0, 0, width, height)
    left, top = (int(np.clip(each, 0, most - 1)) for each, most in ((x, width), (y, height)))
    right, below = int(np.clip(x + wide, left + 1, width)), int(np.clip(y + high, top + 1, height))
    whole, face = (
        cv2.resize(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY), (side, side), interpolation=cv2.INTER_AREA)
        for part, side in ((image, _SIDE), (image[top:below, left:right], _FACE_SIDE))
    )
    place = left / width, top / height, right / width, below / height
    return Thumbprint(_centred(whole), np.asarray(face, np.uint8), place)


def _centred(grey: NDArray[Any]) -> NDArray[np.float32]:
    """Grey values of mean 0 and length 1, as one row."""
    values = grey.astype(np.float32).ravel()
    values -= values.mean()
    return np.asarray(values / max(float(np.linalg.norm(values)), 1e-9), np.float32)


def are_copies(a: Thumbprint | None, b: Thumbprint | None) -> bool:
    """True for thumbprints of one photo: alike as a whole, and where the face is.

    Example:
        >>> photo = np.random.default_rng(0).integers(0, 255, (112, 112, 3), np.uint8)
        >>> are_copies(thumbprint(photo), thumbprint(cv2.resize(photo, (64, 64), interpolation=cv2.INTER_AREA)))
        True
    """
    if a is None or b is None or float(a.whole @ b.whole) < _COPIES:
        return False
    left, top = (max(a.place[axis], b.place[axis]) for axis in (0, 1))
    right, below = (min(a.place[axis], b.place[axis]) for axis in (2, 3))
    shared = max(right - left, 0) * max(below - top, 0)
    if shared < _SHARED * max(_area(each.place) for each in (a, b)):
        return False
    one, other = (_centred(_seen(each, (left, top, right, below))) for each in (a, b))
    return float(one @ other) >= _COPIES_OF_FACE


def _area(place: Box) -> float:
    left, top, right, below = place
    return (right - left) * (below - top)


def _seen(photo: Thumbprint, place: Box) -> NDArray[Any]:
    """Part of a photo's face, 32 x 32: of one place in both photos, as the detector's boxes differ by some pixels."""
    across, down = ((photo.place[axis + 2] - photo.place[axis]) / _FACE_SIDE for axis in (0, 1))
    left, top = (place[0] - photo.place[0]) / across, (place[1] - photo.place[1]) / down
    steps = (place[2] - place[0]) / across / _SIDE, (place[3] - place[1]) / down / _SIDE
    matrix = np.array([[steps[0], 0, left + steps[0] / 2 - 0.5], [0, steps[1], top + steps[1] / 2 - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(photo.face, matrix, (_SIDE, _SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def any_copies(a: Sequence[Thumbprint], b: Sequence[Thumbprint]) -> bool:
    """True if two photos or videos are the same pictures: at least half of the frames of the one with fewer are copies.

    Args:
        a: thumbprints of a photo, which has one, or of a video's frames.
        b: those of the other.
    """
    fewer, more = sorted((a, b), key=len)
    if not fewer:
        return False
    copied = [any(are_copies(one, other) for other in more) for one in fewer]
    return sum(copied) >= _SHARE * len(fewer)


def perceptual_hash(image: NDArray[np.uint8]) -> int:
    """64 bits that hardly change when an image is re-encoded, resized or slightly retouched.

    Bit ``8 u + v`` says whether the coefficient (u, v) of the grey image's discrete cosine transform, at 32 x 32 px, is
    above the median of the 64 lowest.

    Args:
        image: RGB, shape ``(h, w, 3)``, uint8.

    Source: Zauner 2010, "Implementation and benchmarking of perceptual image hash functions", 3.2.1 (pHash).

    Example:
        >>> ramp = np.arange(0, 256, 4, dtype=np.uint8)[None, :, None].repeat(64, 0).repeat(3, 2)
        >>> perceptual_hash(ramp) == perceptual_hash(cv2.resize(ramp, (200, 200)))
        True
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:_KEPT, :_KEPT].ravel()
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


def near_pairs(hashes: NDArray[np.uint64], radius: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All pairs of hashes that differ in at most ``radius`` bits.

    Up to 100,000 hashes all are compared with all, a block at a time. Beyond, they are looked up in four tables of 16 bits each,
    one bit of which may differ (Norouzi, Punjani & Fleet 2012, "Fast search in Hamming space with multi-index
    hashing"): that finds every pair up to 7 bits, and most of those beyond.

    Args:
        hashes: shape ``(n,)``.
        radius: in bits, 0 to 64.

    Returns:
        Pairs of positions ``(k, 2)``, the smaller first, sorted; and their distances ``(k,)``.

    Example:
        >>> pairs, bits = near_pairs(np.array([0b1111, 0b0111, 0b0000], np.uint64), 1)
        >>> pairs.tolist(), bits.tolist()
        ([[0, 1]], [1])
    """
    pairs, distances = _by_tables(hashes, radius) if len(hashes) > _EXACT_UP_TO else _all(hashes, radius)
    order = np.lexsort(pairs.T[::-1])
    return pairs[order], distances[order]


def _all(hashes: NDArray[np.uint64], radius: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    pairs, distances = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.int64)]
    for start in range(0, len(hashes), _BLOCK):
        bits = _ones(hashes[start : start + _BLOCK, None] ^ hashes[None, start:])  # (b, n - start)
        a, b = np.nonzero(np.triu(bits <= radius, 1))
        pairs.append(np.stack([a + start, b + start], axis=1))
        distances.append(bits[a, b].astype(np.int64))
    return np.concatenate(pairs), np.concatenate(distances)


def _ones(values: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """How many bits of each number are 1; numpy 1 has no function for it."""
    if hasattr(np, "bitwise_count"):
        return np.asarray(np.bitwise_count(values), np.uint8)
    return np.asarray(_ONES_OF_BYTE[values[..., None].view(np.uint8)].sum(-1, dtype=np.uint8), np.uint8)


def _by_tables(hashes: NDArray[np.uint64], radius: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    import faiss  # costs 0.2 s and is needed for large sets only

    codes = hashes.astype(">u8").view(np.uint8).reshape(-1, 8)
    index = faiss.IndexBinaryMultiHash(8 * codes.shape[1], _TABLES, _BITS)
    index.nflip = _FLIPPED
    index.add(codes)
    bounds, distances, found = index.range_search(codes, radius + 1)  # faiss means less than
    limits: NDArray[np.int64] = bounds.astype(np.int64)
    first: NDArray[np.int64] = np.repeat(np.arange(len(hashes)), limits[1:] - limits[:-1])
    kept = first < found
    pairs = np.stack([first[kept], found[kept]], axis=1).astype(np.int64)
    pairs, place = np.unique(pairs, axis=0, return_index=True)
    return pairs, distances[kept][place].astype(np.int64)
