"""The files that a run is built from, copied into its folder, so that it can be moved."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

from bonaface.config import BranchConfig, TrainConfig
from bonaface.errors import ConfigError
from bonaface.io import atomic_write

__all__ = ["keep_files", "refuse_equal_names"]


def refuse_equal_names(config: TrainConfig) -> None:
    """The run's copies lie in one folder, by the names of their files."""
    files = dict.fromkeys(file.resolve() for file in _files_of(config))
    twice = [name for name, count in Counter(file.name for file in files).items() if count > 1]
    if twice:
        raise ConfigError(f"model: two different files are called {twice[0]}: rename one of them")


def keep_files(config: TrainConfig, folder: Path) -> None:
    """Copies ONNX networks, the YAML files beside them and the detector, where they are not there yet."""
    for file in _files_of(config):
        folder.mkdir(parents=True, exist_ok=True)
        kept = folder / file.name
        if not kept.exists():
            with atomic_write(kept) as temporary:
                shutil.copyfile(file, temporary)


def _files_of(config: TrainConfig) -> list[Path]:
    branches = [branch for branch in (config.model.identity, config.model.authenticity) if branch is not None]
    networks = [file for branch in branches if (file := _onnx_of(branch)) is not None]
    described = [file.with_suffix(".yaml") for file in networks if file.with_suffix(".yaml").exists()]
    return [*networks, *described, *([Path(config.faces.detector)] if config.faces.detector else [])]


def _onnx_of(branch: BranchConfig) -> Path | None:
    kind, _, rest = branch.backbone.partition(":")
    return Path(rest) if kind == "onnx" else None
