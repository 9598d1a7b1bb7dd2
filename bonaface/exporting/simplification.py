"""An exported graph made faster for ONNX Runtime, whose results stay the same but for rounding.

Its fast convolutions keep channels in blocks. Two things that networks of faces have break the blocks up, so that every such layer
copies its tensor twice: padding that a graph computes, and PReLU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

__all__ = ["simplified"]


def simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network with padding inside its convolutions, and each PReLU as operators that keep channels in blocks.

    A PReLU of slope ``a`` is ``x + relu((a - 1) x)`` for ``a <= 1``, and ``a x + (1 - a) relu(x)`` for any slope.

    Args:
        model: whose inputs are uint8 images, as :func:`bonaface.exporting.graph.folded_graph` writes it; left as it is.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    _fold_padding(made)
    _replace_prelu(made)
    _drop_unused(made)
    return made


def _fold_padding(model: onnx.ModelProto) -> None:
    """Puts each constant padding of an image's borders into the convolution that follows."""
    constants = dict(_constants(model))
    padding = [node for node in model.graph.node if node.op_type == "Pad" and _pads_zeros(node, constants)]
    uses = Counter(name for node in model.graph.node for name in node.input)
    after = {name: node for node in model.graph.node for name in node.input[:1]}
    for node, pads in zip(padding, _computed(model, [node.input[1] for node in padding]), strict=True):
        conv = after.get(node.output[0])
        if (
            conv is None
            or conv.op_type != "Conv"
            or uses[node.output[0]] != 1
            or len(pads) != 8
            or pads[[0, 1, 4, 5]].any()
        ):
            continue
        own = next((each for each in conv.attribute if each.name == "pads"), None)
        if any(each.name == "auto_pad" and each.s != b"NOTSET" for each in conv.attribute):
            continue
        before = np.zeros(4, np.int64) if own is None else np.array(own.ints)
        if own is not None:
            conv.attribute.remove(own)
        conv.attribute.append(helper.make_attribute("pads", [int(each) for each in before + pads[[2, 3, 6, 7]]]))
        conv.input[0] = node.input[0]


def _pads_zeros(node: NodeProto, constants: Mapping[str, NDArray[Any]]) -> bool:
    mode = next((each.s for each in node.attribute if each.name == "mode"), b"constant")
    value = constants.get(node.input[2], np.ones(1)) if len(node.input) > 2 and node.input[2] else np.zeros(1)
    return mode == b"constant" and len(node.input) < 4 and not value.any()


def _computed(model: onnx.ModelProto, names: Sequence[str]) -> list[NDArray[np.int64]]:
    """Values that a graph computes under these names, which may not depend on the images: the shapes of images are fixed."""
    if not names:
        return []
    import onnxruntime

    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    told = {each.name for each in probe.graph.output}
    probe.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.INT64, None)
        for name in dict.fromkeys(names)
        if name not in told
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    images = {each.name: np.zeros((2, *each.shape[1:]), np.uint8) for each in session.get_inputs()}
    return [np.asarray(each, np.int64) for each in session.run(list(names), images)]


def _replace_prelu(model: onnx.ModelProto) -> None:
    constants = dict(_constants(model))
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        slope = constants.get(node.input[1]) if node.op_type == "PRelu" else None
        if slope is None or slope.ndim != 3 or slope.shape[1:] != (1, 1):
            nodes.append(node)
            continue
        for name, values in _scales(slope.ravel()).items():
            scale = values.reshape(-1, 1, 1, 1).astype(np.float32)  # (channels, 1, 1, 1), a depthwise convolution
            model.graph.initializer.append(numpy_helper.from_array(scale, f"{node.output[0]}_{name}"))
        nodes.extend(_as_convolutions(node, slope.ravel()))
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _scales(slope: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    return {"below": slope - 1} if (slope <= 1).all() else {"all": slope, "above": 1 - slope}


def _as_convolutions(node: NodeProto, slope: NDArray[np.float32]) -> list[NodeProto]:
    x, y = node.input[0], node.output[0]

    def scaled(source: str, name: str) -> NodeProto:
        return helper.make_node(
            "Conv", [source, f"{y}_{name}"], [f"{y}_{name}_scaled"], group=len(slope), kernel_shape=[1, 1]
        )

    if (slope <= 1).all():
        return [
            scaled(x, "below"),
            helper.make_node("Relu", [f"{y}_below_scaled"], [f"{y}_relu"]),
            helper.make_node("Add", [x, f"{y}_relu"], [y]),
        ]
    return [
        helper.make_node("Relu", [x], [f"{y}_relu"]),
        scaled(x, "all"),
        scaled(f"{y}_relu", "above"),
        helper.make_node("Add", [f"{y}_above_scaled", f"{y}_all_scaled"], [y]),
    ]


def _constants(model: onnx.ModelProto) -> Iterator[tuple[str, NDArray[Any]]]:
    """Values by name, of weights as they are and of those that are stored in 16 bits."""
    found = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type == "Cast" and node.input[0] in found and node.attribute[0].i == TensorProto.FLOAT:
            found[node.output[0]] = found[node.input[0]].astype(np.float32)
    yield from found.items()


def _drop_unused(model: onnx.ModelProto) -> None:
    kept = {each.name for each in model.graph.output}
    nodes: list[NodeProto] = []
    for node in reversed(model.graph.node):  # they stand in the order of computing
        if kept.intersection(node.output):
            kept.update(node.input)
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))
    weights = [each for each in model.graph.initializer if each.name in kept]
    del model.graph.initializer[:]
    model.graph.initializer.extend(weights)
