"""A model as one ONNX graph: decoded images in, embeddings out, all that lies between inside."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Iterable
from typing import Any

import onnx
import torch
import torch.nn.functional as F
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from bonaface.errors import ModelError
from bonaface.inference.metadata import Description, input_of
from bonaface.models.face_model import Branch, FaceModel

__all__ = ["OPSET", "folded_graph"]

OPSET = 18


def folded_graph(model: FaceModel, description: Description) -> onnx.ModelProto:
    """The graph of a model.

    Its inputs are ``identity_pictures`` and, where the model judges it, ``authenticity_pictures``: uint8 RGB
    ``(n, side, side, 3)``; its outputs ``identity``, unit vectors ``(n, dim)``, and ``authenticity``, log-odds ``(n,)``. Crops and
    mirror images of a photo become one larger batch, so that the network stands in the graph once.

    Args:
        model: in evaluation mode, on the CPU.
        description: what it is given.

    Raises:
        ModelError: if torch can't write one of its operators as ONNX.
    """
    names = list(description.views)
    sides = [description.side(name) for name in names]
    # Tracing bakes a batch of one into some reshapes; with two images it keeps the dimension.
    example = tuple(torch.randint(0, 256, (2, side, side, 3), dtype=torch.uint8) for side in sides)
    inputs, batch = [input_of(name) for name in names], {0: "n"}
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # of tracing: shapes that are constant here
            torch.onnx.export(
                _Folded(_with_fixed_positions(model), sides).eval(),
                example,
                buffer,  # type: ignore[arg-type]  # it writes to any stream, as before it could write by name alone
                input_names=inputs,
                output_names=names,
                dynamic_axes=dict.fromkeys((*inputs, *names), batch),
                opset_version=OPSET,
                dynamo=False,
            )
    except (RuntimeError, torch.onnx.OnnxExporterError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{description.name}: torch can't write it as ONNX ({reason})") from error
    return onnx.load_from_string(buffer.getvalue())


def _with_fixed_positions(model: FaceModel) -> FaceModel:
    """A copy whose transformers hold position embeddings of their input's size: ONNX can't resample them as timm does."""
    model = copy.deepcopy(model)
    branches = [branch for branch in (model.identity, model.authenticity) if branch is not None]
    for net, side in ((net, branch.backbone.size) for branch in branches for net in branch.backbone.modules()):
        if isinstance(net, VisionTransformer) and net.dynamic_img_size and "_pos_embed" not in vars(net):
            _fix_positions(net, side)
    return model


def _fix_positions(net: Any, side: int) -> None:
    if net.pos_embed is not None:
        grid = tuple(side // patch for patch in net.patch_embed.patch_size)
        prefix = 0 if net.no_embed_class else net.num_prefix_tokens
        net.pos_embed = nn.Parameter(resample_abs_pos_embed(net.pos_embed, grid, net.patch_embed.grid_size, prefix))
        net.patch_embed.grid_size = grid


class _Folded(nn.Module):
    """``FaceModel.embed`` of decoded images.

    Args:
        model: with its branches.
        sides: of the images of each branch, in pixels.
    """

    def __init__(self, model: FaceModel, sides: Iterable[int]) -> None:
        super().__init__()
        branches = [branch for branch in (model.identity, model.authenticity) if branch is not None]
        self.branches = nn.ModuleList(
            _FoldedBranch(branch, side, model.flip_tta) for branch, side in zip(branches, sides, strict=True)
        )

    def forward(self, *images: Tensor) -> tuple[Tensor, ...]:
        identity, *rest = (branch(x) for branch, x in zip(self.branches, images, strict=True))
        return F.normalize(identity), *(log_odds[:, 0] for log_odds in rest)


class _FoldedBranch(nn.Module):
    """Mean of what a branch says of all crops and mirror images of an image, computed as one batch."""

    resize: Tensor

    def __init__(self, branch: Branch, side: int, mirror: bool) -> None:
        super().__init__()
        self.branch = branch
        self.mirror = mirror
        self.corners = _corners(side, branch.view.size) if branch.view.corners else []
        shown = branch.view.size if branch.view.corners else side
        self.register_buffer("resize", _resizing(shown, branch.backbone.size), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Vectors ``(n, dim)`` of images ``(n, side, side, 3)``."""
        x = images.permute(0, 3, 1, 2).float()  # (n, 3, side, side)
        size = self.branch.view.size
        views = [x[:, :, top : top + size, left : left + size] for top, left in self.corners] or [x]
        views += [view.flip(-1) for view in views] if self.mirror else []
        x = torch.cat(views) if len(views) > 1 else x  # (v n, 3, h, h)
        if self.resize.shape[0] != self.resize.shape[1]:
            x = self.resize @ x @ self.resize.T  # (v n, 3, size, size)
        vectors: Tensor = self.branch(x)  # (v n, dim)
        return vectors.reshape(len(views), -1, self.branch.dim).mean(0)  # (n, dim)


def _corners(side: int, size: int) -> list[tuple[int, int]]:
    """Top and left of five crops, where torchvision's five_crop has them."""
    far, middle = side - size, round((side - size) / 2.0)
    return [(0, 0), (0, far), (far, 0), (far, far), (middle, middle)]


def _resizing(side: int, size: int) -> Tensor:
    """The matrix ``(size, side)`` that resizes a column as the backbone would.

    Resizing is linear and separable, and each runtime computes a product of matrices alike, where their own ways to resize differ.
    """
    # A stretch of one column alone would be resized wrongly by torch 2.14 (it takes the columns for channels).
    return F.interpolate(torch.eye(side)[None, None], (size, side), mode="bilinear", antialias=True)[
        0, 0
    ]  # (size, side)
