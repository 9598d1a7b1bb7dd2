"""Backbones beside OML's extractors: the same random weights, copied key for key, give the same features."""

import pytest
import torch
from torch import nn

from bonaface.models.backbones import build_backbone

pytest.importorskip("oml", reason="needs open-metric-learning, in an environment of its own: make parity")

from oml.const import MEAN, STD
from oml.models import ResnetExtractor, ViTExtractor

EXTRACTORS = {
    "resnet18_imagenet1k_v1": ResnetExtractor,
    "resnet34_imagenet1k_v1": ResnetExtractor,
    "vits16_dino": ViTExtractor,
    "vitb14_dinov2": ViTExtractor,
}


def shaken(extractor: nn.Module) -> nn.Module:
    """Weights far from the initial ones: those leave layer scales near zero and batch norms as identities."""
    generator = torch.Generator().manual_seed(0)
    for name, value in extractor.state_dict().items():
        if not value.is_floating_point():
            continue
        noise = torch.randn(value.shape, generator=generator)
        if name.endswith("running_var"):
            value.copy_(1 + 0.5 * noise.sigmoid())
        elif value.ndim == 1 and name.endswith(("weight", "gamma")):
            value.copy_(1 + 0.1 * noise)
        elif name.endswith("pos_embed"):
            value.copy_(0.5 * noise)
        else:
            value.copy_(noise / max(1, value[0].numel()) ** 0.5)
    return extractor.eval()


SIZES = [(name, 224) for name in EXTRACTORS] + [("vits16_dino", 112), ("vitb14_dinov2", 112), ("vitb14_dinov2", 266)]


@pytest.mark.parametrize(("name", "size"), SIZES)
def test_outputs_with_omls_weights(name, size, tmp_path):
    extractor = EXTRACTORS[name](weights=None, **EXTRACTORS[name].pretrained_models[name]["init_args"])
    shaken(extractor)
    checkpoint = tmp_path / "oml.ckpt"
    torch.save({"state_dict": extractor.state_dict()}, checkpoint)
    backbone = build_backbone(name, weights=str(checkpoint), size=size).eval()

    images = torch.randint(0, 256, (2, 3, size, size), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    normalised = (images / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    with torch.no_grad():
        expected, features = extractor(normalised), backbone(images)
    assert features.shape == (2, extractor.feat_dim) == (2, backbone.features)
    assert expected.std() > 0.1
    assert (expected[0] - expected[1]).abs().max() > 1e-3 * expected.abs().max()
    torch.testing.assert_close(features / expected.std(), expected / expected.std(), rtol=1e-5, atol=1e-5)
