"""Losses with class centres: their formulas, gradients at the edges, precision, and that they learn."""

import math

import numpy as np
import pytest
import torch

from bonaface.errors import ConfigError
from bonaface.losses import LOSSES, has_prototypes
from bonaface.losses.margin_softmax import adaface, arcface, cosface, subcenter_arcface

NAMES = [name for name in LOSSES if has_prototypes(name)]


@pytest.fixture
def batch():
    random = torch.Generator().manual_seed(3)
    return torch.randn(6, 5, generator=random) * torch.tensor([1.0, 4, 9, 16, 30, 200])[:, None], torch.tensor(
        [0, 1, 2, 3, 0, 2]
    )


def cosines(head, vectors):
    """From each image to each centre, by numpy: (n, classes)."""
    x, w = vectors.detach().numpy().astype(np.float64), head.loss.W.detach().numpy().astype(np.float64).T
    return x @ w.T / np.linalg.norm(x, axis=1)[:, None] / np.linalg.norm(w, axis=1)


def cross_entropy(cosine, labels, own, scale):
    logits = cosine.copy()
    logits[np.arange(len(labels)), labels] = own
    logits *= scale
    return np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels])


def own(cosine, labels):
    return cosine[np.arange(len(labels)), labels]


def test_arcface_and_cosface_by_their_formulas(batch):
    vectors, labels = batch
    for head, margin, moved in (
        (arcface(4, 5, 0.3, 8), 0.3, lambda c: np.cos(np.arccos(c) + 0.3)),
        (arcface(4, 5, scale=8), 0.5, lambda c: np.cos(np.arccos(c) + 0.5)),
        (cosface(4, 5, 0.2, 8), 0.2, lambda c: c - 0.2),
        (cosface(4, 5, scale=8), 0.35, lambda c: c - 0.35),
    ):
        cosine = cosines(head, vectors)
        target = own(cosine, labels)
        if "ArcFace" in type(head.loss).__name__:  # past pi, where the cosine would rise again, a straight line goes on
            target = np.where(np.arccos(target) <= math.pi - margin, moved(target), target - margin * math.sin(margin))
        else:
            target = moved(target)
        value, wrong = head(vectors, labels)
        assert value.item() == pytest.approx(cross_entropy(cosine, labels, target, 8), rel=1e-5)
        assert wrong.item() == pytest.approx(np.mean(cosine.argmax(axis=1) != labels.numpy()))


def test_the_nearest_of_three_centres_counts(batch):
    vectors, labels = batch
    head = subcenter_arcface(4, 5, 0.3, 8)
    nearest = cosines(head, vectors).reshape(6, 4, 3).max(axis=2)
    angle = np.arccos(own(nearest, labels))
    target = np.where(angle <= math.pi - 0.3, np.cos(angle + 0.3), np.cos(angle) - 0.3 * math.sin(0.3))
    assert head(vectors, labels).value.item() == pytest.approx(cross_entropy(nearest, labels, target, 8), rel=1e-5)


def test_adaface_by_its_formula_and_its_running_lengths(batch):
    vectors, labels = batch
    head = adaface(4, 5, 0.4, 8)
    lengths = np.linalg.norm(vectors.numpy(), axis=1).clip(1e-3, 100)
    mean, std = 20.0, 100.0
    for _ in range(3):
        mean, std = 0.99 * mean + 0.01 * lengths.mean(), 0.99 * std + 0.01 * lengths.std(ddof=1)
        quality = np.clip((lengths - mean) / (std + 1e-3) * 0.333, -1, 1)
        cosine = cosines(head, vectors)
        turned = np.clip(np.arccos(own(cosine, labels)) - 0.4 * quality, 1e-3, math.pi - 1e-3)
        expected = cross_entropy(cosine, labels, np.cos(turned) - 0.4 - 0.4 * quality, 8)
        assert head(vectors, labels).value.item() == pytest.approx(expected, rel=1e-5)
    head.eval()
    head(10 * vectors, labels)
    assert head.loss.length_mean.item() == pytest.approx(mean, rel=1e-5)  # judging moves nothing


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_on_a_centre_and_opposite_of_it(name):
    head = LOSSES[name](2, 3)
    centre = head.loss.W.detach()[:, 0]
    vectors = torch.stack([centre, -centre, torch.zeros(3)]).requires_grad_()
    head(vectors, torch.tensor([0, 0, 1])).value.backward()
    assert vectors.grad.isfinite().all()
    assert head.loss.W.grad.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_autocast_changes_nothing(name, batch):
    vectors, labels = batch
    head = LOSSES[name](4, 5).eval()
    plain = head(vectors, labels).value
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(head(vectors, labels).value, plain)
    assert head(vectors.bfloat16(), labels).value.dtype == torch.float32


@pytest.mark.parametrize("name", NAMES)
def test_it_pulls_classes_apart(name):
    """Vectors that are free to move, of six classes: in the end each is nearest to its own centre, and far from the others."""
    torch.manual_seed(0)
    labels = torch.arange(6).repeat_interleave(4)
    vectors = torch.randn(24, 8, requires_grad=True)
    head = LOSSES[name](6, 8, scale=16)
    first = head(vectors, labels)
    moving = torch.optim.Adam([vectors, *head.parameters()], lr=0.05)
    for _ in range(60):
        moving.zero_grad()
        head(vectors, labels).value.backward()
        moving.step()
    last = head(vectors, labels)
    assert first.active > 0.5
    assert last.active == 0
    assert last.value < 0.2 * first.value
    if name != "subcenter_arcface":  # whose three centres may each hold some of a class
        unit = torch.nn.functional.normalize(vectors.detach())
        alike, same = unit @ unit.T, labels[:, None] == labels
        assert alike[same].mean() > alike[~same].mean() + 0.5


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0, -1, float("nan"), math.inf])
def test_what_makes_no_sense_is_refused(name, value):
    with pytest.raises(ConfigError, match="margin: expected a number above 0"):
        LOSSES[name](3, 4, margin=value)
    with pytest.raises(ConfigError, match="scale: expected a number above 0"):
        LOSSES[name](3, 4, scale=value)
