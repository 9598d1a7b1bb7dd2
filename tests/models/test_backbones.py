"""A name to a network: which names, which weights, which size, and what is said where one does not fit."""

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from bonaface.errors import ConfigError, ModelError
from bonaface.models.backbones import OML_NAMES, build_backbone, list_backbones, weights_file
from bonaface.models.pos_embed import resample_as_oml

pytest_plugins = ("tiny_networks",)

OML = ["resnet18_imagenet1k_v1", "resnet34_imagenet1k_v1", "vitb14_dinov2", "vits16_dino"]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """No test sees the user's weights, or a network."""
    monkeypatch.setenv("BONAFACE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "home"


def images(n=2, size=32):
    return torch.randint(0, 256, (n, 3, size, size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def resnet(seed=0):
    torch.manual_seed(seed)
    return timm.create_model("test_resnet", num_classes=0)


def test_names():
    assert sorted(OML_NAMES) == OML
    assert list_backbones("*v1") == OML[:2]
    assert list_backbones("vit*") == OML[2:]
    everything = list_backbones()
    assert set(OML) < set(everything)
    assert "timm:test_resnet" in everything
    assert list_backbones("timm:test_resnet*") == ["timm:test_resnet"]
    assert everything == sorted(everything)
    assert list_backbones("nothing*") == []


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "resnet18",
            r'no backbone is called "resnet18": expected one of resnet18_imagenet1k_v1, .*timm:NAME or onnx:FILE',
        ),
        ("timm:", 'no backbone is called "timm:"'),
        ("onnx:", 'no backbone is called "onnx:"'),
        ("torch:resnet18", "no backbone"),
        ("", "no backbone"),
        ("timm:test_resnets", r'timm has no model "test_resnets": did you mean one of .*test_resnet'),
        ("timm:efficentnet_lite0", r'timm has no model "efficentnet_lite0": did you mean one of efficientnet_lite0'),
        ("timm:zzz", 'timm has no model "zzz"'),
        ("timm:test_resnet.nope", r'timm has no weights "test_resnet.nope": expected one of test_resnet.r160_in1k'),
    ],
)
def test_unknown_names(name, sentence):
    with pytest.raises(ConfigError, match=sentence) as caught:
        build_backbone(name, "none")
    assert "\n" not in str(caught.value)


def test_an_onnx_file_that_is_not_there(tmp_path):
    with pytest.raises(ModelError, match=r"gone\.onnx: no such ONNX file"):
        build_backbone(f"onnx:{tmp_path / 'gone.onnx'}")


def test_oml_names_are_timm_models():
    for name, known in OML_NAMES.items():
        assert timm.is_model(known.timm_name)
        assert timm.models.get_pretrained_cfg(known.timm_name).tag == known.timm_name.split(".")[1], name


def test_an_oml_name():
    backbone = build_backbone("resnet18_imagenet1k_v1", "none", size=32).eval()
    assert (backbone.size, backbone.features) == (32, 512)
    with torch.no_grad():
        assert backbone(images()).shape == (2, 512)
    assert build_backbone("resnet18_imagenet1k_v1", "none").size == 224


@pytest.mark.parametrize(
    "name", ["test_resnet", "test_vit", "test_vit2", "test_convnext", "test_efficientnet", "mobilenetv3_small_050"]
)
@pytest.mark.parametrize("size", [None, 64])
def test_features_are_as_long_as_announced(name, size):
    backbone = build_backbone(f"timm:{name}", "none", size).eval()
    assert backbone.size == (size or timm.models.get_pretrained_cfg(name).input_size[-1])
    with torch.no_grad():
        assert backbone(images(size=40)).shape == (2, backbone.features)


def test_a_network_of_one_size_only():
    with pytest.raises(ConfigError, match=r"timm:test_maxvit: takes images of 160 x 160 pixels only, but size is 64"):
        build_backbone("timm:test_maxvit", "none", size=64)
    assert build_backbone("timm:test_maxvit", "none", size=160).size == 160


def test_images_are_normalised_as_timm_does():
    backbone = build_backbone("resnet18_imagenet1k_v1", "none", size=32).eval()
    cfg = timm.models.get_pretrained_cfg("resnet18.tv_in1k")
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (cfg.mean, cfg.std))
    x = images()
    with torch.no_grad():
        torch.testing.assert_close(backbone(x), backbone.net((x / 255 - mean) / std))


def test_images_of_another_size_are_resized():
    backbone = build_backbone("timm:test_resnet", "none", size=32).eval()
    x = images(size=48)
    small = F.interpolate(x.float(), (32, 32), mode="bilinear", antialias=True)
    with torch.no_grad():
        torch.testing.assert_close(backbone(x), backbone(small))
        assert not torch.allclose(backbone(x), backbone(x[:, :, :32, :32]))


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_pretrained_weights_from_a_file(home, ending):
    net = resnet()
    file = weights_file("test_resnet", ending)
    assert file.parent.parent == home
    file.parent.mkdir(parents=True)
    if ending == "pth":
        torch.save(net.state_dict(), file)
    else:
        save_file(net.state_dict(), file)
    backbone = build_backbone("timm:test_resnet", "pretrained", size=32)
    for name, value in net.state_dict().items():
        assert torch.equal(backbone.net.state_dict()[name], value), name


def test_pretrained_weights_of_another_network_in_the_file(home):
    file = weights_file("test_resnet")
    file.parent.mkdir(parents=True)
    save_file({"conv1.weight": torch.zeros(1)}, file)
    with pytest.raises(ModelError, match=r"timm:test_resnet, .*test_resnet\.safetensors: weights of another backbone"):
        build_backbone("timm:test_resnet", "pretrained")


def test_a_download(monkeypatch):
    """What timm fetches is what the network has."""
    fetched, whole = resnet(seed=5), timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, **o: fetched if o.get("pretrained") else whole(name, **o))
    backbone = build_backbone("timm:test_resnet", "pretrained", size=32)
    for name, value in fetched.state_dict().items():
        assert torch.equal(backbone.net.state_dict()[name], value), name


def test_a_failing_download_says_which_file_to_put_where(home, monkeypatch):
    whole = timm.create_model

    def unreachable(name, **options):
        if options.get("pretrained"):
            raise ConnectionError("no route to host\nat all")
        return whole(name, **options)

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(ModelError) as caught:
        build_backbone("resnet18_imagenet1k_v1", "pretrained", size=32)
    sentence = str(caught.value)
    assert "resnet18_imagenet1k_v1" in sentence
    assert "ConnectionError" in sentence
    assert "model.safetensors of huggingface.co/timm/resnet18.tv_in1k" in sentence
    assert str(home / "weights" / "resnet18.tv_in1k.safetensors") in sentence
    assert "\n" not in sentence


def test_the_file_of_the_sentence_helps(home, monkeypatch):
    """What the sentence asks for is what is then taken, without a network."""
    monkeypatch.setattr(timm, "create_model", _offline(timm.create_model))
    with pytest.raises(ModelError) as caught:
        build_backbone("timm:test_resnet.r160_in1k", "pretrained")
    where = home / "weights" / "test_resnet.r160_in1k.safetensors"
    assert f"at {where}," in str(caught.value)
    where.parent.mkdir(parents=True)
    torch.manual_seed(0)
    net = timm.create_model("test_resnet")  # with its classifier, as timm's files have it
    save_file(net.state_dict(), where)
    backbone = build_backbone("timm:test_resnet.r160_in1k", "pretrained")
    assert torch.equal(backbone.net.conv1[0].weight, net.conv1[0].weight)


def _offline(whole):
    def create(name, **options):
        if options.get("pretrained"):
            raise OSError("offline")
        return whole(name, **options)

    return create


def test_weights_that_timm_does_not_have():
    with pytest.raises(
        ModelError, match=r"timm:test_mambaout: timm has no pretrained weights for it: set weights to none"
    ):
        build_backbone("timm:test_mambaout", "pretrained")


def test_random_weights_come_from_torchs_seed():
    def weights(seed):
        torch.manual_seed(seed)
        return build_backbone("timm:test_resnet", "none", size=32).net.conv1[0].weight

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


@pytest.mark.parametrize("prefix", ["", "model.", "extractor.model.", "module.extractor.model."])
@pytest.mark.parametrize("wrapped", [False, True])
def test_checkpoints_of_trainers(tmp_path, prefix, wrapped):
    """OML keeps its extractor under extractor., Lightning its model under model., DDP everything under module."""
    net = resnet()
    state = {prefix + name: value for name, value in net.state_dict().items()}
    file = tmp_path / "some.ckpt"
    torch.save({"state_dict": state, "epoch": 3} if wrapped else state, file)
    backbone = build_backbone("timm:test_resnet", str(file), size=32)
    for name, value in net.state_dict().items():
        assert torch.equal(backbone.net.state_dict()[name], value), name


def test_a_checkpoint_of_another_backbone(tmp_path):
    file = tmp_path / "resnet.pth"
    torch.save(resnet().state_dict(), file)
    for other in ("timm:test_efficientnet", "timm:test_vit", "timm:test_convnext"):
        with pytest.raises(ModelError, match=r"resnet\.pth: weights of another backbone: of \d+ tensors") as caught:
            build_backbone(other, str(file))
        assert "\n" not in str(caught.value)


def test_an_onnx_backbone(tmp_path, write_network):
    file = write_network(tmp_path / "net.onnx", size=16, width=6)
    backbone = build_backbone(f"onnx:{file}").eval()
    assert (backbone.size, backbone.features, backbone.bgr) == (16, 6, True)
    x = images(size=16)
    reordered = x.float().flip(1)
    std = torch.tensor([127.5, 128.0, 64.0]).view(3, 1, 1)
    with torch.no_grad():
        expected = backbone.net((reordered - 127.5) / std)
        torch.testing.assert_close(backbone(x), expected)
        assert backbone(images(size=30)).shape == (2, 6)
    assert build_backbone(f"onnx:{file}", size=16).size == 16
    with pytest.raises(ConfigError, match=r"net\.onnx: takes images of 16 x 16 pixels, but size is 32"):
        build_backbone(f"onnx:{file}", size=32)


def test_an_onnx_backbone_from_random_weights(tmp_path, write_network):
    file = write_network(tmp_path / "net.onnx")
    ready, fresh = build_backbone(f"onnx:{file}"), build_backbone(f"onnx:{file}", "none")
    kernels = [next(p for p in each.net.parameters() if p.ndim == 4) for each in (ready, fresh)]
    assert not torch.equal(*kernels)


def test_an_onnx_backbone_from_a_checkpoint(tmp_path, write_network):
    file = write_network(tmp_path / "net.onnx")
    trained = build_backbone(f"onnx:{file}", "none")
    torch.save(trained.net.state_dict(), tmp_path / "net.pth")
    loaded = build_backbone(f"onnx:{file}", str(tmp_path / "net.pth"))
    for name, value in trained.net.state_dict().items():
        assert torch.equal(loaded.net.state_dict()[name], value), name


def test_positions_resampled_as_oml_keep_the_state_dict_and_train():
    torch.manual_seed(0)
    net = timm.create_model("test_vit", num_classes=0, dynamic_img_size=True)
    torch.nn.init.normal_(net.pos_embed)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    x = torch.randn(2, 3, 96, 64)
    native = torch.randn(1, 3, 160, 160)
    with torch.no_grad():
        timms, at_native = net.eval()(x), net(native)
    resample_as_oml(net)
    assert list(net.state_dict()) == list(before)
    with torch.no_grad():
        torch.testing.assert_close(net(native), at_native)  # nothing to resample at its own size
    features = net(x)
    assert not torch.allclose(features, timms, atol=1e-3)
    torch.testing.assert_close(features, timms, atol=0.5, rtol=0)
    features.sum().backward()
    assert net.pos_embed.grad.abs().sum() > 0


def test_the_residual_of_a_image():
    """A flat image has none; of any other it is what its 3 x 3 means leave, and the network sees that instead."""
    backbone = build_backbone("timm:test_resnet", "none", size=32, sees="residual").eval()
    seen = []
    backbone.net.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    flat = torch.full((1, 3, 32, 32), 90, dtype=torch.uint8)
    noisy = torch.randint(0, 256, (1, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    backbone(flat)
    backbone(noisy)
    torch.testing.assert_close(seen[0], torch.zeros(1, 3, 32, 32), atol=1e-5, rtol=0)
    middle = ((noisy.float() - backbone.mean) / backbone.std)[0, 1, 9:12, 5:8]
    torch.testing.assert_close(seen[1][0, 1, 10, 6], 4 * (middle[1, 1] - middle.mean()))
    assert list(backbone.state_dict()) == list(build_backbone("timm:test_resnet", "none", size=32).state_dict())
