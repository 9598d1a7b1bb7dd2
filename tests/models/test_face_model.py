"""The branches of a model: heads, freezing, mirroring, and where a run's files come from."""

import numpy as np
import pytest
import timm
import torch
from torch import nn

from bonaface.config import BranchConfig, ModelConfig, OptimizerConfig
from bonaface.errors import ConfigError
from bonaface.images.crops import InputSpec
from bonaface.models.backbones import build_backbone
from bonaface.models.face_model import Branch, FaceModel, build_model, joined_embeddings
from bonaface.training.optim import build_optimizer

pytest_plugins = ("tiny_networks",)


def branch(dim=None, frozen=False, seed=0):
    torch.manual_seed(seed)
    return Branch(build_backbone("timm:test_resnet", "none", 32), dim, InputSpec("face_crop", 32), frozen)


def images(n=4, seed=0):
    return torch.randint(0, 256, (n, 3, 32, 32), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def test_head():
    plain, headed = branch(), branch(dim=7)
    assert plain.dim == 96
    assert headed.dim == 7
    assert plain(images()).shape == (4, 96)
    assert headed(images()).shape == (4, 7)
    assert isinstance(headed.head, nn.Linear)


def test_a_frozen_branch_stays_bit_identical():
    model = FaceModel(branch(frozen=True), branch(dim=1, seed=1))
    frozen, moving = state(model.identity), state(model.authenticity)
    assert list(model.trained) == ["authenticity"]
    assert not model.identity.training  # not even before anyone calls train()
    model.identity(images())
    model.train()
    assert model.authenticity.training
    assert not any(module.training for module in model.identity.modules())
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for step in range(2):
        vectors, log_odds = model.embed({"identity": images(seed=step), "authenticity": images(seed=step)})
        assert not vectors.requires_grad
        log_odds.square().sum().backward()
        optimizer.step()
    assert all(torch.equal(value, frozen[name]) for name, value in model.identity.state_dict().items())
    changed = {name for name, value in model.authenticity.state_dict().items() if not torch.equal(value, moving[name])}
    assert any("running_mean" in name for name in changed)
    assert "head.weight" in changed


def partly_trained(trains, backbone="timm:test_vit", unit_features=True):
    torch.manual_seed(0)
    return Branch(build_backbone(backbone, "none", 32), 1, InputSpec("face_crop", 32), False, trains, unit_features)


@pytest.mark.parametrize("backbone", ["timm:test_vit", "timm:test_resnet", "timm:test_convnext"])
@pytest.mark.parametrize("trains", ["norms", "head"])
def test_only_the_chosen_weights_move(backbone, trains):
    model = partly_trained(trains, backbone).train()
    before, started = state(model), {name for name, weight in model.named_parameters() if weight.requires_grad}
    kinds = {name: type(module).__name__ for name, module in model.named_modules()}
    norms = {
        name for name in before if "Norm" in kinds[name.rpartition(".")[0]] and name.endswith((".weight", ".bias"))
    }
    assert started - {"head.weight", "head.bias"} == (norms if trains == "norms" else set())
    assert norms
    optimizer = build_optimizer(model.parameters(), OptimizerConfig(lr=0.1))
    for step in range(2):
        optimizer.zero_grad()
        model(images(seed=step)).square().sum().backward()
        optimizer.step()
    assert {id(weight) for weight in optimizer.state} == {
        id(weight) for weight in model.parameters() if weight.requires_grad
    }
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert {name for name, _ in model.named_parameters()} & moved <= started
    assert {"head.weight"} <= moved
    statistics = {name for name in before if "running_" in name}
    assert statistics & moved == (statistics if trains == "norms" else set())


def test_what_is_not_trained_stays_in_evaluation_mode():
    head, norms = (partly_trained(trains, "timm:test_resnet").train() for trains in ("head", "norms"))
    assert head.head.training
    assert not any(module.training for module in head.backbone.modules())
    assert {type(module).__name__ for module in norms.backbone.modules() if module.training} == {"BatchNorm2d"}
    assert not any(module.training for module in norms.eval().modules())


def test_unit_features_bound_the_log_odds():
    model = partly_trained("head").eval()
    with torch.no_grad():
        features = nn.functional.normalize(model.backbone(images()))
        torch.testing.assert_close(model(images()), model.head(features))
        assert (model(images()) - model.head.bias).abs().max() <= model.head.weight.norm()


def test_norms_of_a_network_without_any_are_refused():
    plain = BranchConfig("timm:vgg11", "none", size=32, trains="norms")
    with pytest.raises(ConfigError, match="no norm layers"):
        build_model(ModelConfig(BranchConfig("timm:test_resnet", "none"), plain))


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch14_dinov2", "vit_small_patch16_dinov3"])
def test_any_encoder_of_timm_has_its_own_input(name):
    cfg = timm.get_pretrained_cfg(name)
    backbone = build_backbone(f"timm:{name}", "none", 56 if "14" in name else 64)
    torch.testing.assert_close(backbone.mean.flatten(), 255 * torch.tensor(cfg.mean))
    torch.testing.assert_close(backbone.std.flatten(), 255 * torch.tensor(cfg.std))
    model = Branch(backbone, 1, InputSpec("face_crop", backbone.size), False, "norms", unit_features=True)
    assert model(images(2)).shape == (2, 1)
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert trained < 0.01 * sum(weight.numel() for weight in model.parameters())


def test_embeddings_are_unit_vectors_and_log_odds():
    model = FaceModel(branch(), branch(dim=1, seed=1)).eval()
    given = {"identity": images(), "authenticity": images(seed=1)}
    with torch.no_grad():
        vectors, log_odds = model.embed(given)
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(4))
        torch.testing.assert_close(vectors, nn.functional.normalize(model.identity(given["identity"])))
        torch.testing.assert_close(log_odds, model.authenticity(given["authenticity"])[:, 0])
    assert set(model.views) == set(model.trained) == {"identity", "authenticity"}


def test_a_plain_model_judges_no_authenticity():
    model = FaceModel(branch()).eval()
    assert model.authenticate({"identity": images()}) is None
    assert set(model.views) == {"identity"}


def test_mirror():
    model = FaceModel(branch(), branch(dim=1, seed=1), flip_tta=True).eval()
    x = images()
    with torch.no_grad():
        mean = (model.identity(x) + model.identity(x.flip(-1))) / 2
        vectors, log_odds = model.embed({"identity": x, "authenticity": x})
        torch.testing.assert_close(vectors, nn.functional.normalize(mean))
        mirrored, mirrored_odds = model.embed({"identity": x.flip(-1), "authenticity": x.flip(-1)})
        torch.testing.assert_close(mirrored, vectors)
        torch.testing.assert_close(mirrored_odds, log_odds)
        model.flip_tta = False
        assert not torch.allclose(model.embed({"identity": x, "authenticity": x})[0], vectors, atol=1e-4)


def test_build_model():
    config = ModelConfig(
        BranchConfig("timm:test_resnet", "none", size=48, dim=5, frozen=True),
        BranchConfig("timm:test_efficientnet", "none", size=24, crop=True),
        flip_tta=True,
    )
    model = build_model(config)
    assert model.flip_tta
    assert model.views == {
        "identity": InputSpec("face_crop", 48),
        "authenticity": InputSpec("face_crop", 24, crop=True),
    }
    assert (model.identity.dim, model.identity.frozen) == (5, True)
    assert (model.authenticity.dim, model.authenticity.frozen) == (1, False)
    with pytest.raises(ConfigError, match="no backbone"):
        build_model(ModelConfig(BranchConfig("resnet")))


def test_a_run_needs_neither_download_nor_the_original_file(tmp_path, write_network, monkeypatch):
    kept = write_network(tmp_path / "files" / "net.onnx", width=6)
    gone = BranchConfig(f"onnx:{tmp_path / 'gone' / 'net.onnx'}", weights="pretrained")
    model = build_model(ModelConfig(gone), kept.parent)
    assert model.identity.dim == 6
    create = timm.create_model

    def offline(name, **options):
        assert not options.get("pretrained")
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    build_model(ModelConfig(BranchConfig("timm:test_resnet", "pretrained", size=32)), kept.parent)


def test_joined_embeddings():
    parts = [(torch.ones(2, 3), torch.zeros(2)), (torch.zeros(1, 3), torch.ones(1))]
    whole = joined_embeddings(parts)
    np.testing.assert_array_equal(whole.identity, [[1, 1, 1], [1, 1, 1], [0, 0, 0]])
    np.testing.assert_array_equal(whole.authenticity, [0, 0, 1])
    assert whole.identity.dtype == np.float32
    assert joined_embeddings([(torch.ones(2, 3), None)]).authenticity is None
