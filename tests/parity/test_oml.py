"""Losses and sampler beside the library that the report used: same input, same numbers.

Open Metric Learning pins numpy below 2, so that it has an environment of its own: `make parity`.
"""

from collections import Counter

import numpy as np
import pytest
import torch

from bonaface.batches.samplers import BalanceSampler
from bonaface.errors import ConfigError
from bonaface.losses.triplet import cosine_triplet, soft_triplet, triplet

pytest.importorskip("oml", reason="needs open-metric-learning, in an environment of its own: make parity")

from oml.losses.triplet import TripletLossWithMiner
from oml.miners.inbatch_all_tri import AllTripletsMiner
from oml.samplers.balance import BalanceSampler as OmlBalanceSampler

BATCHES = {
    "balanced": torch.arange(8).repeat(4),
    "ragged": torch.tensor([5, 5, 2, 2, 2, 9, 9, 5, 2, 7, 7, 5, 5]),
    "report": torch.arange(25).repeat(4),
}


def embeddings(labels: torch.Tensor, kind: str) -> torch.Tensor:
    n = len(labels)
    x = torch.randn(n, 512, generator=torch.Generator().manual_seed(n))
    if kind == "unit":
        x = torch.nn.functional.normalize(x, dim=1)
    elif kind == "repeated":  # as where the sampler repeats images
        x = torch.nn.functional.normalize(x[labels % 5], dim=1)
    elif kind == "clustered":  # most triplets right, some not
        x = 0.05 * x + torch.nn.functional.normalize(x[labels % n], dim=1)
    return x.requires_grad_()


def omls(x: torch.Tensor, labels: torch.Tensor, margin: float | None, reduction: str):
    loss = TripletLossWithMiner(margin=margin, miner=AllTripletsMiner(), reduction=reduction, need_logs=True)
    value = loss(x, labels)
    return value, torch.autograd.grad(value, x)[0], loss.last_logs["active_tri"]


@pytest.mark.parametrize("labels", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("kind", ["unit", "plain", "clustered", "repeated"])
@pytest.mark.parametrize("margin", [None, 0.1, 0.5])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_triplet_losses(labels, kind, margin, reduction):
    x = embeddings(labels, kind)
    value, active = soft_triplet(reduction)(x, labels) if margin is None else triplet(margin, reduction)(x, labels)
    (gradient,) = torch.autograd.grad(value, x)
    expected, expected_gradient, expected_active = omls(x, labels, margin, reduction)
    # OML sums up to 57,600 float32 numbers: "sum" is compared as a mean, so that 1e-5 means the same for both.
    scale = float(_count(labels)) if reduction == "sum" else 1.0
    torch.testing.assert_close(value / scale, expected / scale, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient / scale, expected_gradient / scale, rtol=1e-5, atol=1e-5)
    if margin is not None and kind != "repeated":  # equal images tie, and float32 decides ties by its rounding
        assert active.item() == pytest.approx(expected_active, abs=1e-4)


def _count(labels: torch.Tensor) -> int:
    same = (labels[:, None] == labels[None, :]).sum(dim=1)
    return int(((same - 1) * (len(labels) - same)).sum())


@pytest.mark.parametrize("margin", [None, 0.2])
def test_cosine_loss_of_unit_vectors_is_the_loss_of_half_squared_distances(margin):
    """OML has no cosine triplet loss; of unit vectors 1 - cos is |a - b|^2 / 2, which its miner's triplets give."""
    labels = BATCHES["report"]
    x = embeddings(labels, "unit").detach()
    a, p, n = AllTripletsMiner()._sample(labels=labels.tolist())
    gaps = ((x[a] - x[p]).square().sum(1) - (x[a] - x[n]).square().sum(1)) / 2
    expected = torch.log1p(gaps.exp()) if margin is None else torch.relu(gaps + margin)
    torch.testing.assert_close(cosine_triplet(margin)(x, labels).value, expected.mean(), rtol=1e-5, atol=1e-5)


def test_far_points_where_omls_soft_loss_breaks():
    x = (100 * embeddings(BATCHES["balanced"], "plain").detach()).requires_grad_()
    expected, gradient, _ = omls(x, BATCHES["balanced"], None, "mean")
    assert expected.isinf()
    assert gradient.isnan().any()
    value, _ = soft_triplet()(x, BATCHES["balanced"])
    assert value.isfinite()
    assert torch.autograd.grad(value, x)[0].isfinite().all()


@pytest.mark.parametrize("class_sizes", [[4] * 10, [2, 3, 9, 5, 2, 2, 7], [2, 2]], ids=["even", "ragged", "two"])
@pytest.mark.parametrize(("n_labels", "n_instances"), [(2, 2), (2, 6), (3, 4)])
def test_balance_samplers_keep_the_same_promises(class_sizes, n_labels, n_instances):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(class_sizes)), class_sizes))
    if n_labels > len(class_sizes):
        with pytest.raises(AssertionError):
            OmlBalanceSampler(labels.tolist(), n_labels, n_instances)
        with pytest.raises(ConfigError):
            BalanceSampler(labels, n_labels, n_instances, seed=0)
        return
    oml_sampler = OmlBalanceSampler(labels.tolist(), n_labels, n_instances)
    sampler = BalanceSampler(labels, n_labels, n_instances, seed=0)
    assert len(sampler) == len(oml_sampler)
    for epoch in range(5):
        steps = range(epoch * len(sampler), (epoch + 1) * len(sampler))
        for batches in (list(oml_sampler), [sampler.batch(step).tolist() for step in steps]):
            assert len(batches) == len(class_sizes) // n_labels
            assert _promises(labels, batches, n_labels, n_instances)


def _promises(labels: np.ndarray, batches: list[list[int]], n_labels: int, n_instances: int) -> bool:
    drawn: Counter[int] = Counter()
    for rows in batches:
        per_label = Counter(labels[rows].tolist())
        assert len(per_label) == n_labels
        assert set(per_label.values()) == {n_instances}
        for label in per_label:
            distinct = {row for row in rows if labels[row] == label}
            assert len(distinct) == min(n_instances, int((labels == label).sum()))
        drawn.update(per_label.keys())
    return max(drawn.values()) == 1
