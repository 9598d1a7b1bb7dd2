"""Networks as the runtime sees them: images in, embeddings out, whatever computes in between."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from bonaface.errors import ConfigError
from bonaface.images.crops import InputSpec
from bonaface.verification.embeddings import Embeddings

if TYPE_CHECKING:
    from bonaface.models.face_model import Branch, FaceModel

__all__ = [
    "Images",
    "Network",
    "TorchNetwork",
    "in_parts",
    "usable_cores",
]

_TORCH_BATCH = 16
"""Photos that torch is given at once on a processor: a ResNet is a seventh faster than with 64, whose activations fit no cache."""

Images = Mapping[str, NDArray[np.uint8]]
"""By branch, RGB, shape ``(n, h, w, 3)``: what the branch's view shows of each photo."""


class Network(Protocol):
    """What turns images into embeddings. Several threads may call it at once."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def views(self) -> Mapping[str, InputSpec]:
        """What ``identity`` looks at, and ``authenticity`` where the network judges it."""

    @property
    def dim(self) -> int:
        """Length of an identity vector."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever its answers would."""

    def __call__(self, images: Images) -> Embeddings:
        """Embeddings of ``n`` photos, n >= 1, from their images by branch."""


class TorchNetwork:
    """A run's model, or an ONNX recogniser, computed by torch.

    Args:
        model: in evaluation mode.
        name: what messages call it.
        device: auto, cpu or cuda.

    Raises:
        ConfigError: if there is no such device.
    """

    def __init__(self, model: FaceModel, name: str, device: str = "cpu") -> None:
        self.name = name
        self.device = _available(device)
        self.model = model.to(self.device)

    @property
    def views(self) -> Mapping[str, InputSpec]:
        """See :class:`Network`."""
        return self.model.views

    @property
    def dim(self) -> int:
        """See :class:`Network`."""
        return self.model.identity.dim

    @cached_property
    def fingerprint(self) -> str:
        """Of the weights, the layers and what stands before and behind them."""
        settings = [(branch.backbone.size, branch.backbone.bgr) for branch in self._branches()]
        digest = hashlib.blake2b(f"{self.views} {self.model.mirror} {settings} {self.model}".encode(), digest_size=16)
        for name, tensor in [*self.model.named_parameters(), *self.model.named_buffers()]:
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(tensor.detach().float().cpu().numpy()).data)
        return digest.hexdigest()

    def _branches(self) -> list[Branch]:
        return [branch for branch in (self.model.identity, self.model.authenticity) if branch is not None]

    def __call__(self, images: Images) -> Embeddings:
        """See :class:`Network`."""
        return self._some(images) if self.device == "cuda" else in_parts(self._some, images, _TORCH_BATCH)

    def _some(self, images: Images) -> Embeddings:
        import torch

        inputs = {
            name: torch.from_numpy(np.ascontiguousarray(stack)).permute(0, 3, 1, 2).to(self.device)  # (n, 3, h, w)
            for name, stack in images.items()
        }
        with torch.inference_mode():
            identity, log_odds = self.model.embed(inputs)
        return Embeddings(identity.float().cpu().numpy(), None if log_odds is None else log_odds.float().cpu().numpy())


def _available(device: str) -> str:
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: cuda was asked for, and this machine has no CUDA device that torch can use")
    return device


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
