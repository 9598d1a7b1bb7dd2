"""Writes bonaface/assets/face_detector.onnx: the shipped model's YuNet with widened weights, for images of any size.

    python benchmarks/face_detector.py

The published file holds its weights in 8 bits with a scale for each block of 64, which ONNX Runtime refuses, and it states one
size of images. What is written holds the same weights as the numbers that they stand for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from bonaface.assets import FACE_DETECTOR, shipped_detector


def widened(content: bytes) -> onnx.ModelProto:
    """The network without DequantizeLinear, its image's and its outputs' sizes left open."""
    model = onnx.load_from_string(content)
    graph = model.graph
    known = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    known |= {
        node.output[0]: numpy_helper.to_array(node.attribute[0].t) for node in graph.node if node.op_type == "Constant"
    }
    left: list[onnx.NodeProto] = []
    for node in graph.node:
        if not all(name in known for name in node.input):
            left.append(node)
        elif node.op_type != "Constant":
            known[node.output[0]] = computed(node, [known[name] for name in node.input])
    names = dict.fromkeys(name for node in left for name in node.input if name in known)
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(left)
    graph.initializer.extend(numpy_helper.from_array(known[name], name) for name in names)
    for value, sides in ((graph.input[0], (2, 3)), *((each, (1,)) for each in graph.output)):
        for side in sides:
            value.type.tensor_type.shape.dim[side].dim_param = f"{value.name}_{side}"
    onnx.checker.check_model(model)
    return model


def computed(node: onnx.NodeProto, given: list[NDArray[Any]]) -> NDArray[Any]:
    """What a node makes of constants."""
    if node.op_type == "Reshape":
        return given[0].reshape(given[1])
    if node.op_type != "DequantizeLinear":
        raise ValueError(f"{node.op_type} of constants: not expected in YuNet")
    numbers, scale, zero = given
    settings = {each.name: each.i for each in node.attribute}
    axis, block = settings.get("axis", 1), settings.get("block_size", 0)
    if block:
        scale, zero = (np.repeat(each, block, axis).take(range(numbers.shape[axis]), axis) for each in (scale, zero))
    elif scale.size > 1:
        shape = [-1 if at == axis else 1 for at in range(numbers.ndim)]
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    wide: NDArray[np.float32] = (numbers.astype(np.float32) - zero.astype(np.float32)) * scale
    return wide


def main() -> None:
    """Writes the file."""
    FACE_DETECTOR.write_bytes(widened(shipped_detector()).SerializeToString())
    print(f"{FACE_DETECTOR}: {FACE_DETECTOR.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
