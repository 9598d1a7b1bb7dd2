"""Files that are no exported model of ours, or a damaged one, are told apart in one sentence."""

import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from bonaface.errors import ModelError
from bonaface.inference import embedder as runtime
from bonaface.inference.backends import torch as networks
from bonaface.inference.backends.onnx import OnnxNetwork
from bonaface.inference.backends.torch import usable_cores
from bonaface.inference.embedder import load_embedder
from bonaface.inference.metadata import MARK

pytest_plugins = ("labelled_pairs", "tiny_models")


def changed(source, target, change):
    """A copy of an exported model that was tampered with."""
    model = onnx.load(source)
    change(model)
    onnx.save(model, target)
    return str(target)


def test_another_network_is_none_of_ours(network):
    assert OnnxNetwork.of(network) is None
    assert load_embedder(str(network)).network.dim == 48


def test_a_file_that_was_cut_off(tiny_exported, tmp_path):
    content = tiny_exported.read_bytes()
    (tmp_path / "cut.onnx").write_bytes(content[: len(content) - 20])
    with pytest.raises(ModelError, match=r"cut\.onnx: "):
        load_embedder(str(tmp_path / "cut.onnx"))


def test_a_missing_file(tmp_path):
    with pytest.raises(ModelError, match=r"gone\.onnx: can't be read \(no such file or directory\)"):
        load_embedder(str(tmp_path / "gone.onnx"))


def test_damaged_metadata(tiny_exported, tmp_path):
    def damage(model):
        next(each for each in model.metadata_props if each.key == MARK).value = "{"

    with pytest.raises(ModelError, match="its metadata is damaged"):
        load_embedder(changed(tiny_exported, tmp_path / "x.onnx", damage))


def test_an_output_too_many(tiny_exported, tmp_path):
    def add(model):
        model.graph.node.append(helper.make_node("Identity", ["identity"], ["age"]))
        model.graph.output.append(helper.make_tensor_value_info("age", TensorProto.FLOAT, ["n", 8]))

    with pytest.raises(ModelError, match=r"outputs \['age', 'authenticity', 'identity'\] are not those"):
        load_embedder(changed(tiny_exported, tmp_path / "x.onnx", add))


def test_another_input(tiny_exported, tmp_path):
    def rename(model):
        model.graph.input[0].name = "faces"
        for node in model.graph.node:
            node.input[:] = ["faces" if name == "identity_pictures" else name for name in node.input]

    with pytest.raises(ModelError, match=r"inputs \['authenticity_pictures', 'faces'\]"):
        load_embedder(changed(tiny_exported, tmp_path / "x.onnx", rename))


def test_an_operator_that_the_runtime_lacks(tiny_exported, tmp_path):
    def replace(model):
        next(node for node in model.graph.node if node.op_type == "Conv").op_type = "Convolve"

    with pytest.raises(ModelError, match=r"ONNX Runtime .* can't compute it \("):
        load_embedder(changed(tiny_exported, tmp_path / "x.onnx", replace))


def test_no_model_comes_with_the_package(tmp_path, monkeypatch, tiny_exported):
    monkeypatch.setattr(runtime, "SHIPPED_MODEL", tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="name one by --model"):
        load_embedder(None)
    monkeypatch.setattr(runtime, "SHIPPED_MODEL", tiny_exported)
    assert load_embedder(None).name == "tiny"


def test_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert usable_cores() >= 1
    for wished in ("1", "0", "many", "100000"):
        monkeypatch.setenv("OMP_NUM_THREADS", wished)
        assert 1 <= usable_cores() <= (1 if wished == "1" else os.cpu_count())


@pytest.mark.parametrize("size", [1, 3, 4])
def test_torch_in_parts_says_the_same(tiny_embedder, rng, monkeypatch, size):
    network = tiny_embedder.network
    images = {name: rng.integers(0, 256, (7, 40, 40, 3), np.uint8) for name in network.views}
    whole = network(images)
    monkeypatch.setattr(networks, "_TORCH_BATCH", size)
    parts = network(images)
    assert len(whole) == len(parts) == 7
    np.testing.assert_allclose(parts.identity, whole.identity, atol=1e-5)
    np.testing.assert_allclose(parts.authenticity, whole.authenticity, atol=1e-4)
