"""The position embeddings of vision transformers at other image sizes, resampled as Open Metric Learning resamples them.

Its networks are DINO's and DINOv2's own code: bicubic without antialiasing, by a scale factor a tenth of a patch too large, which
was to keep a rounding of the size from losing a patch. timm resamples with antialiasing to the exact size, and the features of
DINOv2 at 224 pixels then differ by 0.03. Weights and their names are the same.

Sources: Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021; Oquab et al., "DINOv2", TMLR 2024
(``interpolate_pos_encoding`` in both repositories).
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

__all__ = ["resample_as_oml"]

_OFFSET = 0.1  # patches


def resample_as_oml(net: VisionTransformer) -> None:
    """Makes ``net`` resample its position embeddings as Open Metric Learning does; its state dict stays what it is.

    Args:
        net: with a class token, no registers, and ``dynamic_img_size``: without it no other size is taken anyway.
    """
    if net.dynamic_img_size:
        net._pos_embed = MethodType(_with_positions, net)  # type: ignore[method-assign]


def _with_positions(net: Any, patches: Tensor) -> Tensor:
    """Tokens ``(n, 1 + h * w, dim)`` of patches ``(n, h, w, dim)``: the class token before them, positions added."""
    n, h, w, dim = patches.shape
    side = net.patch_embed.grid_size[0]
    grid = net.pos_embed[:, 1:]  # (1, side * side, dim)
    if (h, w) != (side, side):
        grid = grid.reshape(1, side, side, dim).permute(0, 3, 1, 2)  # (1, dim, side, side)
        scale = ((h + _OFFSET) / side, (w + _OFFSET) / side)
        grid = F.interpolate(grid, scale_factor=scale, mode="bicubic")  # (1, dim, h, w)
        grid = grid.permute(0, 2, 3, 1).reshape(1, h * w, dim)
    tokens = torch.cat((net.cls_token.expand(n, -1, -1), patches.reshape(n, h * w, dim)), 1)
    placed: Tensor = net.pos_drop(tokens + torch.cat((net.pos_embed[:, :1], grid), 1))
    return placed
