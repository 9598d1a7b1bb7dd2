"""An ONNX file as a trainable module: the same outputs as ONNX Runtime's, and every weight moves."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from bonaface.errors import ModelError
from bonaface.models.onnx_backbone import load_onnx

pytest_plugins = ("tiny_networks",)

WEIGHTS = Path(__file__).parents[2].parent / "shared" / "weights"


def runtimes(file, x):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    one_by_one = [session.run(None, {session.get_inputs()[0].name: x[k : k + 1].numpy()})[0] for k in range(len(x))]
    return torch.from_numpy(np.concatenate(one_by_one))


def noise(n, size):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("size", [16, 32])
def test_outputs_equal_onnxruntimes(tmp_path, write_network, size, dropout):
    file = write_network(tmp_path / "net.onnx", size=size, width=5, dropout=dropout)
    loaded = load_onnx(file)
    assert loaded.features == 5
    x = noise(3, size)
    with torch.no_grad():
        torch.testing.assert_close(loaded.net.eval()(x), runtimes(file, x), rtol=1e-5, atol=1e-5)


def test_every_weight_trains(tmp_path, write_network):
    net = load_onnx(write_network(tmp_path / "net.onnx")).net
    assert net.training
    shapes = sorted(tuple(p.shape) for p in net.parameters())
    # kernel, its bias, scale, shift, slopes, matrix and its bias: the batch norm's mean and variance are statistics
    assert shapes == sorted([(8, 3, 3, 3), (8,), (8,), (8,), (8,), (4, 32), (4,)])
    net(noise(4, 16)).square().sum().backward()
    for name, weight in net.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().max() > 0, name


def test_prelu_is_torchs_own_and_takes_part(tmp_path, write_network):
    net = load_onnx(write_network(tmp_path / "net.onnx")).net.eval()
    (prelu,) = (module for module in net.modules() if isinstance(module, nn.PReLU))
    with torch.no_grad():
        before = net(noise(2, 16))
        prelu.weight += 1
        assert not torch.allclose(net(noise(2, 16)), before)


def test_batch_norm_keeps_running_statistics(tmp_path, write_network):
    net = load_onnx(write_network(tmp_path / "net.onnx")).net
    before = {name: value.clone() for name, value in net.named_buffers()}
    net(noise(4, 16))
    moved = [name for name, value in net.named_buffers() if not torch.equal(value, before[name])]
    assert any("mean" in name for name in moved)
    frozen = {name: value.clone() for name, value in net.eval().named_buffers()}
    net(noise(4, 16))
    assert all(torch.equal(value, frozen[name]) for name, value in net.named_buffers())


def test_loading_does_not_touch_the_weights(tmp_path, write_network):
    """It is tried on zeros once, which must not reach the statistics."""
    file = write_network(tmp_path / "net.onnx")
    constants = {each.name: numpy_helper.to_array(each) for each in onnx.load(file).graph.initializer}
    (norm,) = (module for module in load_onnx(file).net.modules() if isinstance(module, nn.BatchNorm2d))
    np.testing.assert_array_equal(norm.running_mean.numpy(), constants["mean"])
    np.testing.assert_array_equal(norm.running_var.numpy(), constants["var"])


def test_files_that_are_no_network(tmp_path, write_network):
    file = write_network(tmp_path / "net.onnx")
    with pytest.raises(ModelError, match=r"none\.onnx: no such ONNX file"):
        load_onnx(tmp_path / "none.onnx")
    whole = file.read_bytes()
    for content in (b"", b"<html>", whole[: len(whole) // 2]):
        file.write_bytes(content)
        with pytest.raises(ModelError, match=r"net\.onnx: can't be used as a network: ") as caught:
            load_onnx(file)
        assert "\n" not in str(caught.value)


def test_a_size_that_the_network_does_not_take(tmp_path, write_network):
    file = write_network(tmp_path / "net.onnx", size=16)
    file.with_suffix(".yaml").write_text("size: 40")
    with pytest.raises(ModelError, match=r"net\.onnx: can't be used as a network"):
        load_onnx(file)


@pytest.mark.parametrize(
    ("shape", "said"),
    [(["n", 3, 8, 8], r"\(n, features\) for a batch of 2, got \(2, 3, 8, 8\)"), (None, "got list|tuple")],
)
def test_outputs_that_are_no_vectors(tmp_path, shape, said):
    tensor = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])
    out = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, 8, 8]) for name in ("y", "z")]
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Sigmoid", ["x"], ["z"])]
    used = 1 if shape else 2
    graph = helper.make_graph(nodes[:used], "g", [tensor], out[:used], [])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "o.onnx")
    (tmp_path / "o.yaml").write_text("size: 8")
    with pytest.raises(ModelError, match=said):
        load_onnx(tmp_path / "o.onnx")


@pytest.mark.parametrize("name", ["mobilefacenet_512", "sface_2021dec"])
def test_real_networks(name):
    file = WEIGHTS / f"{name}.onnx"
    if not file.exists():
        pytest.skip("needs the face networks in ../shared/weights")
    loaded = load_onnx(file)
    form = loaded.form
    rng = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (2, 3, form.size, form.size), generator=rng).float()
    x = (x - torch.tensor(form.mean).view(3, 1, 1)) / torch.tensor(form.std).view(3, 1, 1)
    net = loaded.net.eval()
    with torch.no_grad():
        ours, expected = net(x), runtimes(file, x)
    assert ours.shape == (2, loaded.features)
    scale = expected.std()
    torch.testing.assert_close(ours / scale, expected / scale, rtol=1e-4, atol=1e-4)
    net(x).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in net.parameters())
