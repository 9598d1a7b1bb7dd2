"""First layers that training leaves alone, while the others move."""

import pytest
import torch
from torch import nn

from bonaface.config import BranchConfig, ModelConfig
from bonaface.errors import ConfigError
from bonaface.models.face_model import build_model
from bonaface.models.frozen_layers import freeze_first_layers


def trained(frozen_layers, backbone="timm:test_efficientnet", **settings):
    """A network before and after a step of training in which every weight that may move moves."""
    torch.manual_seed(0)
    config = BranchConfig(backbone, "none", 32, frozen_layers=frozen_layers, **settings)
    branch = build_model(ModelConfig(config)).identity.train()
    before = {name: value.clone() for name, value in branch.backbone.net.state_dict().items()}
    images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    branch(images).square().sum().backward()
    with torch.no_grad():
        for weight in branch.parameters():
            if weight.grad is not None:
                weight += 1.0
    return before, branch.backbone.net.state_dict()


@pytest.mark.parametrize("backbone", ["timm:test_efficientnet", "timm:test_resnet", "timm:test_vit"])
def test_first_layers_stay_and_the_others_move(backbone):
    before, after = trained(1, backbone)
    moved = [not torch.equal(before[name], after[name]) for name in before if before[name].is_floating_point()]
    first = moved.index(True)
    assert first > 0
    assert not any(moved[:first])
    assert moved[-1]


def test_batch_statistics_of_frozen_layers_stay():
    before, after = trained(1)
    assert torch.equal(before["bn1.running_mean"], after["bn1.running_mean"])
    assert not torch.equal(before["bn2.running_mean"], after["bn2.running_mean"])
    all_moving = trained(0)[1]
    assert not torch.equal(before["bn1.running_mean"], all_moving["bn1.running_mean"])


def test_frozen_statistics_stay_and_weights_move():
    before, after = trained(0, frozen_statistics=True)
    moved = {name: not torch.equal(before[name], after[name]) for name in before}
    assert not any(moved[name] for name in moved if "running" in name or "num_batches" in name)
    assert all(moved[name] for name in moved if name.endswith(("weight", "bias")))


def test_the_state_dict_has_the_same_names():
    plain, fixed = (
        build_model(ModelConfig(BranchConfig("timm:test_resnet", "none", 32, frozen_layers=n))) for n in (0, 2)
    )
    assert list(plain.state_dict()) == list(fixed.state_dict())


def test_more_layers_than_there_are():
    with pytest.raises(ConfigError, match=r"timm:test_resnet: frozen_layers: expected at most 4 of its layers, got 5"):
        build_model(ModelConfig(BranchConfig("timm:test_resnet", "none", 32, frozen_layers=5)))


def test_a_network_whose_layers_are_not_known():
    with pytest.raises(ConfigError, match="expected 0, since only the layers of timm's networks are known"):
        freeze_first_layers(nn.Linear(2, 2), 1)
