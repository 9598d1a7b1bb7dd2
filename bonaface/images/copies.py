"""Images that look the same though their files differ: thumbprints of two photos, perceptual hashes of many."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["any_copies", "are_copies", "near_pairs", "perceptual_hash", "thumbprint"]

_SIDE = 32
_COPIES = 0.993
"""Of 2,185 pairs of frames of one person, many of one video, none correlates as much (at most 0.986); of 480 copies in another
quality, size or sharpness all do (at least 0.998). A copy that was cropped does not."""
_SHARE = 0.5
_KEPT = 8
_EXACT_UP_TO = 100_000
_BLOCK = 512
_TABLES, _BITS, _FLIPPED = 4, 16, 1


def thumbprint(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """An image as 32 x 32 grey values of mean 0 and length 1, shape ``(1024,)``; zeros where it is all of one colour."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    small -= small.mean()
    length = float(np.linalg.norm(small))
    return np.asarray(small / max(length, 1e-9), np.float32)


def are_copies(a: NDArray[np.float32] | None, b: NDArray[np.float32] | None) -> bool:
    """True for thumbprints of one photo.

    Example:
        >>> photo = np.random.default_rng(0).integers(0, 255, (112, 112, 3), np.uint8)
        >>> are_copies(thumbprint(photo), thumbprint(cv2.resize(photo, (64, 64), interpolation=cv2.INTER_AREA)))
        True
    """
    return a is not None and b is not None and float(a @ b) >= _COPIES


def any_copies(a: Sequence[NDArray[np.float32]], b: Sequence[NDArray[np.float32]]) -> bool:
    """True if two photos or videos are the same pictures: at least half of the frames of the one with fewer are copies.

    Args:
        a: thumbprints of a photo, which has one, or of a video's frames.
        b: those of the other.
    """
    fewer, more = sorted((a, b), key=len)
    if not fewer:
        return False
    same = np.stack(fewer) @ np.stack(more).T >= _COPIES  # (f, m)
    return bool(same.any(axis=1).mean() >= _SHARE)


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
        bits = np.bitwise_count(hashes[start : start + _BLOCK, None] ^ hashes[None, start:])  # (b, n - start)
        a, b = np.nonzero(np.triu(bits <= radius, 1))
        pairs.append(np.stack([a + start, b + start], axis=1))
        distances.append(bits[a, b].astype(np.int64))
    return np.concatenate(pairs), np.concatenate(distances)


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
