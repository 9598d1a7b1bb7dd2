"""The losses against slow references that build every triplet, one by one, in float64."""

from itertools import product
from math import exp, inf, log1p

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bonaface.errors import ConfigError
from bonaface.losses import triplet as losses_module
from bonaface.losses.triplet import cosine_triplet, soft_triplet, triplet

REDUCTIONS = ("mean", "sum", "mean_active")


def name_of(value) -> str | None:
    if isinstance(value, torch.nn.Module):
        return f"{type(value.distance).__name__}-{value.margin}-{value.reduction}"
    return None


RAGGED = [4, 0, 0, 7, 0, 4, 4, 7, 1]  # classes of 3, 3, 2 and 1, mixed


def euclidean(x: NDArray, i: int, j: int) -> float:
    return float(np.sqrt(((x[i] - x[j]) ** 2).sum()))


def cosine(x: NDArray, i: int, j: int) -> float:
    return float(1 - (x[i] @ x[j]) / np.sqrt((x[i] @ x[i]) * (x[j] @ x[j])))


def reference(
    x: NDArray, labels: list[int], distance, margin: float | None, reduction: str, anchors: int | None = None
) -> tuple[float, float]:
    """Value and active share by the definition: a loop over (a, p, n), where the first ``anchors`` alone are a."""
    values, wrong = [], 0
    everyone = range(len(labels))
    for a, p, n in product(everyone[:anchors], everyone, everyone):
        if a == p or labels[a] != labels[p] or labels[a] == labels[n]:
            continue
        gap = distance(x, a, p) - distance(x, a, n)
        values.append(max(0.0, gap + margin) if margin is not None else log1p(exp(gap)))
        wrong += (values[-1] > 0) if margin is not None else (gap > 0)
    if not values:
        return 0.0, 0.0
    divisor = {"sum": 1, "mean": len(values), "mean_active": max(1, sum(v > 0 for v in values))}[reduction]
    return sum(values) / divisor, wrong / len(values)


def embeddings(n: int, d: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()


CASES = [
    pytest.param(loss, distance, margin, reduction, id=f"{name}-{reduction}")
    for name, loss, distance, margin in (
        ("soft", soft_triplet, euclidean, None),
        ("margin", lambda reduction: triplet(0.5, reduction), euclidean, 0.5),
        ("cosine_margin", lambda reduction: cosine_triplet(0.3, reduction), cosine, 0.3),
        ("cosine_soft", lambda reduction: cosine_triplet(None, reduction), cosine, None),
    )
    for reduction in REDUCTIONS
]


@pytest.mark.parametrize(("loss", "distance", "margin", "reduction"), CASES)
def test_value_and_active_equal_the_triple_loop(loss, distance, margin, reduction):
    x = embeddings(len(RAGGED), 5)
    value, active = loss(reduction)(x, torch.tensor(RAGGED))
    expected, share = reference(x.detach().numpy(), RAGGED, distance, margin, reduction)
    assert 0 < share < 1
    assert value.item() == pytest.approx(expected, rel=1e-9)
    assert active.item() == pytest.approx(share)
    assert not active.requires_grad


@pytest.mark.parametrize(("loss", "distance", "margin", "reduction"), CASES)
def test_gradient_equals_finite_differences(loss, distance, margin, reduction):
    x = embeddings(len(RAGGED), 5, seed=1)
    module = loss(reduction)
    assert torch.autograd.gradcheck(lambda e: module(e, torch.tensor(RAGGED)).value, (x,), eps=1e-7, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=8),
    margin=st.none() | st.floats(0.05, 3),
    reduction=st.sampled_from(REDUCTIONS),
    seed=st.integers(0, 1000),
)
def test_any_labels_equal_the_triple_loop(labels, margin, reduction, seed):
    x = embeddings(len(labels), 3, seed)
    module = soft_triplet(reduction) if margin is None else triplet(margin, reduction)
    value, active = module(x, torch.tensor(labels))
    expected, share = reference(x.detach().numpy(), labels, euclidean, margin, reduction)
    assert value.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert active.item() == pytest.approx(share)


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=6),
    earlier=st.lists(st.integers(0, 3), max_size=6),
    margin=st.none() | st.floats(0.05, 3),
    reduction=st.sampled_from(REDUCTIONS),
    seed=st.integers(0, 1000),
)
def test_earlier_images_are_positives_and_negatives_and_no_anchors(labels, earlier, margin, reduction, seed):
    n = len(labels)
    x, old = embeddings(n, 3, seed), embeddings(len(earlier), 3, seed + 1)
    module = soft_triplet(reduction) if margin is None else triplet(margin, reduction)
    value, active = module(x, torch.tensor(labels), (old, torch.tensor(earlier, dtype=torch.int64)))
    every = torch.cat([x, old]).detach().numpy()
    expected, share = reference(every, labels + earlier, euclidean, margin, reduction, n)
    assert value.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert active.item() == pytest.approx(share)


@pytest.mark.parametrize("loss", [soft_triplet(), triplet(), cosine_triplet(), cosine_triplet(0.2)], ids=name_of)
def test_the_gradient_with_earlier_images_is_that_of_the_value(loss):
    x, old = embeddings(5, 4), embeddings(7, 4, 1).detach()
    labels, names = torch.tensor([0, 1, 0, 2, 1]), torch.tensor([0, 0, 1, 1, 2, 2, 3])
    assert torch.autograd.gradcheck(lambda y: loss(y, labels, (old, names)).value, x)


@pytest.mark.parametrize("loss", [soft_triplet(), triplet(), cosine_triplet(), cosine_triplet(0.2)], ids=name_of)
def test_order_of_the_batch_does_not_matter(loss):
    x = embeddings(len(RAGGED), 5)
    shuffle = torch.randperm(len(RAGGED), generator=torch.Generator().manual_seed(3))
    direct, shuffled = loss(x, torch.tensor(RAGGED)), loss(x[shuffle], torch.tensor(RAGGED)[shuffle])
    torch.testing.assert_close(direct.value, shuffled.value)
    torch.testing.assert_close(direct.active, shuffled.active)


def test_soft_loss_is_the_same_in_small_blocks(monkeypatch):
    x = embeddings(len(RAGGED), 5)
    whole = soft_triplet()(x, torch.tensor(RAGGED))
    (gradient,) = torch.autograd.grad(whole.value, x)
    monkeypatch.setattr(losses_module, "_BLOCK", 50)  # two anchors at a time
    blocks = soft_triplet()(x, torch.tensor(RAGGED))
    torch.testing.assert_close(blocks.value, whole.value)
    torch.testing.assert_close(torch.autograd.grad(blocks.value, x)[0], gradient)


ALL_TRIPLETS = [
    make(reduction)
    for reduction in REDUCTIONS
    for make in (
        soft_triplet,
        lambda r: triplet(0.5, r),
        lambda r: cosine_triplet(None, r),
        lambda r: cosine_triplet(0.2, r),
    )
]


@pytest.mark.parametrize("loss", ALL_TRIPLETS, ids=name_of)
def test_far_points_stay_finite(loss):
    x = (embeddings(8, 16, dtype=torch.float32).detach() * 1e6).requires_grad_()
    value, _ = loss(x, torch.tensor([0, 0, 1, 1, 2, 2, 3, 3]))
    value.backward()
    assert value.isfinite()
    assert x.grad.isfinite().all()
    assert x.grad.abs().sum() > 0


def test_far_points_cost_their_distance():
    x = torch.tensor([[0.0], [5000.0], [1.0]], requires_grad=True)
    value, _ = soft_triplet()(x, torch.tensor([0, 0, 1]))  # gaps 5000 - 1 and 5000 - 4999
    assert value.item() == pytest.approx((4999 + log1p(exp(1))) / 2)


@pytest.mark.parametrize("loss", ALL_TRIPLETS, ids=name_of)
def test_duplicates_have_finite_gradients(loss):
    base = embeddings(4, 512, dtype=torch.float32).detach()
    x = base.repeat(2, 1).repeat(8, 1).requires_grad_()  # 64 rows: cdist takes its matrix-product path
    value, _ = loss(x, torch.arange(4).repeat(16))
    value.backward()
    assert value.isfinite()
    assert x.grad.isfinite().all()
    assert x.grad.abs().max() < 10 * max(1.0, value.item())


def test_duplicates_are_at_distance_zero_in_float32():
    unit = torch.nn.functional.normalize(embeddings(2, 512, dtype=torch.float32).detach(), dim=1)
    x = unit.repeat_interleave(20, dim=0)  # (40, 512)
    value, _ = triplet(margin=2.0)(x, torch.arange(2).repeat_interleave(20))
    assert value.item() == pytest.approx(2 - euclidean(unit.double().numpy(), 0, 1), abs=1e-6)


@pytest.mark.parametrize("loss", ALL_TRIPLETS, ids=name_of)
@pytest.mark.parametrize("labels", [[], [3], [3, 3, 3], [1, 2, 3]], ids=["empty", "one", "one_class", "no_positives"])
def test_batch_without_a_triplet_costs_nothing(loss, labels):
    x = embeddings(len(labels), 4)
    value, active = loss(x, torch.tensor(labels, dtype=torch.int64))
    value.backward()
    assert value.item() == active.item() == 0
    assert x.grad.shape == x.shape
    assert not x.grad.any()


@pytest.mark.parametrize("loss", ALL_TRIPLETS, ids=name_of)
def test_a_broken_embedding_is_not_hidden(loss):
    x = embeddings(6, 4).detach()
    x[2, 1] = float("nan")
    assert loss(x, torch.tensor([0, 0, 1, 1, 2, 2])).value.isnan()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_precision_in_and_out(dtype):
    x = embeddings(6, 4, dtype=dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value, active = cosine_triplet(0.5)(x, torch.tensor([0, 0, 1, 1, 2, 2]))
    expected, _ = reference(x.detach().double().numpy(), [0, 0, 1, 1, 2, 2], cosine, 0.5, "mean")
    value.backward()
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert value.item() == pytest.approx(expected, rel=1e-6)
    assert active.dtype == torch.float32
    assert x.grad.dtype == dtype


def test_memory_does_not_hold_the_triplets():
    """1000 images have 9 million triplets; the margin loss keeps a few (1000, 1000) matrices."""
    x, labels = embeddings(1000, 8, dtype=torch.float32), torch.arange(100).repeat(10)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()) or t, lambda t: t):
        triplet()(x, labels)
    assert sum(saved) < 5 * 1000**2


@pytest.mark.parametrize("margin", [0, -1, float("nan"), inf])
def test_margin_must_be_positive(margin):
    for make in (triplet, cosine_triplet):
        with pytest.raises(ConfigError, match="margin"):
            make(margin)


def test_other_settings_are_checked():
    with pytest.raises(ConfigError, match="mean, sum, mean_active"):
        soft_triplet("average")
