"""Margin-softmax losses: cross-entropy over the cosines to learned class prototypes, as in ``arcface(n_classes=20_000, dim=512)``.

A person is a class, and so are their deepfakes. Prototypes serve training alone: no exported model and no loaded run has them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from pytorch_metric_learning.losses import ArcFaceLoss, CosFaceLoss, LargeMarginSoftmaxLoss, SubCenterArcFaceLoss
from torch import Tensor, nn

from bonaface.errors import ConfigError
from bonaface.losses.base import LossValue

__all__ = ["MarginSoftmaxLoss", "adaface", "arcface", "cosface", "subcenter_arcface"]

_FROM_ONE = 1e-6  # the slope of the arc cosine is infinite at 1


class MarginSoftmaxLoss(nn.Module):
    """Cross-entropy over the cosines to class prototypes, times ``scale``, with a margin on the own class's.

    Args:
        loss: of pytorch-metric-learning, noting the nearest prototypes: prototypes, margin and scale.

    Source: Wang et al., "NormFace", ACM Multimedia 2017 (why the cosines are scaled).
    """

    def __init__(self, loss: LargeMarginSoftmaxLoss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossValue:
        """Compare every image of the batch with every class.

        Args:
            embeddings: shape ``(n, dim)``, of any length: only their directions are compared.
            labels: shape ``(n,)``, integers from 0 to the number of classes less one.

        Returns:
            The mean loss, and the share of images whose nearest prototype is another class's.
        """
        # In half precision the arc cosine of a cosine near 1 says nothing, and autocast would take it there.
        with torch.autocast(embeddings.device.type, enabled=False):
            precise = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
            value: Tensor = self.loss(precise, labels)
            wrong = self.loss.nearest != labels  # (n,)
        return LossValue(value, wrong.float().mean())


class _Noted:
    """Notes the nearest prototype, and keeps the gradient of an angle finite where an image lies on its own."""

    nearest: Tensor

    def get_cosine(self, embeddings: Tensor) -> Tensor:
        cosines: Tensor = super().get_cosine(embeddings)  # type: ignore[misc]  # (n, n_classes)
        self.nearest = cosines.detach().argmax(dim=1)  # (n,)
        return cosines

    def get_angles(self, cosines: Tensor) -> Tensor:
        return torch.acos(cosines.clamp(_FROM_ONE - 1, 1 - _FROM_ONE))


class _ArcFace(_Noted, ArcFaceLoss):  # type: ignore[misc]
    pass


class _SubCenterArcFace(_Noted, SubCenterArcFaceLoss):  # type: ignore[misc]
    pass


class _CosFace(_Noted, CosFaceLoss):  # type: ignore[misc]
    pass


class _AdaFace(_CosFace):
    """A margin by the length of the vector, which grows with the quality of the image."""

    strength, momentum, longest = 0.333, 0.01, 100.0

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.register_buffer("length_mean", torch.tensor(20.0))
        self.register_buffer("length_std", torch.tensor(100.0))

    def compute_loss(self, embeddings: Tensor, labels: Tensor, *rest: Any) -> Any:
        lengths = embeddings.detach().norm(dim=1).clamp(1e-3, self.longest)  # (n,)
        if self.training and len(lengths) > 1:
            self.length_mean.lerp_(lengths.mean(), self.momentum)
            self.length_std.lerp_(lengths.std(), self.momentum)
        self._quality = ((lengths - self.length_mean) / (self.length_std + 1e-3) * self.strength).clamp(-1, 1)  # (n,)
        return super().compute_loss(embeddings, labels, *rest)

    def modify_cosine_of_target_classes(self, cosines: Tensor) -> Tensor:
        turned = self.get_angles(cosines) - self.margin * self._quality  # (n,)
        moved: Tensor = torch.cos(turned.clamp(1e-3, math.pi - 1e-3)) - self.margin * (1 + self._quality)  # (n,)
        return moved


def arcface(n_classes: int, dim: int, margin: float | None = None, scale: float = 64.0) -> MarginSoftmaxLoss:
    """The own class's angle is made larger by ``margin`` radians, 0.5 where it is None.

    Args:
        n_classes: number of prototypes, at least 2.
        dim: length of the vectors.
        margin: above 0.
        scale: factor of the cosines, above 0.

    Raises:
        ConfigError: for the margin or the scale.

    Source: Deng, Guo, Xue, Zafeiriou, "ArcFace", CVPR 2019.

    Example:
        >>> value, wrong = arcface(n_classes=3, dim=8)(torch.ones(2, 8), torch.tensor([0, 2]))
        >>> value.item() > 0, wrong.item() >= 0.5
        (True, True)
    """
    return _made(_ArcFace, n_classes, dim, _checked(margin, 0.5, scale), scale, degrees=True)


def subcenter_arcface(n_classes: int, dim: int, margin: float | None = None, scale: float = 64.0) -> MarginSoftmaxLoss:
    """ArcFace with three prototypes a class, of which the nearest counts, so that a wrong label need not pull a person apart.

    Arguments and errors: as :func:`arcface`.

    Source: Deng, Guo, Liu, Gong, Zafeiriou, "Sub-center ArcFace", ECCV 2020.
    """
    return _made(_SubCenterArcFace, n_classes, dim, _checked(margin, 0.5, scale), scale, degrees=True)


def cosface(n_classes: int, dim: int, margin: float | None = None, scale: float = 64.0) -> MarginSoftmaxLoss:
    """The own class's cosine is made smaller by ``margin``, 0.35 where it is None.

    Arguments and errors: as :func:`arcface`.

    Source: Wang et al., "CosFace", CVPR 2018.
    """
    return _made(_CosFace, n_classes, dim, _checked(margin, 0.35, scale), scale)


def adaface(n_classes: int, dim: int, margin: float | None = None, scale: float = 64.0) -> MarginSoftmaxLoss:
    """A margin (0.4 where it is None) that asks more of hard images of good quality, and of easy ones of bad quality.

    Quality is the length of the vector, in standard deviations from its running mean. Arguments and errors: as :func:`arcface`.

    Source: Kim, Jain, Liu, "AdaFace", CVPR 2022.
    """
    return _made(_AdaFace, n_classes, dim, _checked(margin, 0.4, scale), scale)


def _checked(margin: float | None, usual: float, scale: float) -> float:
    for name, value in (("margin", margin), ("scale", scale)):
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f"{name}: expected a number above 0, got {value}")
    return usual if margin is None else margin


def _made(
    loss: Callable[..., Any], n_classes: int, dim: int, margin: float, scale: float, degrees: bool = False
) -> MarginSoftmaxLoss:
    given = math.degrees(margin) if degrees else margin
    return MarginSoftmaxLoss(loss(num_classes=n_classes, embedding_size=dim, margin=given, scale=scale))
