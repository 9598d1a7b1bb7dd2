import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bonaface.images import copies
from bonaface.images.copies import near_pairs, perceptual_hash


def scene(seed: int, size: int = 128) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 9, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC), np.uint8)


def bits(a: np.ndarray, b: np.ndarray) -> int:
    return (perceptual_hash(a) ^ perceptual_hash(b)).bit_count()


@pytest.mark.parametrize("seed", range(5))
def test_copies_are_near_and_other_images_far(seed: int) -> None:
    image = scene(seed)
    encoded = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR)
    assert bits(image, np.asarray(encoded)) <= 4
    assert bits(image, cv2.resize(image, (50, 50), interpolation=cv2.INTER_AREA)) <= 4
    assert bits(image, np.clip(image * 0.9 + 5, 0, 255).astype(np.uint8)) <= 4
    assert bits(image, scene(seed + 50)) > 14
    assert bits(image, image[:, ::-1].copy()) > 14


def test_the_transform_is_the_cosine_transform_of_the_small_image() -> None:
    image = scene(3, 32)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(float)
    n = np.arange(32)
    low = np.array(
        [
            [
                (grey * np.outer(np.cos(np.pi * u * (2 * n + 1) / 64), np.cos(np.pi * v * (2 * n + 1) / 64))).sum()
                * (0.5**0.5 if u == 0 else 1)
                * (0.5**0.5 if v == 0 else 1)
                for v in range(8)
            ]
            for u in range(8)
        ]
    ).ravel()
    expected = sum(1 << (63 - place) for place in range(64) if low[place] > np.median(low))
    assert perceptual_hash(image) == expected


hashes = st.lists(st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 15)), max_size=30)


@given(values=hashes, radius=st.integers(0, 64))
def test_all_pairs_within_the_radius(values: list[int], radius: int) -> None:
    pairs, distances = near_pairs(np.array(values, np.uint64), radius)
    expected = {
        (a, b): (values[a] ^ values[b]).bit_count()
        for a in range(len(values))
        for b in range(a + 1, len(values))
        if (values[a] ^ values[b]).bit_count() <= radius
    }
    assert [tuple(pair) for pair in pairs] == sorted(expected)
    assert distances.tolist() == [expected[pair] for pair in sorted(expected)]


def test_bits_are_counted_by_numpy_1_too(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).integers(0, 2**64, 700, dtype=np.uint64)
    expected = near_pairs(values, 24)
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    found = near_pairs(values, 24)
    assert len(expected[0])
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def test_large_sets_are_looked_up_in_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2**64, 3000, dtype=np.uint64)
    for row in range(0, 400, 2):
        flips = rng.choice(64, row % 8, replace=False)
        values[row + 1] = values[row] ^ np.bitwise_or.reduce(np.uint64(1) << flips.astype(np.uint64), initial=0)
    expected = near_pairs(values, 7)
    monkeypatch.setattr(copies, "_EXACT_UP_TO", 100)
    found = near_pairs(values, 7)
    assert len(expected[0]) >= 200
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def test_videos_are_copies_where_half_of_their_frames_are():
    rng = np.random.default_rng(0)
    a, b, c, d = (copies.thumbprint(rng.integers(0, 255, (64, 64, 3), np.uint8)) for _ in range(4))
    assert copies.any_copies([a, b, c], [c, b])
    assert copies.any_copies([a, b], [d, c, b, b])
    assert copies.any_copies([a, b, c], [c])
    assert not copies.any_copies([a, b, c], [d])
    assert not copies.any_copies([a, b, c], [a, d, d])
    assert not copies.any_copies([], [a])


def test_two_faces_in_one_frame_are_no_copies():
    """A card or a call's window around a small face is alike whoever it shows."""
    rng = np.random.default_rng(0)
    frame = np.zeros((630, 1000, 3), np.uint8)
    frame[:110], frame[520:] = 60, 230
    ann, bob = (frame.copy() for _ in range(2))
    for each in (ann, bob):
        each[150:276, 120:246] = cv2.resize(rng.integers(0, 255, (6, 6, 3), np.uint8), (126, 126))
    box = (120, 150, 126, 126)
    assert copies.are_copies(copies.thumbprint(ann), copies.thumbprint(bob))  # as a whole
    assert not copies.are_copies(copies.thumbprint(ann, box), copies.thumbprint(bob, box))
    half = cv2.resize(ann, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    assert copies.are_copies(copies.thumbprint(ann, box), copies.thumbprint(half, tuple(each / 2 for each in box)))


@pytest.mark.parametrize("box", [(0, 0, 9, 9), (-20, -20, 30, 30), (495, 495, 50, 50), (250, 250, 8, 8)])
def test_a_face_of_any_place_and_size_is_compared(box):
    image = np.random.default_rng(0).integers(0, 255, (500, 500, 3), np.uint8)
    assert copies.are_copies(copies.thumbprint(image, box), copies.thumbprint(image, box))


def test_a_face_at_another_place_is_of_another_photo():
    image = np.random.default_rng(0).integers(0, 255, (500, 500, 3), np.uint8)
    one, moved, elsewhere = (copies.thumbprint(image, (x, 100, 80, 80)) for x in (100, 104, 300))
    assert copies.are_copies(one, moved)  # as a detector sees a copy
    assert not copies.are_copies(one, elsewhere)
