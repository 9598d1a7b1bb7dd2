"""Networks computed by PyTorch: a run's model, and an ONNX face network that has to be differentiated or exported."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from bonaface.images.crops import InputSpec
from bonaface.inference.backends.base import Images, Network, in_parts
from bonaface.inference.backends.onnx import OnnxFaceNetwork
from bonaface.verification.embeddings import Embeddings

if TYPE_CHECKING:
    from bonaface.models.face_model import Branch, FaceModel

__all__ = ["TorchNetwork", "as_torch"]

_BATCH = 16
"""Photos that torch is given at once on a processor: a ResNet is a seventh faster than with 64, whose activations fit no cache."""


class TorchNetwork:
    """A model computed by torch.

    Args:
        model: in evaluation mode.
        name: what messages call it.
        device: auto, cpu or cuda.

    Raises:
        ConfigError: if there is no such device.
    """

    def __init__(self, model: FaceModel, name: str, device: str = "cpu") -> None:
        from bonaface.models.device import available_device

        self.name = name
        self.device = available_device(device)
        self.model = model.to(self.device)
        self.runtime = f"PyTorch on {self.device.upper()}"

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
        digest = hashlib.blake2b(f"{self.views} {self.model.flip_tta} {settings} {self.model}".encode(), digest_size=16)
        for name, tensor in [*self.model.named_parameters(), *self.model.named_buffers()]:
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(tensor.detach().float().cpu().numpy()).data)
        return digest.hexdigest()

    def _branches(self) -> list[Branch]:
        return [branch for branch in (self.model.identity, self.model.authenticity) if branch is not None]

    def __call__(self, images: Images) -> Embeddings:
        """See :class:`Network`."""
        return self._some(images) if self.device == "cuda" else in_parts(self._some, images, _BATCH)

    def _some(self, images: Images) -> Embeddings:
        import torch

        inputs = {
            name: torch.from_numpy(np.ascontiguousarray(stack)).permute(0, 3, 1, 2).to(self.device)  # (n, 3, h, w)
            for name, stack in images.items()
        }
        with torch.inference_mode():
            identity, log_odds = self.model.embed(inputs)
        return Embeddings(identity.float().cpu().numpy(), None if log_odds is None else log_odds.float().cpu().numpy())


def as_torch(network: Network) -> TorchNetwork | None:
    """A network whose gradients and layers can be had.

    Args:
        network: as inference computes it.

    Returns:
        A run's network itself; an ONNX face network converted to torch, on the processor; None for an exported model.

    Raises:
        ModelError: if an ONNX face network has an operator that can't be converted.
        MissingExtraError: if PyTorch or onnx2torch is not installed.
    """
    if isinstance(network, TorchNetwork):
        return network
    if not isinstance(network, OnnxFaceNetwork):
        return None
    from bonaface.models.backbones import build_backbone
    from bonaface.models.face_model import Branch, FaceModel

    backbone = build_backbone(f"onnx:{network.file}")
    model = FaceModel(Branch(backbone, None, network.views["identity"], frozen=True)).eval()
    return TorchNetwork(model, network.name)
