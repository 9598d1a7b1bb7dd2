"""Networks as the runtime sees them: pictures in, embeddings out, whatever computes in between."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from bonaface.errors import ConfigError
from bonaface.faces.views import View
from bonaface.scoring import Embeddings

if TYPE_CHECKING:
    from bonaface.embedding.model import Branch, FaceModel

__all__ = ["Network", "Pictures", "TorchNetwork"]

Pictures = Mapping[str, NDArray[np.uint8]]
"""By branch, RGB, shape ``(n, h, w, 3)``: what the branch's view shows of each photo."""


class Network(Protocol):
    """What turns pictures into embeddings. Several threads may call it at once."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def views(self) -> Mapping[str, View]:
        """What ``identity`` looks at, and ``authenticity`` where the network judges it."""

    @property
    def dim(self) -> int:
        """Length of an identity vector."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever its answers would."""

    def __call__(self, pictures: Pictures) -> Embeddings:
        """Embeddings of ``n`` photos, n >= 1, from their pictures by branch."""


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
    def views(self) -> Mapping[str, View]:
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

    def __call__(self, pictures: Pictures) -> Embeddings:
        """See :class:`Network`."""
        import torch

        inputs = {
            name: torch.from_numpy(np.ascontiguousarray(stack)).permute(0, 3, 1, 2).to(self.device)  # (n, 3, h, w)
            for name, stack in pictures.items()
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
