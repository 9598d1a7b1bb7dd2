"""Small ONNX face networks, as other people's files are."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper


def _network(path: Path, size: int = 16, width: int = 4, dropout: float = 0.0, described: bool = True) -> Path:
    """Writes convolution, batch norm, PReLU, [dropout,] pooling, reshape, matrix product: ``(n, 3, size, size)`` -> ``(n, width)``.

    The YAML file beside it is left out where ``described`` is false.
    """
    rng = np.random.default_rng(width)
    weights = {
        "kernel": rng.normal(0, 0.3, (8, 3, 3, 3)),
        "kernel_bias": rng.normal(0, 0.3, 8),
        "scale": rng.uniform(0.5, 1.5, 8),
        "shift": rng.normal(0, 0.3, 8),
        "mean": rng.normal(0, 0.3, 8),
        "var": rng.uniform(0.5, 1.5, 8),
        "slope": rng.uniform(0.1, 0.4, (8, 1, 1)),
        "fc": rng.normal(0, 0.3, (32, width)),
        "fc_bias": rng.normal(0, 0.3, width),
    }
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    constants.append(numpy_helper.from_array(np.array([0, -1]), "shape"))
    nodes = [
        helper.make_node("Conv", ["images", "kernel", "kernel_bias"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["b"]),
        helper.make_node("PRelu", ["b", "slope"], ["p"]),
    ]
    if dropout:
        constants.append(numpy_helper.from_array(np.float32(dropout), "ratio"))
        nodes.append(helper.make_node("Dropout", ["p", "ratio"], ["d"]))
    pool = size // 4
    nodes += [
        helper.make_node("AveragePool", [nodes[-1].output[0]], ["a"], kernel_shape=[pool, pool], strides=[pool, pool]),
        helper.make_node("Reshape", ["a", "shape"], ["r"]),
        helper.make_node("Gemm", ["r", "fc", "fc_bias"], ["vectors"]),
    ]
    graph = helper.make_graph(
        nodes,
        "face",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, size, size])],
        [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["n", width])],
        constants,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    if described:
        form = {"size": size, "channels": "bgr", "mean": 127.5, "std": [127.5, 128.0, 64.0]}
        path.with_suffix(".yaml").write_text(yaml.safe_dump(form))
    return path


@pytest.fixture
def write_network() -> Callable[..., Path]:
    """``write_network(path, size=16, width=4, dropout=0.0, described=True)`` writes a small ONNX network."""
    return _network
