"""Loss of the authenticity branch."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from bonaface.errors import ConfigError
from bonaface.losses.base import LossValue

__all__ = ["AuthenticityLoss"]


class AuthenticityLoss(nn.Module):
    """Binary cross-entropy of the log-odds that an image is genuine.

    Args:
        smoothing: in [0, 1): the truth counts as 1 - smoothing / 2 and smoothing / 2, so that log-odds stay finite.

    Raises:
        ConfigError: the smoothing lies outside [0, 1).

    Sources: Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception Architecture for Computer Vision",
    CVPR 2016 (label smoothing).

    Example:
        >>> value, wrong = AuthenticityLoss(smoothing=0.0)(torch.tensor([0.0, 5.0]), torch.tensor([True, True]))
        >>> round(value.item(), 2), wrong.item()  # of log 2 and 5.007
        (2.85, 0.5)
    """

    def __init__(self, smoothing: float = 0.02) -> None:
        super().__init__()
        if not 0 <= smoothing < 1:
            raise ConfigError(f"smoothing: expected a number in [0, 1), got {smoothing}")
        self.smoothing = smoothing

    def forward(self, logits: Tensor, is_fake: Tensor) -> LossValue:
        """Compute the loss of a batch.

        Args:
            logits: log-odds that the image is genuine, shape ``(n,)``.
            is_fake: shape ``(n,)``, bool.

        Returns:
            The mean loss, and the share of images on the wrong side of zero.
        """
        log_odds = logits.to(torch.promote_types(logits.dtype, torch.float32))  # (n,)
        genuine = 1 - is_fake.to(log_odds.dtype)  # (n,)
        target = genuine * (1 - self.smoothing) + self.smoothing / 2  # (n,)
        total = functional.binary_cross_entropy_with_logits(log_odds, target, reduction="sum")
        wrong = ((log_odds.detach() > 0) != (genuine > 0)).float()  # (n,)
        n = max(1, len(logits))
        return LossValue(total / n, wrong.sum() / n)

    def extra_repr(self) -> str:
        """The settings, as ``print(module)`` shows them."""
        return f"smoothing={self.smoothing}"
