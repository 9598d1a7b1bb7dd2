"""The recipe of configs/foundation.yaml on a tiny transformer: train its norms, export, verify."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bonaface.config_io import load_config
from bonaface.exporting.export import export
from bonaface.inference.verifier import load
from bonaface.models.face_model import build_model
from bonaface.training.run import load_run

RECIPE = load_config(Path(__file__).parents[2] / "configs" / "foundation.yaml")
JUDGE = RECIPE.model.authenticity
TINY = {
    "model.identity.frozen": True,
    "model.authenticity.backbone": "timm:test_vit",
    "model.authenticity.weights": "none",
    "model.authenticity.size": 32,
    "model.authenticity.trains": JUDGE.trains,
    "model.authenticity.unit_features": JUDGE.unit_features,
    "batch.sampler": RECIPE.batch.sampler,
    "model.flip_tta": True,
    "optimizer.accumulate": 3,
}


def test_the_recipe_is_the_papers():
    assert (JUDGE.trains, JUDGE.unit_features, RECIPE.batch.sampler) == ("norms", True, "paired_fakes")


@pytest.mark.parametrize("trains", ["norms", "head"])
def test_train_export_verify(trained, config, people, tmp_path, trains):
    settings = TINY | {"model.authenticity.trains": trains}
    made = config("tiny", **settings)
    torch.manual_seed(made.seed)
    before = build_model(made.model).state_dict()
    run = trained("tiny", **settings)
    model = load_run(run).model
    chosen = {f"model.{name}": weight for name, weight in model.named_parameters() if weight.requires_grad}
    assert "model.authenticity.head.weight" in chosen
    assert len(chosen) < 0.5 * len(list(model.parameters()))

    moved = {f"model.{name}" for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert moved <= chosen.keys()

    saved = torch.load(run / "last.ckpt", weights_only=True)
    states = saved["optimizer_states"][0]["state"].values()
    assert sorted(each["exp_avg"].numel() for each in states) == sorted(each.numel() for each in chosen.values())

    embedded = load(run).embed([people / "images" / "00000000" / f"{n}.png" for n in range(3)])
    file = export(run, tmp_path / "tiny.onnx", faces=people)
    exported = load(file)
    again = exported.embed([people / "images" / "00000000" / f"{n}.png" for n in range(3)])
    np.testing.assert_allclose(again.authenticity, embedded.authenticity, atol=1e-4)
    verdict = exported.verify(
        people / "images" / "00000000" / "0.png", people / "images" / "00000001" / "0.png", fmr=0.1
    )
    assert verdict.decision in {"same person", "different people", "not genuine", "cannot tell"}
