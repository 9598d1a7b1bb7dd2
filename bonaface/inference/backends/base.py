"""Networks as inference sees them: images in, embeddings out, whatever computes in between."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bonaface.errors import ModelError
from bonaface.images.crops import InputSpec
from bonaface.reading import read_regular
from bonaface.verification.embeddings import Embeddings

__all__ = ["CPU_BATCH", "Images", "Network", "content_of", "digest_of", "in_parts", "usable_cores"]

Images = Mapping[str, NDArray[np.uint8]]
"""By branch, RGB, shape ``(n, h, w, 3)``: what the branch's view shows of each photo."""
CPU_BATCH = 2
"""Photos that a model in ONNX or OpenVINO is given at once on a processor: more are no faster, and take memory."""


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


def in_parts(embed: Callable[[Images], Embeddings], images: Images, size: int) -> Embeddings:
    """Embeddings of all images, of which ``embed`` is given at most ``size`` at once."""
    starts = range(0, len(images["identity"]), size)
    return Embeddings.joined([embed({name: stack[at : at + size] for name, stack in images.items()}) for at in starts])


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
