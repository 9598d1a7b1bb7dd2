"""Weights from files: read without running code, stripped of their trainers' prefixes, fitted key for key."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

from bonaface.errors import ModelError

__all__ = ["current_names", "fit_state_dict", "load_weights", "read_model_weights", "read_state_dict"]

_NETWORKS = "model."
"""Before the names of a model's weights in a run's checkpoint, where those that a loss learned stand beside them."""
_PICTURE = re.compile(r"(backbone\.net\.)picture\.")
"""Of a branch that sees both the image and its residual, as 0.1 called it."""
_CLASSIFIER = ("fc.", "head.", "classifier.")


def read_state_dict(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, a state dict, or a Lightning or OML checkpoint.

    Raises:
        ModelError: if the file is missing, damaged, or holds anything but plain values (nothing of it is executed).
    """
    if not file.is_file():
        raise ModelError(f"{file}: no such file of weights")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{file}: refused, for it holds more than tensors: expected a state dict or a safetensors file"
        ) from error
    except Exception as error:
        raise ModelError(f"{file}: not a readable file of weights ({type(error).__name__})") from error
    for key in ("state_dict", "model", "teacher"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, dict) else {}
    if not tensors:
        raise ModelError(f"{file}: holds no tensors by name: expected a state dict")
    return tensors


def fit_state_dict(net: nn.Module, state: dict[str, Tensor], where: str) -> None:
    """Loads ``state`` into ``net``, every key of the network and none besides, but for a classifier left out.

    Prefixes that trainers put before the names (``model.``, ``extractor.model.``, ``module.``) are found by names that end alike.

    Raises:
        ModelError: naming the first keys that don't fit.
    """
    wanted = net.state_dict()
    prefix = _prefix(list(state), list(wanted))
    fitted = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
    if isinstance(net, VisionTransformer):
        fitted = checkpoint_filter_fn(fitted, net)
    fitted = {key: value for key, value in fitted.items() if key in wanted or not key.startswith(_CLASSIFIER)}
    missing = sorted(set(wanted) - set(fitted))
    surplus = sorted(set(fitted) - set(wanted))
    shapes = [key for key in sorted(wanted) if key in fitted and wanted[key].shape != fitted[key].shape]
    if missing or surplus or shapes:
        said = [
            f"{len(keys)} {what} (first: {keys[0]})"
            for keys, what in ((missing, "missing"), (surplus, "unknown"), (shapes, "of another shape"))
            if keys
        ]
        raise ModelError(f"{where}: weights of another backbone: of {len(wanted)} tensors, {', '.join(said)}")
    net.load_state_dict(fitted)


def _prefix(have: list[str], wanted: list[str]) -> str:
    """The text before the network's names in the file's names; empty where they are the same."""
    probe = next((name for name in wanted if name.count(".") >= 1), wanted[0])
    ends = sorted((name for name in have if name == probe or name.endswith(f".{probe}")), key=len)
    return ends[0][: -len(probe)] if ends else ""


def current_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a run's checkpoint under the names of today's modules, where 0.1 wrote it.

    Example:
        >>> list(current_names({"model.authenticity.backbone.net.picture.fc.bias": torch.zeros(1)}))
        ['model.authenticity.backbone.net.image.fc.bias']
    """
    return {_PICTURE.sub(r"\1image.", key): value for key, value in state.items()}


def read_model_weights(checkpoint: Path) -> dict[str, Tensor]:
    """The weights of the networks in a run's checkpoint, without those that a loss learned.

    Raises:
        ModelError: as ``read_state_dict``.
    """
    named = current_names(read_state_dict(checkpoint)).items()
    return {key.removeprefix(_NETWORKS): value for key, value in named if key.startswith(_NETWORKS)}


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], checkpoint: Path, settings: str = "") -> None:
    """Loads the weights of a whole model.

    Args:
        model: as its settings describe it.
        weights: by name.
        checkpoint: where they are from.
        settings: where the model is described; the config.yaml beside the checkpoint by default.

    Raises:
        ModelError: if they are another model's.
    """
    wanted = model.state_dict()
    odd = [
        key
        for key in sorted({*weights, *wanted})
        if key not in weights or key not in wanted or weights[key].shape != wanted[key].shape
    ]
    if odd:
        raise ModelError(
            f"{checkpoint}: made with another backbone than {settings or checkpoint.with_name('config.yaml')} says: "
            f"{len(odd)} of {len(wanted)} tensors differ, the first is {odd[0]}"
        )
    model.load_state_dict(dict(weights))
