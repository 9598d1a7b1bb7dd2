"""Gradients of depthwise convolutions in bfloat16 on a CPU, from fast kernels alone.

oneDNN's forward kernels for depthwise convolutions are fast with channels last; its backward ones in bfloat16 are ten to fifty
times slower than those, for kernels of 5 x 5 and for strides of 2. Both gradients are therefore brought back to what is fast: that
of the input to a forward convolution of the spread-out output gradient, that of large kernels to the float32 kernel.
benchmarks/training.py compares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["FastDepthwise"]

Pair = tuple[int, int]

_FAST_KERNEL = 3
"""Width of a kernel up to which the gradient of its weights is fast in bfloat16."""


class FastDepthwise(TorchFunctionMode):
    """While it is active, depthwise convolutions in bfloat16 on a CPU are trained through this module's gradients.

    Values are those of ``torch.nn.functional.conv2d``; other convolutions, precisions and devices are left as they are.

    Example:
        >>> x, weight = torch.randn(2, 8, 6, 6), torch.randn(8, 1, 3, 3, requires_grad=True)
        >>> with torch.autocast("cpu", torch.bfloat16), FastDepthwise():
        ...     F.conv2d(x, weight, groups=8).float().sum().backward()
        >>> weight.grad.shape
        torch.Size([8, 1, 3, 3])
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Takes depthwise convolutions aside."""
        if func is F.conv2d and torch.is_grad_enabled():
            return _convolved(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _convolved(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    if not _is_ours(x, weight, padding, dilation, groups):
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups)
    lower = torch.bfloat16
    made: Tensor = _Depthwise.apply(x.to(lower), weight.to(lower), _two(stride), _two(padding))
    return made if bias is None else made + bias.to(lower)[:, None, None]


def _is_ours(x: Tensor, weight: Tensor, padding: Any, dilation: Any, groups: int) -> bool:
    """True for a depthwise convolution in bfloat16 on a CPU, padded by less than its kernel."""
    if x.device.type != "cpu" or x.ndim != 4 or not 1 < groups == x.shape[1] == len(weight):
        return False
    autocast = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") is torch.bfloat16
    lower = autocast or x.dtype is weight.dtype is torch.bfloat16
    near = not isinstance(padding, str) and all(
        edge < k for edge, k in zip(_two(padding), weight.shape[2:], strict=True)
    )
    return lower and near and _two(dilation) == (1, 1)


def _two(value: Any) -> Pair:
    """A convolution's setting for rows and for columns."""
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


class _Depthwise(torch.autograd.Function):
    """Convolution of each channel with its own kernel: x ``(n, c, h, w)``, weight ``(c, 1, k, k)``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, None, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        wants_x, wants_weight = ctx.needs_input_grad[:2]
        with torch.autocast("cpu", enabled=False):
            return (
                _of_input(gradient, x.shape, weight, ctx.stride, ctx.padding) if wants_x else None,
                _of_weight(gradient, x, weight, ctx.stride, ctx.padding) if wants_weight else None,
                None,
                None,
            )


def _of_input(gradient: Tensor, shape: torch.Size, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    """The gradient spread out by the stride, convolved with the turned weights: ``(n, c, h, w)``."""
    height, width = (
        size + 2 * edge - k + 1 for size, edge, k in zip(shape[2:], padding, weight.shape[2:], strict=True)
    )
    if (height, width) != gradient.shape[2:]:
        spread = torch.zeros((shape[0], height, width, shape[1]), dtype=gradient.dtype).permute(0, 3, 1, 2)
        spread[:, :, :: stride[0], :: stride[1]] = gradient
        gradient = spread
    edges = [k - 1 - edge for k, edge in zip(weight.shape[2:], padding, strict=True)]
    return F.conv2d(gradient, weight.flip(2, 3), None, 1, edges, 1, len(weight))


def _of_weight(gradient: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    """Sum of what each weight met times the gradient there: ``(c, 1, k, k)``."""
    if max(weight.shape[2:]) > _FAST_KERNEL:
        gradient, x = gradient.float(), x.float()
    _, made, _ = torch.ops.aten.convolution_backward(
        gradient,
        x,
        weight.to(x.dtype),
        None,
        stride,
        padding,
        (1, 1),
        False,
        (0, 0),
        len(weight),
        (False, True, False),
    )
    for axis, k, size, steps, step, edge in zip(
        (2, 3), made.shape[2:], x.shape[2:], gradient.shape[2:], stride, padding, strict=True
    ):
        if unmet := _unmet(k, size, steps, step, edge):  # oneDNN leaves what memory held there
            made.index_fill_(axis, torch.tensor(unmet), 0)
    turned: Tensor = made.to(weight.dtype)
    return turned


@cache
def _unmet(kernel: int, size: int, steps: int, stride: int, edge: int) -> tuple[int, ...]:
    """Which weights along an axis lie beside the image at each of the kernel's places: they meet the padding alone."""
    inside = range(size)
    return tuple(tap for tap in range(kernel) if all(step * stride + tap - edge not in inside for step in range(steps)))
