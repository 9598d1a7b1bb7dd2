"""The networks of a run, put together: an identity branch, and an authenticity branch beside it where there is one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms.v2.functional import five_crop

from bonaface.config import BranchConfig, ModelConfig
from bonaface.errors import ConfigError
from bonaface.images.crops import InputSpec
from bonaface.models.backbones import Backbone, build_backbone

__all__ = ["Branch", "FaceModel", "build_model"]


class Branch(nn.Module):
    """A backbone with an optional linear head.

    Args:
        backbone: images to features.
        dim: length of the output; the backbone's own where it is None.
        view: what of a photo the branch looks at.
        frozen: weights stay as they are, and so do running statistics.
    """

    def __init__(self, backbone: Backbone, dim: int | None, view: InputSpec, frozen: bool) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Identity() if dim is None else nn.Linear(backbone.features, dim)
        self.dim = dim or backbone.features
        self.view = view
        self.frozen = frozen
        if frozen:
            self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Branch:
        """Training mode, which a frozen branch does not enter."""
        return super().train(mode and not self.frozen)

    def forward(self, images: Tensor) -> Tensor:
        """Vectors ``(n, dim)`` of images ``(n, 3, h, w)``, RGB in 0..255."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            vectors: Tensor = self.head(self.backbone(images))  # (n, dim)
        return vectors


class FaceModel(nn.Module):
    """Identity vectors, and log-odds of being genuine where the model has an authenticity branch.

    Args:
        identity: photos to vectors.
        authenticity: photos to log-odds ``(n, 1)``, positive for a genuine photo.
        mirror: ``embed`` sees each image as it is and mirrored, and averages.
    """

    def __init__(self, identity: Branch, authenticity: Branch | None = None, mirror: bool = False) -> None:
        super().__init__()
        self.mirror = mirror
        self.identity = identity
        self.authenticity = authenticity

    @property
    def views(self) -> dict[str, InputSpec]:
        """What each branch looks at, by the branch's name."""
        branches = {"identity": self.identity, "authenticity": self.authenticity}
        return {name: branch.view for name, branch in branches.items() if branch is not None}

    @property
    def trained(self) -> dict[str, Branch]:
        """The branches whose weights move, by name."""
        branches = {"identity": self.identity, "authenticity": self.authenticity}
        return {name: branch for name, branch in branches.items() if branch is not None and not branch.frozen}

    def embed(self, images: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """Unit identity vectors ``(n, dim)`` and log-odds ``(n,)``, of the images of each branch ``(n, 3, h, w)``."""
        return self.identify(images), self.authenticate(images)

    def identify(self, images: dict[str, Tensor]) -> Tensor:
        """Unit identity vectors ``(n, dim)``."""
        return F.normalize(self._averaged(self.identity, images["identity"]))

    def authenticate(self, images: dict[str, Tensor]) -> Tensor | None:
        """Log-odds ``(n,)`` that each photo is genuine; None where the model does not judge it."""
        if self.authenticity is None:
            return None
        frames, view = images["authenticity"], self.authenticity.view
        places = five_crop(frames, [view.size, view.size]) if view.corners else (frames,)
        return torch.stack([self._averaged(self.authenticity, place).squeeze(1) for place in places]).mean(0)

    def _averaged(self, branch: Branch, images: Tensor) -> Tensor:
        vectors: Tensor = branch(images).float()
        return (vectors + branch(images.flip(-1)).float()) / 2 if self.mirror else vectors


def build_model(config: ModelConfig, files: Path | None = None) -> FaceModel:
    """The model that a configuration describes.

    Args:
        config: its two branches.
        files: folder of a run: ONNX files are then taken from it, and no pretrained weights are loaded, since a checkpoint follows.

    Raises:
        ConfigError, ModelError: as ``build_backbone``.
    """
    identity = _branch(config.identity, config.identity.dim, files)
    if config.corners and not (config.authenticity and config.authenticity.crop):
        raise ConfigError("model.corners: needs model.authenticity with crop: true, whose crops it adds to")
    authenticity = None if config.authenticity is None else _branch(config.authenticity, 1, files, config.corners)
    return FaceModel(identity, authenticity, config.mirror)


def _branch(config: BranchConfig, dim: int | None, files: Path | None, corners: bool = False) -> Branch:
    if files is not None:
        kind, _, rest = config.backbone.partition(":")
        kept = files / Path(rest).name
        config = dataclasses.replace(
            config, weights="none", backbone=f"onnx:{kept}" if kind == "onnx" else config.backbone
        )
    backbone = build_backbone(config.backbone, config.weights, config.size, config.sees)
    return Branch(backbone, dim, InputSpec(config.view, backbone.size, config.crop, corners), config.frozen)
