"""Files of weights: what is read, what is refused, and that nothing in them runs."""

import os
import pickle
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from bonaface.errors import ModelError
from bonaface.models.state_dicts import fit_state_dict, read_state_dict


class Malicious:
    """Unpickling it makes a folder."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def assert_same(net, other):
    for name, value in other.state_dict().items():
        assert torch.equal(net.state_dict()[name], value), name


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s}, lambda s: {"model": s, "epoch": 1}])
def test_state_dicts(tmp_path, wrap):
    net = small()
    torch.save(wrap(net.state_dict()), tmp_path / "w.pth")
    read = read_state_dict(tmp_path / "w.pth")
    assert list(read) == list(net.state_dict())
    fresh = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    fit_state_dict(fresh, read, "w.pth")
    assert_same(fresh, net)


def test_safetensors(tmp_path):
    net = small()
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    read = read_state_dict(tmp_path / "w.safetensors")
    assert set(read) == set(net.state_dict())
    assert all(torch.equal(read[name], value) for name, value in net.state_dict().items())


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", ["bad.pth", "bad.ckpt", "bad.bin"])
def test_code_in_a_pickle_does_not_run(tmp_path, name, legacy):
    trace, file = tmp_path / "trace", tmp_path / name
    content = {"state_dict": small().state_dict(), "extra": Malicious(trace)}
    torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ModelError, match=rf"{name}: refused, for it holds more than tensors") as caught:
        read_state_dict(file)
    assert not trace.exists()
    assert "\n" not in str(caught.value)
    torch.load(file, weights_only=False)  # the file is what it is meant to be
    assert trace.exists()


def test_code_in_a_bare_pickle_does_not_run(tmp_path):
    trace, file = tmp_path / "trace", tmp_path / "bad.pkl"
    file.write_bytes(pickle.dumps(Malicious(trace)))
    with pytest.raises(ModelError, match=r"bad\.pkl"):
        read_state_dict(file)
    assert not trace.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"<html>not found</html>", b"\0" * 100, "cut"], ids=["empty", "html", "0", "cut"]
)
def test_damaged_files(tmp_path, suffix, content):
    file = tmp_path / f"w{suffix}"
    if content == "cut":
        if suffix == ".pth":
            torch.save(small().state_dict(), file)
        else:
            save_file(small().state_dict(), file)
        content = file.read_bytes()[:-60]
    file.write_bytes(content)
    with pytest.raises(ModelError, match=rf"w\{suffix}: ") as caught:
        read_state_dict(file)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder(tmp_path):
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(ModelError, match="no such file of weights"):
            read_state_dict(path)


@pytest.mark.parametrize("content", [{}, {"a": 1}, [torch.zeros(1)], torch.zeros(2), {"state_dict": {}}])
def test_files_without_tensors_by_name(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"w\.pth: holds no tensors by name: expected a state dict"):
        read_state_dict(tmp_path / "w.pth")


@pytest.mark.parametrize("prefix", ["model.", "extractor.model.", "a.b.c.d."])
def test_prefixes(prefix):
    net, fresh = small(), nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    state = {prefix + name: value for name, value in net.state_dict().items()}
    fit_state_dict(fresh, state | {"criterion.weight": torch.zeros(3)}, "w")  # other parts of a trainer are left out
    assert_same(fresh, net)


def test_the_network_is_not_confused_with_a_part_of_its_own_name():
    """conv1.weight ends layer1.0.conv1.weight too."""
    torch.manual_seed(0)
    net, fresh = timm.create_model("test_resnet", num_classes=0), timm.create_model("test_resnet", num_classes=0)
    state = {f"extractor.model.{name}": value for name, value in reversed(list(net.state_dict().items()))}
    fit_state_dict(fresh, state, "w")
    assert_same(fresh, net)


def test_a_classifier_is_left_out():
    torch.manual_seed(0)
    classifier, net = timm.create_model("test_resnet"), timm.create_model("test_resnet", num_classes=0)
    fit_state_dict(net, dict(classifier.state_dict()), "w")
    assert_same(classifier, net)


def test_positions_of_another_grid_are_resampled():
    torch.manual_seed(0)
    net, other = timm.create_model("test_vit", num_classes=0), timm.create_model("test_vit", num_classes=0, img_size=64)
    fit_state_dict(other, dict(net.state_dict()), "w")
    assert torch.equal(other.patch_embed.proj.weight, net.patch_embed.proj.weight)


def test_misfits_are_named_and_nothing_is_loaded():
    net = small()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = {name: value + 1 for name, value in net.state_dict().items()}
    state["0.weight"] = torch.zeros(5, 5)
    state["more"] = state.pop("2.bias")
    with pytest.raises(ModelError) as caught:
        fit_state_dict(net, state, "here")
    assert str(caught.value) == (
        "here: weights of another backbone: of 9 tensors, 1 missing (first: 2.bias), 1 unknown (first: more), "
        "1 of another shape (first: 0.weight)"
    )
    assert all(torch.equal(net.state_dict()[name], value) for name, value in before.items())
