from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bonaface.inference.embedder import Embedded
from bonaface.inference.embedding_cache import EmbeddingCache, embed_cached
from bonaface.verification.embeddings import Embeddings


class Counting:
    """Stands in for a network: an image's embedding is its name's number; ``fail_after`` interrupts it."""

    def __init__(self, fail_after: int = 10**9, judges: bool = False) -> None:
        self.seen: list[int] = []
        self.fail_after, self.judges = fail_after, judges

    def embed(self, paths: Sequence[Path], progress: Any = None, threads: int = 2) -> Embedded:
        if len(self.seen) + len(paths) > self.fail_after:
            raise KeyboardInterrupt
        numbers = [int(path.stem) for path in paths]
        self.seen += numbers
        identity = np.array([[number, 2 * number] for number in numbers], np.float32).reshape(-1, 2)
        judged = -identity[:, 0] if self.judges else None
        return Embedded(Embeddings(identity, judged), np.arange(len(paths)), {})


def images(numbers: range) -> tuple[list[Path], list[bytes]]:
    return [Path(f"{number}.jpg") for number in numbers], [number.to_bytes(16, "big") for number in numbers]


def embed(network: Counting, numbers: range, folder: Path, fingerprint: str = "one") -> tuple[Any, Any]:
    return embed_cached(network, *images(numbers), EmbeddingCache(folder, fingerprint))  # type: ignore[arg-type]


@pytest.mark.parametrize("judges", [False, True])
def test_after_an_interruption_it_goes_on(tmp_path: Path, judges: bool) -> None:
    with pytest.raises(KeyboardInterrupt):
        embed(Counting(fail_after=600, judges=judges), range(700), tmp_path)
    network = Counting(judges=judges)
    vectors, odds = embed(network, range(700), tmp_path)
    assert network.seen == list(range(512, 700))
    np.testing.assert_array_equal(vectors[:, 1], 2 * np.arange(700))
    if judges:
        np.testing.assert_array_equal(odds, -np.arange(700.0))
    else:
        assert odds is None
    assert len(list(tmp_path.rglob("*.npz"))) == 1
    again = Counting(judges=judges)
    np.testing.assert_array_equal(embed(again, range(699, -1, -1), tmp_path)[0], vectors[::-1])
    assert again.seen == []


def test_another_model_or_preparation_starts_anew(tmp_path: Path) -> None:
    for fingerprint in ("one", "another"):
        network = Counting()
        embed(network, range(3), tmp_path, fingerprint)
        assert network.seen == [0, 1, 2]


def test_the_same_image_twice_is_embedded_once(tmp_path: Path) -> None:
    network = Counting()
    paths, digests = images(range(3))
    cache = EmbeddingCache(tmp_path, "one")
    vectors, _ = embed_cached(network, paths * 2, digests * 2, cache)  # type: ignore[arg-type]
    assert network.seen == [0, 1, 2]
    np.testing.assert_array_equal(vectors[:3], vectors[3:])


def cut(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[:-40])


def emptied(shard: Path) -> None:
    shard.write_bytes(b"")


def without_numbers(shard: Path) -> None:
    content = dict(np.load(shard))
    content["identity"][1, 0] = np.nan
    np.savez(shard, **content)


def of_another_form(shard: Path) -> None:
    np.savez(shard, digest=np.zeros((2, 16), np.uint8), identity=np.zeros(3, np.float32))


@pytest.mark.parametrize("damage", [cut, emptied, without_numbers, of_another_form])
def test_a_damaged_shard_is_made_again(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    embed(Counting(), range(3), tmp_path)
    (shard,) = tmp_path.rglob("*.npz")
    assert shard.stat().st_mode & 0o777 == 0o600
    damage(shard)
    network = Counting()
    embed(network, range(3), tmp_path)
    assert network.seen == [0, 1, 2]


def test_what_is_not_there_is_nan(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, "one")
    assert np.isnan(cache.get([b"x" * 16])[0]).all()
    cache.add([b"y" * 16], Embeddings(np.ones((1, 2), np.float32)))
    assert np.isnan(cache.get([b"x" * 16, b"y" * 16])[0]).tolist() == [[True, True], [False, False]]


def test_files_of_others_in_the_folder_are_neither_read_nor_deleted(tmp_path: Path) -> None:
    embed(Counting(), range(300), tmp_path)
    other = next(tmp_path.rglob("*.npz")).with_name("mine.npz")
    other.write_bytes(b"my own")
    embed(Counting(), range(600), tmp_path)
    assert other.read_bytes() == b"my own"


def test_what_is_not_finite_is_not_kept(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, "one")
    with pytest.raises(ValueError, match="not finite"):
        cache.add([bytes(16)], Embeddings(np.array([[np.nan, 1]], np.float32), None))
    assert not list(tmp_path.rglob("*.npz"))


def test_what_another_process_wrote_meanwhile_is_not_deleted(tmp_path: Path) -> None:
    one, other = EmbeddingCache(tmp_path, "f" * 8), EmbeddingCache(tmp_path, "f" * 8)
    row = Embeddings(np.eye(2, dtype=np.float32)[:1])
    for digest in (b"a" * 16, b"b" * 16):
        one.add([digest], row)
    other.add([b"c" * 16], row)
    one.compact()
    found = EmbeddingCache(tmp_path, "f" * 8)
    assert all(digest * 16 in found for digest in (b"a", b"b", b"c"))
    assert len(list(found.folder.iterdir())) == 2
