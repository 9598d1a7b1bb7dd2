"""The table of losses, and what the settings make of it."""

import typing

import pytest

from bonaface.config import LossConfig
from bonaface.errors import ConfigError
from bonaface.losses import LOSSES, build_loss, has_prototypes, list_losses


def test_the_table_holds_what_the_setting_takes():
    named = typing.get_type_hints(LossConfig)["name"]
    assert list_losses() == sorted(typing.get_args(named)) == list(LOSSES)
    assert all(make.__name__ == name for name, make in LOSSES.items())
    assert all(has_prototypes(name) == hasattr(build_loss(LossConfig(name=name), 4, 3), "loss") for name in LOSSES)


def test_build_loss():
    assert build_loss(LossConfig(name="soft_triplet"), 4, 3).margin is None
    assert build_loss(LossConfig(name="cosine_triplet", margin=None), 4, 3).margin is None
    assert build_loss(LossConfig(name="triplet", margin=0.2), 4, 3).margin == 0.2
    head = build_loss(LossConfig(name="cosface", margin=0.2, scale=30), 4, 3).loss
    assert (head.margin, head.scale, head.W.shape) == (0.2, 30, (3, 4))
    assert build_loss(LossConfig(name="cosface", margin=None), 4, 3).loss.margin == 0.35
    with pytest.raises(ConfigError, match=r"loss\.margin: triplet needs a margin"):
        build_loss(LossConfig(name="triplet", margin=None), 4, 3)
    assert build_loss(LossConfig(name="triplet", memory=7), 4, 3).vectors.shape == (7, 3)
    with pytest.raises(ConfigError, match=r"loss\.memory: arcface compares with class prototypes: expected 0"):
        build_loss(LossConfig(name="arcface", memory=7), 4, 3)
    with pytest.raises(ConfigError, match=r"loss\.reduction: adaface has no triplets: expected mean, got sum"):
        build_loss(LossConfig(name="adaface", reduction="sum"), 4, 3)
