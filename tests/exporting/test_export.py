"""Exported files say what the original says, in every format; what doesn't is not written."""

import dataclasses
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from bonaface.config import BranchConfig, ModelConfig
from bonaface.errors import ConfigError, DataError, ModelError
from bonaface.exporting import calibration_faces as calibration_faces_module
from bonaface.exporting import graph
from bonaface.exporting.calibration_faces import calibration_faces
from bonaface.exporting.conversion import convert
from bonaface.exporting.quantization import full_weights, half_weights, int8_onnx
from bonaface.images.preprocessing import Preprocessor
from bonaface.inference.backends.torch import TorchNetwork
from bonaface.inference.embedder import Embedder, load_embedder
from bonaface.models.face_model import build_model

pytest_plugins = ("tiny_models",)


@pytest.fixture(scope="module")
def faces(tiny_embedder, tiny_people):
    return calibration_faces(tiny_embedder, tiny_people)


def photos(count, side=40, seed=5):
    return list(np.random.default_rng(seed).integers(0, 256, (count, side, side, 3)).astype(np.uint8))


@pytest.mark.parametrize("count", [1, 3, 17])
def test_onnx_says_what_the_run_says(tiny_embedder, tiny_exported, count):
    exported = load_embedder(str(tiny_exported))
    images = photos(count) + photos(1, 57)
    before, after = tiny_embedder.embed_images(images), exported.embed_images(images)
    np.testing.assert_allclose(after.identity, before.identity, atol=1e-4)
    np.testing.assert_allclose(after.authenticity, before.authenticity, atol=1e-4)
    assert (exported.calibration, exported.validation) == (tiny_embedder.calibration, tiny_embedder.validation)
    assert exported.network.dim == 8


def test_the_network_stands_in_the_graph_once(tiny_embedder, tiny_exported):
    graph = onnx.load(tiny_exported)
    layers = sum(isinstance(layer, torch.nn.Conv2d) for layer in tiny_embedder.network.model.modules())
    assert sum(node.op_type == "Conv" for node in graph.graph.node) == layers
    assert graph.opset_import[0].version == 18
    kept = {each.key: each.value for each in graph.metadata_props}
    assert kept["model_card"].startswith("# Tiny\n\n## Export\n\nAs onnx by bonaface")


def test_sixteen_bits_halve_the_file(tiny_embedder, tiny_exported, faces, tmp_path):
    convert(tiny_embedder, "onnx-fp16", tmp_path / "half.onnx", *faces, "")
    assert (tmp_path / "half.onnx").stat().st_size < 0.7 * tiny_exported.stat().st_size
    after, before = load_embedder(str(tmp_path / "half.onnx")), tiny_embedder
    cosine = (after.embed_images(photos(4)).identity * before.embed_images(photos(4)).identity).sum(1)
    assert cosine.min() > 0.999


def test_openvino(tiny_embedder, faces, tmp_path):
    pytest.importorskip("openvino")
    convert(tiny_embedder, "openvino", tmp_path / "tiny.xml", *faces, "# Tiny")
    exported = load_embedder(str(tmp_path / "tiny.xml"))
    before, after = tiny_embedder.embed_images(photos(11)), exported.embed_images(photos(11))
    np.testing.assert_allclose(after.identity, before.identity, atol=1e-4)
    np.testing.assert_allclose(after.authenticity, before.authenticity, atol=1e-4)
    assert exported.validation == tiny_embedder.validation
    assert exported.network.description.card.startswith("# Tiny\n\n## Export")
    (tmp_path / "tiny.bin").unlink()
    with pytest.raises(ModelError, match=r"tiny\.bin: can't be read"):
        load_embedder(str(tmp_path / "tiny.xml"))
    (tmp_path / "bad.xml").write_text("<net")
    (tmp_path / "bad.bin").write_bytes(b"")
    with pytest.raises(ModelError, match="can't read it"):
        load_embedder(str(tmp_path / "bad.xml"))


def test_openvino_in_sixteen_bits(tiny_embedder, faces, tmp_path):
    pytest.importorskip("openvino")
    for form in ("openvino", "openvino-bf16"):
        convert(tiny_embedder, form, tmp_path / f"{form}.xml", *faces, "")
    kept = {form: load_embedder(str(tmp_path / f"{form}.xml")) for form in ("openvino", "openvino-bf16")}
    assert len({each.fingerprint for each in kept.values()}) == 2
    before, after = (each.embed_images(photos(11)).identity for each in kept.values())
    assert (before * after).sum(1).min() > 0.99
    hints = {form: each.network.precision for form, each in kept.items()}
    assert hints == {"openvino": "f32", "openvino-bf16": "bf16"}
    tampered = tmp_path / "openvino-bf16.xml"
    tampered.write_text(tampered.read_text().replace('value="bf16"', 'value="f8"'))
    with pytest.raises(ModelError, match="computes in 'f8', where f32 or bf16 was expected"):
        load_embedder(str(tampered))


def test_what_says_something_else_is_not_written(tiny_embedder, faces, tmp_path, monkeypatch):
    torch.manual_seed(1)
    branch = BranchConfig("timm:test_resnet", "none", size=32, dim=8)
    crop = BranchConfig("timm:test_resnet", "none", size=32, crop=True)
    other = build_model(ModelConfig(branch, crop, flip_tta=True, five_crop=True)).eval()
    folded = graph.folded_graph
    monkeypatch.setattr(graph, "folded_graph", lambda model, description: folded(other, description))
    (tmp_path / "tiny.onnx").write_text("before")
    with pytest.raises(ModelError, match=r"tiny\.onnx: not written, since as onnx .* lowest cosine"):
        convert(tiny_embedder, "onnx", tmp_path / "tiny.onnx", *faces, "")
    assert (tmp_path / "tiny.onnx").read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["tiny.onnx"]


def test_a_transformer_and_a_plain_identity_model(faces, tiny_people, tmp_path):
    torch.manual_seed(0)
    model = build_model(ModelConfig(BranchConfig("timm:test_vit", "none", size=160))).eval()
    embedder = Embedder(TorchNetwork(model, "vit"), Preprocessor.of(model.views, 48, None))
    convert(embedder, "onnx", tmp_path / "vit.onnx", *calibration_faces(embedder, tiny_people), "")
    exported = load_embedder(str(tmp_path / "vit.onnx"))
    assert exported.calibration is None
    before, after = embedder.embed_images(photos(3)), exported.embed_images(photos(3))
    assert after.authenticity is None
    assert exported.embed_images([]).identity.shape == before.identity[:0].shape
    np.testing.assert_allclose(after.identity, before.identity, atol=1e-4)


def test_an_exported_file_becomes_other_formats(tiny_embedder, faces, tmp_path):
    convert(tiny_embedder, "onnx-fp16", tmp_path / "half.onnx", *faces, "# Tiny")
    half = load_embedder(str(tmp_path / "half.onnx"))
    for form, name in (("openvino", "tiny.xml"), ("onnx-int8", "small.onnx")):
        pytest.importorskip("openvino")
        convert(half, form, tmp_path / name, *faces, half.network.description.card)
        made = load_embedder(str(tmp_path / name))
        assert (made.embed_images(photos(4)).identity * half.embed_images(photos(4)).identity).sum(1).min() > 0.98
        assert (made.validation, made.calibration) == (tiny_embedder.validation, tiny_embedder.calibration)
        assert made.network.description.card.count("## Export") == 2
        with pytest.raises(ConfigError, match="was exported in 8 bits or for OpenVINO already"):
            convert(made, "onnx", tmp_path / "a.onnx", *faces, "")
    assert not (tmp_path / "a.onnx").exists()


def test_other_calls_are_refused(tiny_embedder, tiny_exported, faces, tmp_path):
    with pytest.raises(ConfigError, match=r"expected a name that ends in \.xml for the format openvino"):
        convert(tiny_embedder, "openvino", tmp_path / "a.onnx", *faces, "")
    if "TensorrtExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(ConfigError, match=r"tensorrt was asked for.* pip install onnxruntime-gpu tensorrt"):
            load_embedder(str(tiny_exported), device="tensorrt")


def test_halves_share_no_person_and_too_few_faces_are_refused(tiny_embedder, faces, plain_tree):
    fitted, judged = faces
    assert not set(fitted.person) & set(judged.person)
    assert len(fitted.person) == len(judged.person) == 20
    with pytest.raises(DataError, match=r"half of its people have \d+ readable photos; expected at least 16"):
        calibration_faces(tiny_embedder, plain_tree())


def test_fingerprints_of_a_run_and_its_export_differ(tiny_embedder, tiny_exported):
    exported = load_embedder(str(tiny_exported))
    again = load_embedder(str(tiny_exported))
    assert exported.fingerprint == again.fingerprint != tiny_embedder.fingerprint
    assert (
        dataclasses.replace(exported, preprocess=Preprocessor(("face_crop",), 48)).fingerprint != exported.fingerprint
    )


@pytest.mark.parametrize("form", ["onnx-int8", "openvino-int8"])
def test_eight_bits_are_written_or_refused(tiny_embedder, faces, tmp_path, form):
    """Whether random weights survive 8 bits is chance; that a file is written only where they do is not."""
    if form == "openvino-int8":
        pytest.importorskip("nncf")
    out = tmp_path / f"tiny{'.xml' if form.startswith('openvino') else '.onnx'}"
    refused = ""
    try:
        convert(tiny_embedder, form, out, *faces, "")
    except ModelError as error:
        refused = str(error)
    if refused:
        assert f"not written, since as {form} " in refused
        assert not list(tmp_path.iterdir())
    else:
        said, before = (each.embed_images(photos(3)).identity for each in (load_embedder(str(out)), tiny_embedder))
        assert (said * before).sum(1).min() > 0.9


def test_quantising_leaves_the_graph_as_it_was(tiny_exported, faces):
    graph = onnx.load(tiny_exported)
    before = graph.SerializeToString()
    small = int8_onnx(graph, faces[0].feeds())
    assert graph.SerializeToString() == before
    assert sum(node.op_type == "QuantizeLinear" for node in small.graph.node) > 3


def test_weights_of_32_bits_are_the_halved_ones_widened(tiny_exported):
    graph = onnx.load(tiny_exported)
    halved = half_weights(graph)
    widened = full_weights(halved)
    assert not [each.name for each in widened.graph.initializer if each.data_type == onnx.TensorProto.FLOAT16]
    assert full_weights(graph).ByteSize() == graph.ByteSize() == widened.ByteSize() > 1.5 * halved.ByteSize()
    image = {
        each.name: np.full((1, *[d.dim_value for d in each.type.tensor_type.shape.dim[1:]]), 90, np.uint8)
        for each in graph.graph.input
    }
    made = [onnxruntime.InferenceSession(each.SerializeToString()).run(None, image) for each in (halved, widened)]
    for one, other in zip(*made, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_packages_own_model_is_written_in_8_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(calibration_faces_module, "_PHOTOS", 64)  # of 320, to be quick
    convert(
        load_embedder(None), "onnx-int8", tmp_path / "small.onnx", *calibration_faces(load_embedder(None), None), ""
    )


def test_openvino_computes_an_onnx_file(tiny_exported, faces):
    pytest.importorskip("openvino")
    ours, openvino = (load_embedder(str(tiny_exported), device=device) for device in ("cpu", "openvino"))
    assert (ours.network.runtime, openvino.network.runtime) == ("ONNX Runtime on CPU", "OpenVINO on CPU")
    assert ours.fingerprint == openvino.fingerprint
    images = faces[0].images
    np.testing.assert_allclose(openvino.network(images).identity, ours.network(images).identity, atol=1e-5)


def test_signals_reach_a_process_whose_openvino_models_are_gone(tiny_embedder, faces, tmp_path):
    """Two of OpenVINO's cores, closed in the order of their making, leave a freed stack to the signals that follow."""
    pytest.importorskip("openvino")
    file = tmp_path / "model.xml"
    convert(tiny_embedder, "openvino", file, *faces, "")
    code = (
        "import gc, os, signal; from bonaface.inference.embedder import load_embedder\n"
        f"models = [load_embedder({str(file)!r}) for _ in range(2)]\n"
        "del models[0]; gc.collect(); models.clear(); gc.collect()\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('heard')); os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (made.returncode, made.stdout) == (0, "heard\n"), made.stderr
