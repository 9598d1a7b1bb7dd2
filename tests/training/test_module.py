"""The training step and its surroundings: gradients, schedules, optimisers, validation."""

import io
import json
import math

import pandas as pd
import pytest
import torch
from rich.console import Console
from rich.progress import Progress

from bonaface.config import OptimizerConfig
from bonaface.losses import LOSSES, has_prototypes
from bonaface.models.face_model import build_model
from bonaface.training.datamodule import prepare
from bonaface.training.module import FaceTraining
from bonaface.training.optim import Length, build_optimizer, learning_rate
from bonaface.training.run import load_run
from bonaface.training.sources import clean, read_sources

BOTH = {
    "model.authenticity.backbone": "timm:test_efficientnet",
    "model.authenticity.weights": "none",
    "model.authenticity.size": 32,
    "batch.sampler": "paired_fakes",
}

FORGED = {
    "faces.forgery.methods": ["self_blend", "rerender"],
    "faces.forgery.share": 1.0,
    "faces.crop_size": 48,
    "batch.sampler": "paired_fakes",
}


@pytest.fixture
def training(config):
    """``training(**settings)``: what Lightning is given, without Lightning's loop."""

    def make(**settings):
        settings = config(**settings)
        torch.manual_seed(settings.seed)
        model = build_model(settings.model)
        console = Console(file=io.StringIO())
        with Progress(console=console) as progress:
            tables, _, _ = clean(read_sources(settings.faces), settings.faces, settings.batch, console, progress)
            faces = prepare(tables, model.views, settings.faces, settings.batch, settings.seed, console, progress)
        sampler = faces.sampler()
        length = Length.of(len(sampler), settings.epochs, settings.steps, settings.val_every)
        return FaceTraining(model, faces, sampler, length, settings.loss, settings.optimizer)

    return make


def batches(made, steps):
    """The batches of the first steps."""
    views = {name: branch.view for name, branch in made.model.trained.items()}
    return made.faces.train_loader(views, made.sampler, range(steps)).dataset


def state(run, part=""):
    saved = torch.load(run / "last.ckpt", weights_only=True)["state_dict"]
    return {name: value for name, value in saved.items() if name.startswith(f"model.{part}")}


@pytest.mark.parametrize("name", ["soft_triplet", "triplet", "cosine_triplet"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "mean_active"])
@pytest.mark.parametrize("extra", [{}, BOTH], ids=["identity", "both"])
def test_every_trained_weight_gets_a_gradient(training, name, reduction, extra):
    check_gradients(training(**{"loss.name": name, "loss.reduction": reduction, "model.identity.dim": 6}, **extra))


@pytest.mark.parametrize("name", [name for name in LOSSES if has_prototypes(name)])
@pytest.mark.parametrize("extra", [{}, BOTH, FORGED], ids=["identity", "both", "forged"])
def test_every_weight_and_centre_gets_a_gradient_and_moves(training, name, extra):
    made = training(**{"loss.name": name, "model.identity.dim": 6}, **extra)
    check_gradients(made)
    centres = made.identity_loss.loss.W
    people = made.faces.table.frame.iloc[made.faces.train_rows]["person"].nunique()
    classes = 2 * people if extra == FORGED else len(set(made.faces.labels.tolist()) - {-1})
    assert centres.shape == (6, classes * (3 if name == "subcenter_arcface" else 1))
    assert centres.grad.any()
    held = {
        id(weight)
        for group in build_optimizer(made.parameters(), made.settings).param_groups
        for weight in group["params"]
    }
    assert id(centres) in held


def check_gradients(made):
    with torch.no_grad():  # timm begins with residual branches that are switched off by a zero
        for weight in made.model.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    batch = batches(made, 1)[0]
    value = made.training_step(batch, 0)
    assert value.isfinite()
    value.backward()
    without = [key for key, weight in made.model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert without == []


def test_the_loss_is_the_weighted_sum_of_its_terms(training):
    made = training(**BOTH, **{"loss.identity_weight": 0.3, "loss.authenticity_weight": 2.0})
    made.model.eval()
    batch = batches(made, 1)[0]
    with torch.no_grad():
        vectors = torch.nn.functional.normalize(made.model.identity(batch.images["identity"]))
        log_odds = made.model.authenticity(batch.images["authenticity"])[:, 0]
        identity = made.identity_loss(vectors, batch.labels).value
        authenticity = made.authenticity_loss(log_odds, batch.is_fake).value
        torch.testing.assert_close(made.training_step(batch, 0), 0.3 * identity + 2.0 * authenticity)


def test_a_frozen_branch_has_no_loss(training):
    made = training(**BOTH, **{"model.identity.frozen": True})
    batch = batches(made, 1)[0]
    assert set(batch.images) == {"authenticity"}
    made.training_step(batch, 0).backward()
    assert all(weight.grad is None for weight in made.model.identity.parameters())


def test_a_frozen_branch_stays_bit_identical_through_a_run(trained, training):
    settings = BOTH | {"model.identity.frozen": True}
    begun = training(**settings).model.state_dict()
    run = trained("frozen", **settings)
    identity = state(run, "identity.")
    assert identity
    assert any("running_mean" in name for name in identity)
    assert all(torch.equal(value, begun[name.removeprefix("model.")]) for name, value in identity.items())
    moved = [not torch.equal(value, begun[name.removeprefix("model.")]) for name, value in state(run, "auth").items()]
    assert all(moved)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_schedule(schedule):
    settings = OptimizerConfig(schedule=schedule, warmup=0.1)
    rates = [learning_rate(step, 100, settings) for step in range(101)]
    assert rates[:10] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    if schedule == "constant":
        assert set(rates[10:]) == {1.0}
    else:
        assert rates[55] == pytest.approx(0.5)
        assert rates[10:] == pytest.approx([(1 + math.cos(math.pi * k / 90)) / 2 for k in range(91)])
        assert rates[100] == pytest.approx(0.0)


def test_schedule_without_warmup_and_in_one_step():
    settings = OptimizerConfig(warmup=0.0)
    assert learning_rate(0, 10, settings) == 1.0
    assert learning_rate(0, 1, settings) == 1.0
    assert learning_rate(5, 1, settings) == pytest.approx(0.0)
    assert learning_rate(0, 1, OptimizerConfig(warmup=1.0)) == 1.0


@pytest.mark.parametrize(
    ("settings", "steps"),
    [({"steps": 6, "val_every": 2}, 6), ({"steps": 7, "val_every": 3, "optimizer.accumulate": 2}, 2 + 2 + 1)],
)
def test_the_schedule_ends_with_the_training(trained, settings, steps):
    """Lightning moves the optimiser at the end of a round too, however many batches were added up."""
    run = trained("ends", **settings)
    saved = torch.load(run / "last.ckpt", weights_only=True)
    assert saved["global_step"] == steps
    assert saved["lr_schedulers"][0]["last_epoch"] == steps
    assert saved["lr_schedulers"][0]["_last_lr"] == pytest.approx([0.0, 0.0], abs=1e-12)


def test_optimizer_groups(training):
    model = training().model
    adamw = build_optimizer(model.parameters(), OptimizerConfig(lr=0.25, weight_decay=0.5))
    assert isinstance(adamw, torch.optim.AdamW)
    decayed, plain = adamw.param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.5, 0.0)
    assert all(weight.ndim >= 2 for weight in decayed["params"])
    assert all(weight.ndim < 2 for weight in plain["params"])
    assert len(decayed["params"]) + len(plain["params"]) == len(list(model.parameters()))
    sgd = build_optimizer(model.parameters(), OptimizerConfig("sgd", lr=0.25))
    assert isinstance(sgd, torch.optim.SGD)
    assert {group["momentum"] for group in sgd.param_groups} == {0.9}


def test_one_step_of_sgd_by_hand(trained, training):
    """Without warm-up or momentum's past, the first step is w - lr * gradient."""
    settings = {"optimizer.name": "sgd", "optimizer.lr": 0.1, "optimizer.weight_decay": 0.0, "optimizer.warmup": 0.0}
    settings |= {"optimizer.schedule": "constant", "steps": 1, "val_every": 1, "model.identity.dim": 4}
    made = training(**settings)
    made.train()
    batch = batches(made, 1)[0]
    made.training_step(batch, 0).backward()
    expected = {name: weight - 0.1 * weight.grad for name, weight in made.model.named_parameters()}
    ended = state(trained("one", **settings))
    for name, weight in expected.items():
        torch.testing.assert_close(ended[f"model.{name}"], weight.detach(), rtol=1e-4, atol=1e-6)


def test_accumulation_is_the_mean_of_gradients(trained, training):
    settings = {"optimizer.name": "sgd", "optimizer.lr": 0.1, "optimizer.weight_decay": 0.0, "optimizer.warmup": 0.0}
    settings |= {"optimizer.schedule": "constant", "steps": 2, "val_every": 2, "optimizer.accumulate": 2}
    made = training(**settings)
    made.train()
    both = batches(made, 2)
    for index in range(2):
        (made.training_step(both[index], index) / 2).backward()
    ended = state(trained("two", **settings))
    for name, weight in made.model.named_parameters():
        torch.testing.assert_close(ended[f"model.{name}"], (weight - 0.1 * weight.grad).detach(), rtol=1e-4, atol=1e-6)


def test_clipping_bounds_the_step(trained, training):
    settings = {"optimizer.name": "sgd", "optimizer.lr": 1.0, "optimizer.weight_decay": 0.0, "optimizer.warmup": 0.0}
    settings |= {"optimizer.schedule": "constant", "steps": 1, "val_every": 1, "optimizer.clip": 1e-3}
    begun = dict(training(**settings).model.named_parameters())
    ended = state(trained("clipped", **settings))
    moved = sum((ended[f"model.{name}"] - weight).square().sum() for name, weight in begun.items())
    assert math.sqrt(moved) == pytest.approx(1e-3, rel=0.05)


def test_training_learns(trained):
    """The images are easy: people by their colours, deepfakes by their grid."""
    settings = {"steps": 60, "val_every": 30, "batch.n_labels": 6, "optimizer.lr": 3e-3, "loss.name": "cosine_triplet"}
    rows = pd.read_csv(trained("learns", **settings) / "metrics.csv")
    assert rows["train_loss"].iloc[-1] < 0.5 * rows["train_loss"].iloc[1]
    assert rows["val_challenge_eer"].iloc[-1] < rows["val_challenge_eer"].iloc[0]


def test_early_stopping(trained):
    # Without batch norm and with no steps every validation is exactly as good as the first.
    still = {"model.identity.backbone": "timm:test_convnext", "optimizer.lr": 0.0}
    rows = pd.read_csv(trained("patient", steps=40, patience=2, **still) / "metrics.csv")
    assert rows["step"].tolist() == [0, 2, 4, 6]  # the first validation, and two that were no better
    rows = pd.read_csv(trained("endless", steps=10, **still) / "metrics.csv")
    assert rows["step"].tolist() == [0, 2, 4, 6, 8, 10]


def test_validation_each_epoch_where_no_interval_is_given(trained, training):
    settings = {"steps": "null", "val_every": "null", "epochs": 2}
    made = training(**settings)
    assert made.length == Length(2 * len(made.sampler), len(made.sampler))
    rows = pd.read_csv(trained("epochs", **settings) / "metrics.csv")
    assert rows["step"].tolist() == [0, len(made.sampler), 2 * len(made.sampler)]


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(trained, workers):
    one, many = trained("none"), trained("many", **{"faces.workers": workers})
    assert all(torch.equal(value, state(many)[name]) for name, value in state(one).items())


def test_validation_sees_the_model_as_it_is_used(trained):
    """The figure of metrics.csv is that of the loaded model on the validation pairs."""
    run = trained("judged")
    figures = json.loads((run / "metrics.json").read_text())
    rows = pd.read_csv(run / "metrics.csv")
    at_best = rows[rows["step"] == figures["best_step"]].iloc[0]
    for kind in ("challenge_eer", "sv_eer", "spf_eer", "sasv_eer"):
        assert figures["val"][kind] == pytest.approx(at_best[f"val_{kind}"], abs=1e-9)
    assert not load_run(run).model.training


def test_bf16_runs(trained):
    rows = pd.read_csv(trained("half", precision="bf16") / "metrics.csv")
    assert rows["train_loss"].iloc[1:].notna().all()
