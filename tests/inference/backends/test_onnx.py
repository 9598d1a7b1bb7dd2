"""Exported models, whose damaged files are told apart in one sentence, and anyone's ONNX face networks: as torch computes them."""

import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from bonaface.errors import ConfigError, ModelError
from bonaface.inference import embedder as runtime
from bonaface.inference.backends import torch as networks
from bonaface.inference.backends.base import usable_cores
from bonaface.inference.backends.onnx import OnnxFaceNetwork, OnnxNetwork
from bonaface.inference.backends.torch import as_torch
from bonaface.inference.embedder import load_embedder
from bonaface.inference.metadata import MARK

pytest_plugins = ("labelled_pairs", "tiny_models", "tiny_networks")

WEIGHTS = Path(__file__).parents[3].parent / "shared" / "weights"


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
    monkeypatch.setattr(networks, "_BATCH", size)
    parts = network(images)
    assert len(whole) == len(parts) == 7
    np.testing.assert_allclose(parts.identity, whole.identity, atol=1e-5)
    np.testing.assert_allclose(parts.authenticity, whole.authenticity, atol=1e-4)


def faces(rng, n, size):
    return {"identity": rng.integers(0, 256, (n, size, size, 3), np.uint8)}


@pytest.mark.parametrize("count", [1, 7, 8, 19])
def test_a_face_network_says_what_torch_says_of_it(write_network, tmp_path, rng, count):
    """Channels in BGR, other means and deviations for each, PReLU, batch norm."""
    network = OnnxFaceNetwork(write_network(tmp_path / "net.onnx", size=32, width=6))
    converted = as_torch(network)
    images = faces(rng, count, 32)
    said = network(images)
    assert said.identity.shape == (count, network.dim) == (count, 6)
    assert said.identity.dtype == np.float32
    assert said.authenticity is None
    np.testing.assert_allclose(np.linalg.norm(said.identity, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(said.identity, converted(images).identity, atol=1e-4)
    assert converted.name == network.name == "net"


@pytest.mark.parametrize("name", ["mobilefacenet_512", "sface_2021dec"])
def test_real_face_networks_say_what_torch_says_of_them(name, rng):
    file = WEIGHTS / f"{name}.onnx"
    if not file.exists():
        pytest.skip("needs the face networks in ../shared/weights")
    network, images = OnnxFaceNetwork(file), faces(rng, 9, 112)
    np.testing.assert_allclose(network(images).identity, as_torch(network)(images).identity, atol=1e-4)


@pytest.mark.parametrize("batch", [1, 4])
def test_a_file_that_takes_one_number_of_images_alone(write_network, tmp_path, rng, batch):
    free = write_network(tmp_path / "net.onnx")
    model = onnx.load(free)
    for each in (*model.graph.input, *model.graph.output):
        each.type.tensor_type.shape.dim[0].dim_value = batch
    onnx.save(model, tmp_path / "fixed.onnx")
    (tmp_path / "fixed.yaml").write_text(free.with_suffix(".yaml").read_text())
    images = faces(rng, 6, 16)
    fixed = OnnxFaceNetwork(tmp_path / "fixed.onnx")
    np.testing.assert_allclose(fixed(images).identity, OnnxFaceNetwork(free)(images).identity, atol=1e-6)


def test_a_network_in_half_precision(write_network, tmp_path, rng):
    """Its input and output are 16-bit numbers too, as converters leave them."""
    whole = write_network(tmp_path / "net.onnx", width=6)
    model = onnx.load(whole)
    for each in model.graph.initializer:
        if each.data_type == TensorProto.FLOAT:
            each.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(each).astype(np.float16), each.name))
    for each in (*model.graph.input, *model.graph.output):
        each.type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.save(model, tmp_path / "half.onnx")
    (tmp_path / "half.yaml").write_text(whole.with_suffix(".yaml").read_text())
    images = faces(rng, 5, 16)
    said = OnnxFaceNetwork(tmp_path / "half.onnx")(images).identity
    assert said.dtype == np.float32
    np.testing.assert_allclose(said, OnnxFaceNetwork(whole)(images).identity, atol=0.01)
    converted = as_torch(OnnxFaceNetwork(tmp_path / "half.onnx"))
    assert {weight.dtype for weight in converted.model.parameters()} == {torch.float32}
    np.testing.assert_allclose(said, converted(images).identity, atol=0.01)


def test_a_fingerprint_tells_files_and_formats_apart(write_network, tmp_path):
    first, second = (write_network(tmp_path / f"{width}.onnx", width=width) for width in (4, 5))
    before = [OnnxFaceNetwork(file).fingerprint for file in (first, first, second)]
    assert before[0] == before[1] != before[2]
    first.with_suffix(".yaml").write_text("size: 16")
    assert OnnxFaceNetwork(first).fingerprint != before[0]


@pytest.mark.parametrize("name", ["w.bin", f"{'w' * 200}.bin"])
def test_a_fingerprint_tells_weights_beside_the_file_apart(write_network, tmp_path, name):
    file = write_network(tmp_path / "a.onnx", width=4)
    model = onnx.load(file)
    onnx.save_model(model, file, save_as_external_data=True, location=name, size_threshold=64)
    weights = tmp_path / name
    before = OnnxFaceNetwork(file).fingerprint
    assert OnnxFaceNetwork(file).fingerprint == before
    weights.write_bytes(bytes(weights.stat().st_size))
    assert OnnxFaceNetwork(file).fingerprint != before


@pytest.mark.parametrize(
    ("description", "said"),
    [
        ("size: 40", r"net\.onnx: expected one input of float numbers \(n, 3, 40, 40\), got images .*16, 16\]"),
        ("size: big", r"net\.yaml: size: expected a number"),
    ],
)
def test_a_face_network_that_is_described_wrongly(write_network, tmp_path, description, said):
    file = write_network(tmp_path / "net.onnx", size=16)
    file.with_suffix(".yaml").write_text(description)
    with pytest.raises(ModelError, match=said):
        OnnxFaceNetwork(file)


@pytest.mark.parametrize("operators", [["Relu"], ["Relu", "Sigmoid"]])
def test_outputs_that_are_no_vectors(tmp_path, operators):
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, 8, 8]) for name in ("x", "0", "1")]
    nodes = [helper.make_node(name, ["x"], [str(n)]) for n, name in enumerate(operators)]
    graph = helper.make_graph(nodes, "g", tensors[:1], tensors[1 : 1 + len(nodes)], [])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "o.onnx")
    (tmp_path / "o.yaml").write_text("size: 8")
    with pytest.raises(ModelError, match=r"o\.onnx: expected one output of shape \(n, features\), got \(2, 3, 8, 8\)"):
        OnnxFaceNetwork(tmp_path / "o.onnx")


def test_a_graphics_card_that_onnx_runtime_does_not_know(write_network, tmp_path):
    file = write_network(tmp_path / "net.onnx")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime knows graphics cards")
    assert OnnxFaceNetwork(file, "auto").dim == 4
    with pytest.raises(ConfigError, match="pip install onnxruntime-gpu"):
        OnnxFaceNetwork(file, "cuda")


def test_an_exported_model_has_no_gradients(tiny_exported, tiny_embedder):
    assert as_torch(OnnxNetwork.of(tiny_exported)) is None
    assert as_torch(tiny_embedder.network) is tiny_embedder.network
