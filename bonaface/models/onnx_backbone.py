"""An ONNX face network as a trainable torch module, with the input format that its file does not state."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import onnx
import torch
import yaml
from onnx2torch import convert
from torch import Tensor, nn

from bonaface.errors import ModelError

__all__ = ["InputFormat", "OnnxNet", "input_format", "load_onnx"]

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class InputFormat:
    """What a network expects of an image.

    Args:
        size: side in pixels.
        channels: order of the colour channels.
        mean: subtracted from each channel of values in 0..255, in RGB order before the channels are reordered.
        std: divided by, likewise.
    """

    size: int
    channels: Literal["rgb", "bgr"] = "rgb"
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)


# Files of these names are known; any other ONNX file is described by a YAML file of InputFormat's fields beside it.
KNOWN_FORMATS = {
    "mobilefacenet_512": InputFormat(112, "bgr", (127.5,) * 3, (127.5,) * 3),
    "sface_2021dec": InputFormat(112, "rgb"),
    "face_recognition_sface_2021dec": InputFormat(112, "rgb"),
}


def input_format(file: Path) -> InputFormat:
    """The input format of an ONNX face network: from FILE.yaml beside it, or by its known name.

    Raises:
        ModelError: if neither says it.
    """
    beside = file.with_suffix(".yaml")
    if beside.exists():
        return _described(beside)
    if file.stem in KNOWN_FORMATS:
        return KNOWN_FORMATS[file.stem]
    raise ModelError(
        f"{file}: how its images must be prepared is not known: write {beside.name} beside it, "
        "e.g. {size: 112, channels: bgr, mean: [127.5, 127.5, 127.5], std: [127.5, 127.5, 127.5]}"
    )


def _described(file: Path) -> InputFormat:
    try:
        values: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
        form = InputFormat(
            size=int(values["size"]),
            channels=values.get("channels", "rgb"),
            mean=_triple(values.get("mean", 0.0)),
            std=_triple(values.get("std", 1.0)),
        )
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{file}: expected size, channels (rgb or bgr), mean and std, but: {error!r}") from error
    if form.channels not in {"rgb", "bgr"} or form.size < 1 or 0.0 in form.std:
        raise ModelError(f"{file}: expected a positive size, channels rgb or bgr, and a std without zeros")
    return form


def _triple(value: Any) -> Triple:
    values = (value,) * 3 if isinstance(value, int | float) else tuple(value)
    if len(values) != 3:
        raise ValueError(f"{len(values)} numbers where 1 or 3 are expected")
    return (float(values[0]), float(values[1]), float(values[2]))


@dataclass(frozen=True)
class OnnxNet:
    """A converted network, the length of its output, and its input format."""

    net: nn.Module
    features: int
    form: InputFormat


def load_onnx(file: Path) -> OnnxNet:
    """Converts an ONNX file into a module whose every weight trains.

    Raises:
        ModelError: if the file is missing, is no ONNX file, or has an operator that can't be converted.
    """
    if not file.is_file():
        raise ModelError(f"{file}: no such ONNX file")
    form = input_format(file)
    logging.getLogger("onnx2torch").setLevel(logging.ERROR)
    try:
        net = _native(convert(onnx.load(str(file))))
        with torch.no_grad():
            out = net.eval()(torch.zeros(2, 3, form.size, form.size))
    except Exception as error:
        raise ModelError(
            f"{file}: can't be used as a network: {str(error).splitlines()[0] if str(error) else error!r}"
        ) from error
    if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != 2:
        raise ModelError(f"{file}: expected one output of shape (n, features) for a batch of 2, got {_shape(out)}")
    return OnnxNet(net.train(), out.shape[1], form)


def _shape(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__


class Reshape(nn.Module):
    """A reshape to a shape known beforehand; 0 keeps a dimension of the input, -1 takes what is left."""

    def __init__(self, shape: list[int]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        """``x`` in the new shape."""
        return x.reshape([x.shape[place] if side == 0 else side for place, side in enumerate(self.shape)])


def _native(net: Any) -> nn.Module:
    """Puts torch's own modules in place of two of onnx2torch's.

    Its PReLU keeps the slopes as buffers, which no optimiser moves; its reshape reads its shape from a tensor, which torch.compile
    can't follow.
    """
    modules = dict(net.named_modules())
    constants = dict(net.named_parameters()) | dict(net.named_buffers())
    for node in list(net.graph.nodes):
        kind = type(modules[node.target]).__name__ if node.op == "call_module" else ""
        if kind not in {"OnnxPReLU", "OnnxReshape"} or node.args[1].op != "get_attr":
            continue
        value = constants[node.args[1].target]
        if kind == "OnnxReshape":
            net.set_submodule(node.target, Reshape(value.tolist()))
        else:
            prelu = nn.PReLU(value.numel())
            prelu.weight.data.copy_(value.flatten())
            net.set_submodule(node.target, prelu)
        node.args = (node.args[0],)
    net.graph.eliminate_dead_code()
    net.recompile()
    made: nn.Module = net
    return made
