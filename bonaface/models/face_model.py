"""The model of a run: an identity branch and, if there is one, an authenticity branch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from timm.layers.norm import RmsNorm, RmsNorm2d, SimpleNorm, SimpleNorm2d
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.transforms.v2.functional import five_crop

from bonaface.config import BranchConfig, ModelConfig
from bonaface.errors import ConfigError
from bonaface.images.crops import InputSpec
from bonaface.models.backbones import Backbone, build_backbone
from bonaface.models.frozen_layers import freeze_first_layers
from bonaface.verification.embeddings import Embeddings

__all__ = ["Branch", "FaceModel", "build_model", "joined_embeddings"]

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, _BatchNorm, RmsNorm, RmsNorm2d, SimpleNorm, SimpleNorm2d)


class Branch(nn.Module):
    """A backbone with an optional linear head.

    Args:
        backbone: images to features.
        dim: length of the output; the backbone's own if it is None.
        view: the branch's input.
        frozen: neither weights nor running statistics are trained.
        trains: all weights; norms, those of norm layers and the head; or the head alone. The rest gets no gradients and stays in
            evaluation mode.
        unit_features: features are normalised to unit length before the head.
        frozen_layers: first layers of the network that are not trained, nor are their running statistics.
        frozen_statistics: batch norms use the statistics that they came with, in training too.

    Raises:
        ConfigError: if norm layers are to be trained and the backbone has none with weights, or if more layers are frozen than are
            known.

    The norm layers of a pretrained encoder and a linear head on unit features: A. Yermakov et al., "Deepfake Detection that
    Generalizes Across Benchmarks", arXiv:2508.06248.
    """

    def __init__(
        self,
        backbone: Backbone,
        dim: int | None,
        view: InputSpec,
        frozen: bool,
        trains: Literal["all", "norms", "head"] = "all",
        unit_features: bool = False,
        frozen_layers: int = 0,
        frozen_statistics: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Identity() if dim is None else nn.Linear(backbone.features, dim)
        self.dim = dim or backbone.features
        self.view = view
        self.frozen = frozen
        self.trains = trains
        self.unit_features = unit_features
        self.fixed = freeze_first_layers(backbone.net, frozen_layers) if frozen_layers else ()
        if frozen_statistics:
            self.fixed += tuple(each for each in self.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm))
        if frozen:
            self.requires_grad_(False).eval()
        elif trains != "all":
            self._freeze_but_trained()

    def _freeze_but_trained(self) -> None:
        norms = self._trained_norms()
        if self.trains == "norms" and not norms:
            raise ConfigError("trains: norms, but the backbone has no norm layers with weights; expected all or head")
        self.backbone.requires_grad_(False).eval()
        for norm in norms:
            norm.requires_grad_(True).train(self.training)

    def _trained_norms(self) -> list[nn.Module]:
        """Norm layers that are trained though the rest of the backbone is not."""
        if self.trains != "norms":
            return []
        found = [module for module in self.backbone.modules() if isinstance(module, _NORMS)]
        return [norm for norm in found if next(norm.parameters(), None) is not None]

    def train(self, mode: bool = True) -> Branch:
        """Training mode, which frozen parts do not enter."""
        super().train(mode and not self.frozen)
        if self.trains != "all":
            self.backbone.eval()
            for norm in self._trained_norms():
                norm.train(mode)
        for module in self.fixed:
            module.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Vectors ``(n, dim)`` of images ``(n, 3, h, w)``, RGB in 0..255."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            features = self.backbone(images)  # (n, features)
            if self.unit_features:
                features = F.normalize(features)
            vectors: Tensor = self.head(features)  # (n, dim)
        return vectors


class FaceModel(nn.Module):
    """Identity vectors, and log-odds of being genuine where the model has an authenticity branch.

    Args:
        identity: photos to vectors.
        authenticity: photos to log-odds ``(n, 1)``, positive for a genuine photo.
        flip_tta: average over each image and its horizontal flip.
    """

    def __init__(self, identity: Branch, authenticity: Branch | None = None, flip_tta: bool = False) -> None:
        super().__init__()
        self.flip_tta = flip_tta
        self.identity = identity
        self.authenticity = authenticity

    @property
    def _branches(self) -> dict[str, Branch]:
        branches = {"identity": self.identity, "authenticity": self.authenticity}
        return {name: branch for name, branch in branches.items() if branch is not None}

    @property
    def views(self) -> dict[str, InputSpec]:
        """The input of each branch, by the branch's name."""
        return {name: branch.view for name, branch in self._branches.items()}

    @property
    def trained(self) -> dict[str, Branch]:
        """The branches that are not frozen, by name."""
        return {name: branch for name, branch in self._branches.items() if not branch.frozen}

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
        whole, view = images["authenticity"], self.authenticity.view
        crops = five_crop(whole, [view.size, view.size]) if view.corners else (whole,)
        return torch.stack([self._averaged(self.authenticity, crop).squeeze(1) for crop in crops]).mean(0)

    def _averaged(self, branch: Branch, images: Tensor) -> Tensor:
        vectors: Tensor = branch(images).float()
        return (vectors + branch(images.flip(-1)).float()) / 2 if self.flip_tta else vectors


def build_model(config: ModelConfig, files: Path | None = None) -> FaceModel:
    """The model that a configuration describes.

    Args:
        config: its branches and test-time augmentation.
        files: folder ``files`` of a run: ONNX files are taken from it, and no pretrained weights are loaded, since a checkpoint
            follows.

    Raises:
        ConfigError, ModelError: as ``build_backbone``.
    """
    identity = _branch(config.identity, config.identity.dim, files)
    if config.five_crop and not (config.authenticity and config.authenticity.crop):
        raise ConfigError("model.five_crop: needs model.authenticity with crop: true")
    authenticity = None if config.authenticity is None else _branch(config.authenticity, 1, files, config.five_crop)
    return FaceModel(identity, authenticity, config.flip_tta)


def _branch(config: BranchConfig, dim: int | None, files: Path | None, five_crop: bool = False) -> Branch:
    if files is not None:
        family, _, rest = config.backbone.partition(":")
        backbone = f"onnx:{files / Path(rest).name}" if family == "onnx" else config.backbone
        config = dataclasses.replace(config, weights="none", backbone=backbone)
    network = build_backbone(config.backbone, config.weights, config.size, config.sees)
    view = InputSpec(config.view, network.size, config.crop, five_crop)
    frozen = config.frozen_layers, config.frozen_statistics
    try:
        return Branch(network, dim, view, config.frozen, config.trains, config.unit_features, *frozen)
    except ConfigError as error:
        raise ConfigError(f"model, {config.backbone}: {error}") from error


def joined_embeddings(parts: Sequence[tuple[Tensor, Tensor | None]]) -> Embeddings:
    """One Embeddings of what ``FaceModel.embed`` returned for several batches, on the host."""
    identity = torch.cat([vectors for vectors, _ in parts]).float().cpu().numpy()
    odds = [log_odds for _, log_odds in parts if log_odds is not None]
    return Embeddings(identity, torch.cat(odds).float().cpu().numpy() if odds else None)
