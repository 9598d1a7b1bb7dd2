"""Embeddings cached on disk by what was embedded and by what: an interrupted command resumes from there."""

from __future__ import annotations

import re
import secrets
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from bonaface.io import atomic_write
from bonaface.verification.embeddings import Embeddings

if TYPE_CHECKING:
    from bonaface.inference.embedder import Embedder

__all__ = ["EmbeddingCache", "embed_cached"]

_SHARD = 256
_NAME = re.compile(r"[0-9a-f]{16}\.npz")
_DIGEST = 16


class EmbeddingCache:
    """Embeddings of one model, by the digest of the image's file.

    Each 256 images are a file of their own, written whole or not at all; ``compact`` makes one of them.

    Args:
        folder: of all caches.
        fingerprint: of the embedder.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder = folder / "embeddings" / fingerprint
        self._identity: dict[bytes, NDArray[np.float32]] = {}
        self._authenticity: dict[bytes, float] = {}
        # Those whose content is in memory: what others write meanwhile stays.
        self._mine = [shard for shard in self._shards() if self._read(shard)]

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._identity

    def add(self, digests: Sequence[bytes], embeddings: Embeddings) -> None:
        """Keep embeddings; they're on disk when this returns.

        Raises:
            DataError: if the disk is full.
            ValueError: if a number is not finite.
        """
        _check_finite(embeddings)
        self._write(digests, embeddings)
        self._remember(digests, embeddings)

    def get(self, digests: Sequence[bytes]) -> tuple[NDArray[np.float32], NDArray[np.float64] | None]:
        """Embeddings ``(n, d)`` and log-odds of being genuine ``(n,)`` or None; NaN for what isn't there."""
        dim = len(next(iter(self._identity.values()))) if self._identity else 1
        identity = np.full((len(digests), dim), np.nan, np.float32)
        for row, digest in enumerate(digests):
            if digest in self._identity:
                identity[row] = self._identity[digest]
        if not self._authenticity:
            return identity, None
        return identity, np.array([self._authenticity.get(digest, np.nan) for digest in digests])

    def compact(self) -> None:
        """Put all shards into one file."""
        shards = self._mine
        if len(shards) > 1:
            digests = list(self._identity)
            identity, authenticity = self.get(digests)
            judged = None if authenticity is None else authenticity.astype(np.float32)
            self._mine = []
            self._write(digests, Embeddings(identity, judged))
            for shard in shards:
                shard.unlink(missing_ok=True)

    def _shards(self) -> list[Path]:
        """List the files of this cache: other files are neither read nor deleted."""
        return sorted(path for path in self.folder.glob("*.npz") if _NAME.fullmatch(path.name) and path.is_file())

    def _write(self, digests: Sequence[bytes], embeddings: Embeddings) -> None:
        content: dict[str, NDArray[Any]] = {
            "digest": np.frombuffer(b"".join(digests), np.uint8).reshape(-1, _DIGEST),
            "identity": embeddings.identity,
        }
        if embeddings.authenticity is not None:
            content["authenticity"] = embeddings.authenticity
        shard = self.folder / f"{secrets.token_hex(8)}.npz"
        with atomic_write(shard, private=True) as temporary:
            np.savez(temporary, **content)  # type: ignore[arg-type]  # numpy's stubs take the names for allow_pickle
        self._mine.append(shard)

    def _read(self, shard: Path) -> bool:
        try:
            with np.load(shard, allow_pickle=False) as content:
                digests = [digest.tobytes() for digest in content["digest"]]
                found = Embeddings(content["identity"], content.get("authenticity"))
                _check_finite(found)
                self._remember(digests, found)
        except OSError:  # can't be read at the moment, or another process merged it: what it held is embedded again
            return False
        except (EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
            shard.unlink(missing_ok=True)  # what it held is embedded again
            return False
        return True

    def _remember(self, digests: Sequence[bytes], embeddings: Embeddings) -> None:
        self._identity |= dict(zip(digests, embeddings.identity, strict=True))
        if embeddings.authenticity is not None:
            self._authenticity |= dict(zip(digests, embeddings.authenticity.tolist(), strict=True))


def _check_finite(embeddings: Embeddings) -> None:
    parts = [part for part in (embeddings.identity, embeddings.authenticity) if part is not None]
    if not all(np.isfinite(part).all() for part in parts):
        raise ValueError("an embedding is not finite")


def embed_cached(
    embedder: Embedder,
    paths: Sequence[Path],
    digests: Sequence[bytes],
    cache: EmbeddingCache,
    progress: Progress | None = None,
    threads: int = 2,
) -> tuple[NDArray[np.float32], NDArray[np.float64] | None]:
    """Embeddings of photos, from the cache where they are in it.

    Args:
        embedder: the model that the cache belongs to.
        paths: readable images.
        digests: of their files, 16 bytes each.
        cache: what is embedded is kept in it, 256 images at a time.
        progress: where to show how far it is.
        threads: that read and decode.

    Returns:
        As ``EmbeddingCache.get``.
    """
    task = progress.add_task("embedding", total=len(paths)) if progress is not None else None
    missing = {digest: path for digest, path in zip(digests, paths, strict=True) if digest not in cache}
    if progress is not None and task is not None:
        progress.advance(task, len(paths) - len(missing))
    wanted = list(missing.items())
    for start in range(0, len(wanted), _SHARD):
        part = wanted[start : start + _SHARD]
        made = embedder.embed([path for _, path in part], threads=threads)
        good = np.flatnonzero(made.place >= 0)
        cache.add([part[row][0] for row in good], made.distinct.take(made.place[good]))
        if progress is not None and task is not None:
            progress.advance(task, len(part))
    cache.compact()
    return cache.get(digests)
