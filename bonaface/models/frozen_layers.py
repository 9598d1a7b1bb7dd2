"""The first layers of a timm network, held fixed while the others are trained."""

from __future__ import annotations

from typing import Any

from timm.models import group_parameters
from torch import nn

from bonaface.errors import ConfigError

__all__ = ["freeze_first_layers"]


def freeze_first_layers(net: Any, count: int) -> tuple[nn.Module, ...]:
    """Take the gradients off the first layers of a network.

    Args:
        net: whose layers are timm's coarse groups: the stem is the first one, a stage or a transformer block each of the next.
        count: layers to freeze, fewer than the network has.

    Returns:
        The modules that hold the frozen weights; kept in evaluation mode, their batch norms use the statistics they came with.

    Raises:
        ConfigError: if the network is none of timm's, or has no more layers than that.

    Example:
        >>> import timm
        >>> net = timm.create_model("resnet10t", num_classes=0)
        >>> len(freeze_first_layers(net, 1)), net.layer1[0].conv1.weight.requires_grad
        (6, True)
    """
    if not hasattr(net, "group_matcher"):
        raise ConfigError("frozen_layers: expected 0, since only the layers of timm's networks are known")
    groups = group_parameters(net, net.group_matcher(coarse=True))
    if count >= len(groups):
        raise ConfigError(f"frozen_layers: expected at most {len(groups) - 1} of its layers, got {count}")
    names = [name for layer in sorted(groups)[:count] for name in groups[layer]]
    for name in names:
        net.get_parameter(name).requires_grad_(False)
    owners = dict.fromkeys(name.rpartition(".")[0] for name in names)  # a token of a transformer is the network's own
    return tuple(net.get_submodule(owner) for owner in owners if owner)
