"""An ONNX face network as a torch module, to train, attack or export; inference computes the file itself by ONNX Runtime."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx2torch import convert
from torch import Tensor, nn

from bonaface.errors import ModelError
from bonaface.models.input_format import InputFormat, input_format

__all__ = ["OnnxNet", "load_onnx"]


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
        net = _native(convert(onnx.load(str(file)))).float()  # files in half precision too: they train in 32 bits
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
