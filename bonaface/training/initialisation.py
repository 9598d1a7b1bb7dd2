"""Initial weights of a run: its own if it is resumed, those of one or two earlier runs, or what the settings name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from bonaface.config import ModelConfig
from bonaface.config_io import read_run_config
from bonaface.errors import ConfigError
from bonaface.models.face_model import FaceModel, build_model
from bonaface.models.state_dicts import load_weights, read_model_weights
from bonaface.training.run import RunFolder

__all__ = ["initial_model"]

_NET = "authenticity.backbone.net."
_HEAD = "authenticity.head."


def initial_model(settings: ModelConfig, init_from: str | Sequence[str] | None, run: RunFolder) -> FaceModel:
    """Initial model of a training.

    Args:
        settings: its branches.
        init_from: folders of earlier runs.
        run: whose last checkpoint comes first, if it has one.

    Raises:
        ConfigError: if ``init_from`` is no run.
        ModelError: if the weights don't fit.
    """
    if run.last.exists():
        model = build_model(settings, run.files)
        load_weights(model, read_model_weights(run.last), run.last)
        return model
    if init_from is None:
        return build_model(settings)
    runs = [RunFolder(Path(each)) for each in ((init_from,) if isinstance(init_from, str) else init_from)]
    for each in runs:
        if not each.best.is_file():
            raise ConfigError(f"init_from: {each}: not the folder of a run: expected config.yaml and best.ckpt in it")
    sees = settings.authenticity.sees if settings.authenticity else ""
    if len(runs) != 1 and not (len(runs) == 2 and sees == "both"):
        raise ConfigError(f"init_from: expected one folder, or two if model.authenticity.sees is both, got {len(runs)}")
    if len(runs) == 2 and settings.authenticity and settings.authenticity.unit_features:
        raise ConfigError("init_from: log-odds of two runs are averaged, which model.authenticity.unit_features undoes")
    weights = read_model_weights(runs[0].best) if len(runs) == 1 else _joined(runs)
    model = build_model(settings, runs[0].files)
    load_weights(model, weights, runs[0].best, "model")
    return model


def _joined(runs: Sequence[RunFolder]) -> dict[str, Tensor]:
    """The weights of a network for the image and one for its residual, whose log-odds are averaged; all else is the first's."""
    for run, part in zip(runs, ("image", "residual"), strict=True):
        branch = read_run_config(run.config).model.authenticity
        if branch is None or branch.sees != part:
            has = f"one that sees {branch.sees}" if branch else "none"
            raise ConfigError(
                f"init_from: {run}: expected an authenticity network that sees the {part}, and it has {has}"
            )
    found = [read_model_weights(run.best) for run in runs]
    joined = {key: value for key, value in found[0].items() if not key.startswith(_NET)}
    for part, weights in zip(("image", "residual"), found, strict=True):
        joined |= {f"{_NET}{part}.{key.removeprefix(_NET)}": weights[key] for key in weights if key.startswith(_NET)}
    slopes, biases = ([weights[f"{_HEAD}{name}"] for weights in found] for name in ("weight", "bias"))
    return joined | {f"{_HEAD}weight": torch.cat(slopes, dim=1) / 2, f"{_HEAD}bias": (biases[0] + biases[1]) / 2}
