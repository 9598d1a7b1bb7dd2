"""Cross-batch memory: a small batch is compared with many earlier images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bonaface.errors import ConfigError
from bonaface.losses.base import LossValue
from bonaface.losses.triplet import TripletLoss

__all__ = ["CrossBatchMemory"]


class CrossBatchMemory(nn.Module):
    """A triplet loss that looks for positives and negatives among the images of earlier batches too.

    The vectors are kept as they were when their batch was trained on: weights move slowly, so that they drift little. They are part
    of a checkpoint, so that a resumed run has the same memory.

    Args:
        loss: compares the batch with itself and the memory.
        size: images that are remembered, at least 1; the oldest go first.
        dim: length of the vectors.

    Raises:
        ConfigError: the size is below 1.

    Source: Wang, Zhang, Huang, Scott, "Cross-Batch Memory for Embedding Learning", CVPR 2020.

    Example:
        >>> from bonaface.losses.triplet import triplet
        >>> loss = CrossBatchMemory(triplet(margin=0.5), size=2, dim=1)
        >>> alone, _ = loss(torch.tensor([[0.0], [0.1]]), torch.tensor([0, 0]))  # nobody else yet
        >>> value, _ = loss(torch.tensor([[0.2], [0.2]]), torch.tensor([1, 1]))  # 0.5 + 0 - 0.2 and 0.5 + 0 - 0.1, of each
        >>> round(alone.item(), 2), round(value.item(), 2)
        (0.0, 0.35)
    """

    vectors: Tensor
    labels: Tensor
    seen: Tensor

    def __init__(self, loss: TripletLoss, size: int, dim: int) -> None:
        super().__init__()
        if size < 1:
            raise ConfigError(f"memory: expected at least 1 image, got {size}")
        self.loss = loss
        self.register_buffer("vectors", torch.zeros(size, dim))
        self.register_buffer("labels", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossValue:
        """Compare every image of the batch with every other and with the memory, then remember it: as TripletLoss."""
        filled = min(int(self.seen), len(self.vectors))
        value: LossValue = self.loss(embeddings, labels, (self.vectors[:filled], self.labels[:filled]))
        if self.training:
            self._remember(embeddings.detach(), labels)
        return value

    def _remember(self, embeddings: Tensor, labels: Tensor) -> None:
        size = len(self.vectors)
        kept = slice(max(0, len(labels) - size), None)
        places = (self.seen + torch.arange(len(labels), device=labels.device)[kept]) % size
        self.vectors[places] = embeddings[kept].to(self.vectors.dtype)
        self.labels[places] = labels[kept]
        self.seen += len(labels)

    def extra_repr(self) -> str:
        """The settings, as ``print(module)`` shows them."""
        return f"size={len(self.vectors)}"
