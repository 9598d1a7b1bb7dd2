"""Networks as inference sees them: images in, embeddings out, whatever computes in between."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bonaface.errors import ModelError
from bonaface.images.crops import InputSpec
from bonaface.reading import read_regular
from bonaface.verification.embeddings import Embeddings

__all__ = ["Images", "Network", "Parts", "content_of", "digest_of", "in_parts", "threads_a_photo", "usable_cores"]

Images = Mapping[str, NDArray[np.uint8]]
"""By branch, RGB, shape ``(n, h, w, 3)``: what the branch's view shows of each photo."""
_CPU_BATCH = 2
"""Photos that a large network in ONNX or OpenVINO is given at once on a processor: more are no faster, and take memory."""
_ACCELERATOR_BATCH = 64
_LIGHT, _HEAVY_BATCH = 10 << 20, 8
"""Bytes of a network's file up to which a thread is given one photo at once; of others the weights are read once for eight."""
_SMALL = 128 << 20
"""Bytes of a network's file up to which one thread computes a photo."""


class Network(Protocol):
    """Network from images to embeddings. Several threads may call it at once."""

    @property
    def name(self) -> str:
        """Name in messages."""

    @property
    def views(self) -> Mapping[str, InputSpec]:
        """Input of ``identity``, and of ``authenticity`` where the network judges it."""

    @property
    def dim(self) -> int:
        """Length of an identity vector."""

    @property
    def runtime(self) -> str:
        """The library that computes, and its device: ``ONNX Runtime on CPU``."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever its answers would."""

    def __call__(self, images: Images) -> Embeddings:
        """Embeddings of ``n`` photos, n >= 1, from their images by branch."""


def in_parts(
    embed: Callable[[Images], Embeddings], images: Images, size: int, pool: Executor | None = None
) -> Embeddings:
    """Embeddings of all images, of which ``embed`` is given at most ``size`` at once.

    Args:
        embed: from images to embeddings.
        images: by branch.
        size: of a part.
        pool: computes several parts at the same time; without one they follow each other.
    """
    starts = range(0, len(images["identity"]), size)
    parts = [{name: stack[at : at + size] for name, stack in images.items()} for at in starts]
    return Embeddings.joined(list(map(embed, parts) if pool is None or len(parts) == 1 else pool.map(embed, parts)))


def threads_a_photo(weights: int) -> int:
    """Threads that a processor computes one photo by.

    Of a network as small as those that recognise faces it is one, and as many photos as there are cores are computed at the same
    time: threads that share so little work wait for each other. Those of a large network share it, as one would take seconds.

    Args:
        weights: bytes of the network's file.
    """
    return 1 if weights <= _SMALL else usable_cores()


class Parts:
    """How many photos a network is given at once, and how many times at the same time.

    Args:
        runtime: what computes, and on what.
        threads: that compute one photo on a processor.
        weights: bytes of the network's file.
    """

    def __init__(self, runtime: str, threads: int, weights: int) -> None:
        on_processor = runtime.endswith("CPU")
        self._at_once = usable_cores() // threads if on_processor else 1
        self._pool, self._process = self._made_pool(), os.getpid()
        if not on_processor:
            self._most = _ACCELERATOR_BATCH
        elif threads > 1:
            self._most = _CPU_BATCH
        else:
            self._most = 1 if weights <= _LIGHT else _HEAVY_BATCH

    def __call__(self, embed: Callable[[Images], Embeddings], images: Images, size: int | None = None) -> Embeddings:
        """Embeddings of all images, of which ``embed`` is given ``size`` at once; where it is left out, as many as are fastest."""
        if self._process != os.getpid():  # threads don't live on in a forked process
            self._pool, self._process = self._made_pool(), os.getpid()
        share = -(-len(images["identity"]) // self._at_once)  # so that no core is left without
        return in_parts(embed, images, size or min(self._most, max(1, share)), self._pool)

    def _made_pool(self) -> Executor | None:
        return ThreadPoolExecutor(self._at_once, thread_name_prefix="embedding") if self._at_once > 1 else None


def usable_cores() -> int:
    """Processor cores to compute on: what affinity, a container's quota and ``OMP_NUM_THREADS`` leave to this process."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min(cores, _quota() or cores, _wished() or cores))


def _quota() -> int | None:
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, round(int(quota) / int(period)))
    except (OSError, ValueError):  # no such limit
        return None


def _wished() -> int | None:
    wished = os.environ.get("OMP_NUM_THREADS", "")
    return int(wished) if wished.isdecimal() else None


def content_of(file: Path) -> bytes:
    """A model's file.

    Raises:
        ModelError: if it can't be read.
    """
    try:
        return read_regular(file)
    except OSError as error:
        raise ModelError(f"{file}: can't be read ({(error.strerror or str(error)).lower()})") from error


def digest_of(content: bytes) -> str:
    """Digest of a file's content."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()
