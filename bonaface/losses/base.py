"""Return value of every loss."""

from typing import NamedTuple

from torch import Tensor

__all__ = ["LossValue"]


class LossValue(NamedTuple):
    """Value of a loss.

    Attributes:
        value: the loss, a scalar with a graph. Zero, with zero gradients, where the batch has nothing to compare.
        active: a detached scalar in [0, 1], the share that is still wrong. With a margin: of triplets whose loss is
            above zero. Soft, where every loss is above zero: of triplets whose positive is farther than the negative.
            Authenticity: of images on the wrong side of zero.
    """

    value: Tensor
    active: Tensor
