"""The model as training begins, and as a checkpoint keeps it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from bonaface.config import TrainConfig, load_config
from bonaface.errors import ConfigError, ModelError
from bonaface.models.face_model import FaceModel, build_model
from bonaface.models.state_dicts import read_state_dict

__all__ = ["beginning", "weights_of", "with_weights"]

_NET = "authenticity.backbone.net."
_HEAD = "authenticity.head."


def beginning(config: TrainConfig, run: Path) -> FaceModel:
    """Of the run itself where it is gone on with, of one or two earlier runs, or as the settings say.

    Raises:
        ConfigError: if what it is to start with is no run.
        ModelError: if the weights don't fit.
    """
    last = run / "last.ckpt"
    if last.exists():
        return with_weights(build_model(config.model, run / "files"), weights_of(last), last)
    if config.start is None:
        return build_model(config.model)
    starts = [Path(each) for each in ((config.start,) if isinstance(config.start, str) else config.start)]
    for start in starts:
        if not (start / "best.ckpt").is_file():
            raise ConfigError(f"start: {start}: not the folder of a run: expected config.yaml and best.ckpt in it")
    sees = config.model.authenticity.sees if config.model.authenticity else ""
    if len(starts) != 1 and not (len(starts) == 2 and sees == "both"):
        raise ConfigError(
            f"start: expected one folder, or two where model.authenticity.sees is both, got {len(starts)}"
        )
    found = [weights_of(start / "best.ckpt") for start in starts]
    weights = found[0] if len(found) == 1 else _side_by_side(found, starts)
    return with_weights(build_model(config.model, starts[0] / "files"), weights, starts[0] / "best.ckpt", "model")


def _side_by_side(found: list[dict[str, Tensor]], starts: list[Path]) -> dict[str, Tensor]:
    """The weights of a network for the image and one for its residual, whose log-odds are averaged; all else is the first's."""
    for start, part in zip(starts, ("image", "residual"), strict=True):
        judge = load_config(start / "config.yaml").model.authenticity
        if judge is None or judge.sees != part:
            has = f"one that sees {judge.sees}" if judge else "none"
            raise ConfigError(
                f"start: {start}: expected a network that judges authenticity by the {part}, and it has {has}"
            )
    joined = {key: value for key, value in found[0].items() if not key.startswith(_NET)}
    for part, weights in zip(("image", "residual"), found, strict=True):
        joined |= {f"{_NET}{part}.{key.removeprefix(_NET)}": weights[key] for key in weights if key.startswith(_NET)}
    slopes, biases = ([weights[f"{_HEAD}{name}"] for weights in found] for name in ("weight", "bias"))
    return joined | {f"{_HEAD}weight": torch.cat(slopes, dim=1) / 2, f"{_HEAD}bias": (biases[0] + biases[1]) / 2}


def weights_of(checkpoint: Path) -> dict[str, Tensor]:
    """The networks' weights; those that a loss learned beside them are left."""
    named = read_state_dict(checkpoint).items()
    return {key.removeprefix("model."): value for key, value in named if key.startswith("model.")}


def with_weights(
    model: FaceModel, weights: dict[str, Tensor], checkpoint: Path, settings: str | None = None
) -> FaceModel:
    """The model with a checkpoint's weights.

    Args:
        model: as its settings describe it.
        weights: by name.
        checkpoint: where they are from.
        settings: where the model is described; the config.yaml beside the checkpoint where it is left out.

    Raises:
        ModelError: if they are another model's.
    """
    wanted = model.state_dict()
    odd = [
        key
        for key in sorted({*weights, *wanted})
        if key not in weights or key not in wanted or weights[key].shape != wanted[key].shape
    ]
    if odd:
        raise ModelError(
            f"{checkpoint}: made with another backbone than {settings or checkpoint.with_name('config.yaml')} says: "
            f"{len(odd)} of {len(wanted)} tensors differ, the first is {odd[0]}"
        )
    model.load_state_dict(weights)
    return model
