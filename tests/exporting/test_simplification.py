"""An exported graph made faster."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from bonaface.exporting.simplification import simplified

SIDE, CHANNELS = 9, 4


def network(slope, pads=(0, 0, 0, 1, 0, 0, 1, 2), value=0.0):
    """uint8 images to a padded convolution, a PReLU, and another convolution; the padding is computed from a shape."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(size=(CHANNELS, 3, 3, 3)).astype(np.float32),
        "v": rng.normal(size=(2, CHANNELS, 1, 1)).astype(np.float32),
        "slope": np.asarray(slope, np.float32).reshape(-1, 1, 1),
        "less": np.array([0, 3, SIDE, SIDE]) - np.zeros(4, int),
        "pads": np.asarray(pads),
        "value": np.float32(value),
        "last": np.array([2, 3]),
        "first": np.zeros(4, int),
    }
    nodes = [
        helper.make_node("Transpose", ["images"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["t"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Sub", ["shape", "less"], ["differences"]),  # (n, 0, 0, 0)
        helper.make_node("Gather", ["differences", "last"], ["zeros"]),
        helper.make_node("Concat", ["first", "zeros", "zeros"], ["nothing"], axis=0),
        helper.make_node("Add", ["nothing", "pads"], ["computed"]),
        helper.make_node("Pad", ["x", "computed", "value"], ["padded"]),
        helper.make_node("Conv", ["padded", "w"], ["c"], strides=[2, 2], pads=[1, 0, 0, 0]),
        helper.make_node("PRelu", ["c", "slope"], ["p"]),
        helper.make_node("Conv", ["p", "v"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2, None, None])],
        [numpy_helper.from_array(np.asarray(each), name) for name, each in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def outputs(model):
    images = np.random.default_rng(1).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})[0]


def operators(model):
    return {node.op_type for node in model.graph.node}


@pytest.mark.parametrize("slope", [[-0.5, 0.0, 0.25, 1.0], [-0.5, 0.0, 0.25, 1.5]])
def test_padding_and_prelu_are_gone_and_the_results_are_the_same(slope):
    given = network(slope)
    before = given.SerializeToString()
    made = simplified(given)
    onnx.checker.check_model(made)
    assert given.SerializeToString() == before
    assert operators(made) == {"Transpose", "Cast", "Conv", "Relu", "Add"}
    assert {each.name for each in made.graph.initializer}.isdisjoint({"pads", "slope", "less"})
    np.testing.assert_allclose(outputs(made), outputs(given), rtol=1e-5, atol=1e-3)


def test_padding_of_channels_stays():
    given = network([0.1] * CHANNELS, pads=(0, 0, 1, 1, 1, 0, 1, 1))  # a fourth image of zeros
    assert "Pad" in operators(simplified(given))
    np.testing.assert_allclose(outputs(simplified(given)), outputs(given), rtol=1e-5, atol=1e-3)


def test_padding_by_another_number_stays():
    given = network([0.1] * CHANNELS, value=7.0)
    assert "Pad" in operators(simplified(given))
    np.testing.assert_allclose(outputs(simplified(given)), outputs(given), rtol=1e-5, atol=1e-3)
