"""Optimiser, its schedule, and the length of a training."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from bonaface.config import OptimizerConfig
from bonaface.errors import ConfigError

__all__ = ["Length", "build_optimizer", "learning_rate"]


@dataclass(frozen=True)
class Length:
    """Length of a training.

    Args:
        steps: batches in all.
        val_every: batches between validations, at most ``steps``.
    """

    steps: int
    val_every: int

    @classmethod
    def of(cls, epoch: int, epochs: int, steps: int | None, val_every: int | None) -> Length:
        """The length that the settings of the same names give; ``epoch`` is in batches.

        Example:
            >>> Length.of(epoch=40, epochs=10, steps=None, val_every=None)
            Length(steps=400, val_every=40)
        """
        total = steps or epochs * epoch
        return cls(total, min(val_every or epoch, total))

    @property
    def rounds(self) -> int:
        """Validations in all."""
        return math.ceil(self.steps / self.val_every)

    def round(self, number: int) -> range:
        """The steps of a round, which ends in a validation, from number 0 on."""
        first = number * self.val_every
        return range(first, min(first + self.val_every, self.steps))

    def optimizer_steps(self, accumulate: int) -> int:
        """Steps of the optimiser, which also moves at the end of each round."""
        rounds, rest = divmod(self.steps, self.val_every)
        return rounds * math.ceil(self.val_every / accumulate) + math.ceil(rest / accumulate)


def build_optimizer(parameters: Iterable[nn.Parameter], settings: OptimizerConfig) -> torch.optim.Optimizer:
    """AdamW or SGD over what requires a gradient; weights of one dimension do not decay.

    Raises:
        ConfigError: if nothing requires a gradient.
    """
    trained = [weight for weight in parameters if weight.requires_grad]
    if not trained:
        raise ConfigError("model: every branch is frozen, so there is nothing to train")
    groups = [
        {"params": [weight for weight in trained if weight.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [weight for weight in trained if weight.ndim < 2], "weight_decay": 0.0},
    ]
    if settings.name == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=0.9)
    return torch.optim.AdamW(groups, lr=settings.lr)


def learning_rate(step: int, total: int, settings: OptimizerConfig) -> float:
    """Fraction of the peak learning rate at a step of the optimiser: linear warm-up, then constant or a half cosine."""
    warmup = round(settings.warmup * total)
    if step < warmup:
        return (step + 1) / warmup
    if settings.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))
