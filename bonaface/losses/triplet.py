"""Triplet losses over every triplet of a batch, in O(n^2) memory.

A triplet is (anchor, positive, negative): anchor and positive are two images of one label, the negative is of another. No loss here
builds the triplets. With d(a, b) a distance, the sum
over all triplets depends on the batch only through the (n, n) matrix D of distances, so each loss returns its value and
its derivative by D, W (n, n), and W alone is kept for the backward pass. With a memory of m earlier images both are (n, n + m).
"""

from typing import Any, Literal, NamedTuple, cast, get_args

import torch
from pytorch_metric_learning.distances import BaseDistance, CosineSimilarity, LpDistance
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from bonaface.errors import ConfigError
from bonaface.losses.base import LossValue

__all__ = ["Reduction", "TripletLoss", "cosine_triplet", "soft_triplet", "triplet"]

Reduction = Literal["mean", "sum", "mean_active"]

# Elements of the (rows, k, n) block that the soft loss works on at once: 32 MiB of float64.
_BLOCK = 2**22


class _Triplets(NamedTuple):
    """All triplets of a batch, summed: ``total`` and ``active`` are scalars, ``weights`` (n, k) is d total / d D."""

    total: Tensor
    active: Tensor
    weights: Tensor


class TripletLoss(nn.Module):
    """Mean, over all triplets of a batch, of relu(margin + d(a, p) - d(a, n)), or of log(1 + exp(d(a, p) - d(a, n))).

    Equal in value and gradient to OML's ``TripletLossWithMiner(margin, AllTripletsMiner())``. Works in float64 inside,
    whatever the precision around it: through a matrix product in float32 the distance of two equal images (a sampler
    repeats some) would come out as 1e-3 and not as 0.

    Memory: with a margin O(n^2). Soft, O(n^2) and a block of at most ``max(2**22, p n)`` numbers, with p the largest
    number of positives of an image; p is read back to the host, the one synchronisation of a step on a GPU.

    Args:
        distance: of pytorch-metric-learning; similarities s count as the distance 1 - s.
        margin: in units of the distance, above 0; ``None`` for the soft loss.
        reduction: "mean" over all triplets, "sum", or "mean_active" over those whose loss is above zero. Every soft
            loss is above zero, so that there "mean_active" is "mean".

    Raises:
        ConfigError: the margin is not above 0, or the reduction has another name.

    Sources: Schroff, Kalenichenko, Philbin, "FaceNet", CVPR 2015 (the loss); Hermans, Beyer, Leibe, "In Defense of the
    Triplet Loss for Person Re-Identification", arXiv:1703.07737, 2017 (all triplets of a batch, the soft margin, the
    mean over active triplets).
    """

    def __init__(self, distance: BaseDistance, margin: float | None, reduction: Reduction = "mean") -> None:
        super().__init__()
        if margin is not None and not 0 < margin < float("inf"):
            raise ConfigError(f"margin: expected a number above 0, or none for the soft loss, got {margin}")
        if reduction not in get_args(Reduction):
            raise ConfigError(f"reduction: expected one of {', '.join(get_args(Reduction))}, got {reduction!r}")
        self.distance = distance
        self.margin = margin
        self.reduction = reduction

    def forward(self, embeddings: Tensor, labels: Tensor, earlier: tuple[Tensor, Tensor] | None = None) -> LossValue:
        """Compare every image of the batch with every other.

        Args:
            embeddings: shape ``(n, d)``, any float type.
            labels: shape ``(n,)``, integers.
            earlier: vectors ``(m, d)`` and labels ``(m,)`` of images that are positives and negatives too, but no anchors.

        Returns:
            The loss, float32 (float64 for float64 embeddings), and the share of active triplets.
        """
        known, named = embeddings, labels
        if earlier is not None:
            known, named = torch.cat([known, earlier[0].to(known.dtype)]), torch.cat([named, earlier[1]])
        same = labels[:, None] == named[None, :]  # (n, k): k is n, and m where there are earlier images
        distances = self._distances(embeddings, known)  # (n, k)
        n_same = same.sum(dim=1)  # (n,)
        count = ((n_same - 1) * (len(named) - n_same)).sum()
        triplets = (
            _soft(distances.detach(), same) if self.margin is None else _hinge(distances.detach(), same, self.margin)
        )

        divisor = self._divisor(count, triplets.active)
        value: Tensor = _Weighted.apply(distances, triplets.total / divisor, triplets.weights / divisor)
        share = (triplets.active / count.clamp(min=1)).float()
        return LossValue(value.to(torch.promote_types(embeddings.dtype, torch.float32)), share)

    def extra_repr(self) -> str:
        """The settings, as ``print(module)`` shows them."""
        return f"margin={self.margin}, reduction={self.reduction!r}"

    def _distances(self, embeddings: Tensor, known: Tensor) -> Tensor:
        # Autocast leaves float64 alone. Apple's MPS has no float64.
        precise = torch.float32 if embeddings.device.type == "mps" else torch.float64
        matrix = cast(Tensor, self.distance(embeddings.to(precise), known.to(precise)))  # (n, k)
        return 1 - matrix if self.distance.is_inverted else matrix

    def _divisor(self, count: Tensor, active: Tensor) -> Tensor:
        if self.reduction == "sum":
            return torch.ones_like(count)
        over_active = self.reduction == "mean_active" and self.margin is not None
        return (active if over_active else count).clamp(min=1)


class _Weighted(torch.autograd.Function):
    """A value whose derivative by ``distances`` is known already: ``weights``."""

    @staticmethod
    def forward(ctx: Any, distances: Tensor, value: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(weights)
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (weights,) = ctx.saved_tensors
        return gradient * weights, None, None


def _positives(same: Tensor) -> Tensor:
    return same & ~torch.eye(*same.shape, dtype=torch.bool, device=same.device)  # (n, k)


def _hinge(distances: Tensor, same: Tensor, margin: float) -> _Triplets:
    """Sum of relu(margin + d(a, p) - d(a, n)): linear in D, given how often each distance is in an active triplet."""
    n, k = same.shape
    reach = (distances + margin).masked_fill(~_positives(same), -torch.inf)  # (n, k) how far negatives of a matter to p
    rivals = distances.masked_fill(same, torch.inf)  # (n, k) how far the negatives of a are
    ranked = reach.sort(dim=1)
    outdone = torch.searchsorted(ranked.values, rivals, right=True)  # (n, k) reaches of a that n lies beyond
    histogram = outdone.new_zeros(n, k + 1).scatter_add(1, outdone, torch.ones_like(outdone))
    within = histogram.cumsum(dim=1)[:, :-1]  # (n, k) negatives of a within each reach, in the order of ranked
    per_positive = torch.zeros_like(within).scatter(1, ranked.indices, within)  # (n, k) active triplets of (a, p)
    per_negative = k - outdone  # (n, k) active triplets of (a, n)

    active = per_positive.sum()
    weights = (per_positive - per_negative).to(distances.dtype)  # (n, k)
    return _Triplets((weights * distances).sum() + margin * active.to(distances.dtype), active, weights)


def _soft(distances: Tensor, same: Tensor) -> _Triplets:
    """Sum of log(1 + exp(d(a, p) - d(a, n))), by blocks of anchors; softplus stays finite where exp does not."""
    n, k = same.shape
    positives = _positives(same)  # (n, k)
    most = int(positives.sum(dim=1).max()) if n else 0
    ordered = positives.byte().argsort(dim=1, descending=True, stable=True)  # (n, k) positives first, then filler
    columns = ordered[:, :most]  # (n, most)
    step = max(1, _BLOCK // max(1, most * k))

    total = distances.new_zeros(())
    active = torch.zeros((), dtype=torch.int64, device=distances.device)
    weights = torch.zeros_like(distances)  # (n, k)
    for start in range(0, n, step):
        rows = slice(start, start + step)
        picked = columns[rows]  # (rows, most)
        gaps = distances[rows].gather(1, picked)[:, :, None] - distances[rows][:, None, :]  # (rows, most, k)
        real = positives[rows].gather(1, picked)[:, :, None] & ~same[rows][:, None, :]  # (rows, most, k)
        pull = torch.sigmoid(gaps).masked_fill(~real, 0)  # (rows, most, k)
        total += functional.softplus(gaps).masked_fill(~real, 0).sum()
        active += ((gaps > 0) & real).sum()
        weights[rows] = weights[rows].scatter(1, picked, pull.sum(dim=2)) - pull.sum(dim=1)  # (rows, k)
    return _Triplets(total, active, weights)


def soft_triplet(reduction: Reduction = "mean") -> TripletLoss:
    """Log(1 + exp(d(a, p) - d(a, n))) of Euclidean distances: OML's ``TripletLoss(margin=None)``, finite on far points.

    Source: Hermans, Beyer, Leibe, "In Defense of the Triplet Loss for Person Re-Identification", arXiv:1703.07737.

    Example:
        >>> points = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4000.0], [0.0, 4000.0]])
        >>> value, active = soft_triplet()(points, torch.tensor([0, 0, 1, 1]))
        >>> round(value.item(), 4), active.item()
        (0.0, 0.0)
    """
    return TripletLoss(LpDistance(normalize_embeddings=False, p=2), None, reduction)


def triplet(margin: float = 0.5, reduction: Reduction = "mean") -> TripletLoss:
    """Relu(margin + d(a, p) - d(a, n)) of Euclidean distances: OML's ``TripletLoss(margin)`` over all triplets.

    Source: Schroff, Kalenichenko, Philbin, "FaceNet", CVPR 2015.

    Example:
        >>> points = torch.tensor([[0.0], [0.2], [0.4]])
        >>> value, active = triplet(margin=0.5)(points, torch.tensor([0, 0, 1]))
        >>> round(value.item(), 4), active.item()  # of 0.5 + 0.2 - 0.4 and 0.5 + 0.2 - 0.2
        (0.4, 1.0)
    """
    return TripletLoss(LpDistance(normalize_embeddings=False, p=2), margin, reduction)


def cosine_triplet(margin: float | None = None, reduction: Reduction = "mean") -> TripletLoss:
    """The triplet loss of cosine distances 1 - cos(a, b), in [0, 2]: with a margin, or soft where that is ``None``.

    Sources: as :class:`TripletLoss`; Schroff et al. 2015 keep embeddings on the unit sphere as well.

    Example:
        >>> points = torch.tensor([[1.0, 0.0], [9.0, 0.0], [0.0, 0.1]])
        >>> value, _ = cosine_triplet(margin=0.5)(points, torch.tensor([0, 0, 1]))
        >>> value.item()
        0.0
    """
    return TripletLoss(CosineSimilarity(), margin, reduction)
