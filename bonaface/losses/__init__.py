"""Losses, by name: ``LOSSES["triplet"](margin=0.5)``, ``LOSSES["arcface"](n_classes=20_000, dim=512)``.

A loss is a module that takes embeddings ``(n, dim)`` and labels ``(n,)`` and returns a ``LossValue``. It works without the rest of
the package, in any training loop.
"""

from collections.abc import Callable

from torch import nn

from bonaface.config import LossConfig
from bonaface.errors import ConfigError
from bonaface.losses.authenticity import AuthenticityLoss
from bonaface.losses.base import LossValue
from bonaface.losses.cross_batch_memory import CrossBatchMemory
from bonaface.losses.margin_softmax import adaface, arcface, cosface, subcenter_arcface
from bonaface.losses.triplet import TripletLoss, cosine_triplet, soft_triplet
from bonaface.losses.triplet import triplet as hinge_triplet  # its own name is the module's

__all__ = [
    "LOSSES",
    "AuthenticityLoss",
    "CrossBatchMemory",
    "LossValue",
    "TripletLoss",
    "build_loss",
    "has_prototypes",
    "list_losses",
]

LOSSES: dict[str, Callable[..., nn.Module]] = {
    "adaface": adaface,
    "arcface": arcface,
    "cosface": cosface,
    "cosine_triplet": cosine_triplet,
    "soft_triplet": soft_triplet,
    "subcenter_arcface": subcenter_arcface,
    "triplet": hinge_triplet,
}
"""Identity losses: triplet losses take margin and reduction, margin-softmax losses n_classes, dim, margin and scale."""


def list_losses() -> list[str]:
    """Names that ``loss.name`` takes.

    Example:
        >>> list_losses()[:3]
        ['adaface', 'arcface', 'cosface']
    """
    return sorted(LOSSES)


def has_prototypes(name: str) -> bool:
    """True where a loss compares images with learned class prototypes, and not with each other."""
    return not name.endswith("triplet")


def build_loss(settings: LossConfig, n_classes: int, dim: int) -> nn.Module:
    """The identity loss that the settings name.

    Args:
        settings: its name, margin, scale, reduction and memory.
        n_classes: classes in training, at least 2.
        dim: length of the identity vectors.

    Raises:
        ConfigError: if margin, scale, reduction or memory does not suit the loss.

    Example:
        >>> build_loss(LossConfig(name="triplet", margin=0.5), n_classes=100, dim=512)
        TripletLoss(
          margin=0.5, reduction='mean'
          (distance): LpDistance()
        )
    """
    name, margin = settings.name, settings.margin
    if has_prototypes(name):
        if settings.reduction != "mean":
            raise ConfigError(f"loss.reduction: {name} has no triplets: expected mean, got {settings.reduction}")
        if settings.memory:
            raise ConfigError(f"loss.memory: {name} compares with class prototypes: expected 0, got {settings.memory}")
        return LOSSES[name](n_classes, dim, margin, settings.scale)
    if name == "triplet" and margin is None:
        raise ConfigError("loss.margin: triplet needs a margin such as 0.5; soft_triplet is the loss without one")
    chosen = {} if name == "soft_triplet" else {"margin": margin}
    loss = LOSSES[name](**chosen, reduction=settings.reduction)
    return CrossBatchMemory(loss, settings.memory, dim) if isinstance(loss, TripletLoss) and settings.memory else loss
