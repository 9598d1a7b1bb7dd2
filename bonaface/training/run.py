"""A run's folder: its layout, what training writes into it, and reading it back. Needs torch, and nothing of training.

config.yaml       every setting: it alone repeats the run
files/            ONNX networks, weights beside them and the detector that the run was built from, so that the folder can be moved
issues.csv        images that were left out, and why
people.json       who is trained and who is validated on: --resume refuses other data
best.ckpt         weights with the lowest validation EER
last.ckpt         all that --resume needs
metrics.csv       one row a validation
curves.html       the same as curves, to look at
precision.json    precision and memory format of training on a CPU, as measured at its start
metrics.json      figures of the best weights on the validation pairs
calibration.json  scores to probabilities, and thresholds by false match rate, from the validation pairs
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bonaface.assets import shipped_detector
from bonaface.config import SHIPPED_DETECTOR, BranchConfig, ModelConfig, TrainConfig
from bonaface.config_io import read_run_config, save_config
from bonaface.errors import ConfigError, ModelError
from bonaface.io import atomic_write
from bonaface.locks import try_lock
from bonaface.models.external_weights import weights_beside
from bonaface.models.face_model import FaceModel, build_model
from bonaface.models.state_dicts import load_weights, read_model_weights
from bonaface.outputs import temporary_name
from bonaface.reading import read_regular
from bonaface.verification.calibration import Calibration
from bonaface.verification.calibration_file import read_calibration
from bonaface.verification.thresholds import Validation

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Run", "RunFolder", "check_file_names", "load_run"]

_SHIPPED_COPY = "shipped_detector.onnx"
"""File of a run's folder that holds the detector of the model that was shipped when it was trained."""
_LOCK = "train.lock"
_UNFINISHED = [
    temporary_name(name)
    for name in (
        *("config.yaml", "issues.csv", "people.json", "best.ckpt", "last.ckpt"),
        *("metrics.csv", "curves.html", "precision.json", "metrics.json", "calibration.json"),
    )
]


@dataclass(frozen=True)
class RunFolder:
    """A run's folder, by the names of its files."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def config(self) -> Path:
        """Every setting."""
        return self.path / "config.yaml"

    @property
    def files(self) -> Path:
        """Folder of the files that the run was built from."""
        return self.path / "files"

    @property
    def people(self) -> Path:
        """The note of who is trained and who is validated on."""
        return self.path / "people.json"

    @property
    def best(self) -> Path:
        """Weights with the lowest validation EER."""
        return self.path / "best.ckpt"

    @property
    def last(self) -> Path:
        """The checkpoint that a run resumes from."""
        return self.path / "last.ckpt"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Holds the folder for one process that writes into it; a folder in which nothing was written is removed again.

        Raises:
            ConfigError: if another process holds it.
        """
        new = [each for each in (self.path, self.path.parent) if not each.exists()]
        self.path.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if not _locked(file):
                raise ConfigError(f"{self}: is being trained by another process: choose another --name")
            try:
                yield
            finally:
                (self.path / _LOCK).unlink(missing_ok=True)
        finally:
            os.close(file)
            for each in new:
                with suppress(OSError):  # it is not empty, or gone
                    each.rmdir()

    def check_free(self, config: TrainConfig, resume: bool) -> None:
        """Refuses a folder that a run with these settings can't be written to.

        Raises:
            ConfigError: if it holds another run or something else, or if there is nothing to resume.
        """
        if not self.config.exists():
            holds = (
                next((each for each in self.path.iterdir() if each.name != _LOCK), None) if self.path.is_dir() else None
            )
            if holds is not None:
                raise ConfigError(f"{self}: holds {holds.name} and no run: choose another --name")
            if resume:
                raise ConfigError(
                    f"{self}: no run of this name to resume: leave --resume out, or correct --name or --out"
                )
            return
        if not resume:
            raise ConfigError(f"{self}: a run of this name exists: resume it by --resume, or choose another --name")
        saved = read_run_config(self.config)
        if replace(saved, tracking=config.tracking) != config:
            names = [each.name for each in fields(config) if each.name != "tracking"]
            other = ", ".join(name for name in names if getattr(saved, name) != getattr(config, name))
            raise ConfigError(
                f"{self}: was made with other settings ({other}): resume it by --config {shlex.quote(str(self.config))} --resume, "
                "or choose another --name"
            )
        self._clear_unfinished()

    def _clear_unfinished(self) -> None:
        """Removes what a kill left of files that were being written."""
        for path in self.path.iterdir():
            if any(each.fullmatch(path.name) for each in _UNFINISHED):
                path.unlink(missing_ok=True)

    def write_start(self, config: TrainConfig, issues: pd.DataFrame) -> None:
        """Writes the settings, the files they name and the list of issues."""
        _copy_files(_files_of(config.model, config.faces.detector), self.files)
        if config.faces.detector == SHIPPED_DETECTOR:
            self.files.mkdir(parents=True, exist_ok=True)
            with atomic_write(self.files / _SHIPPED_COPY) as temporary:
                temporary.write_bytes(shipped_detector())
        with atomic_write(self.config) as temporary:
            save_config(config, temporary)
        with atomic_write(self.path / "issues.csv") as temporary:
            issues.to_csv(temporary, index=False)

    def write_weights(self, model: FaceModel) -> None:
        """Writes a model's weights as the best ones."""
        import torch

        with atomic_write(self.best) as temporary:
            torch.save(
                {"state_dict": {f"model.{name}": value for name, value in model.state_dict().items()}}, temporary
            )

    def write_metrics(self, figures: Mapping[str, Any]) -> None:
        """Writes metrics.json."""
        with atomic_write(self.path / "metrics.json") as temporary:
            temporary.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")

    @contextmanager
    def removed_on_error(self) -> Iterator[None]:
        """Removes a new folder if an error comes before the first checkpoint, so that the same command can be repeated."""
        is_new = not self.config.exists()
        try:
            yield
        except Exception:
            if is_new and not self.last.exists():
                shutil.rmtree(self.path, ignore_errors=True)
            raise


def _locked(file: int) -> bool:
    """Tells whether this process has the lock, or there are none: of a file system without locks nobody is refused."""
    try:
        return try_lock(file)
    except OSError:
        return True


def check_file_names(model: ModelConfig, detector: str | None) -> None:
    """Refuses two different files of one name: the run's copies lie in one folder.

    Raises:
        ConfigError: naming them.
    """
    files = {(name, file.resolve()) for name, file in _files_of(model, detector)}
    twice = [name for name, count in Counter(name for name, _ in files).items() if count > 1]
    if twice:
        raise ConfigError(f"model: two different files are called {min(twice)}: rename one of them")


def _copy_files(files: list[tuple[str, Path]], folder: Path) -> None:
    for name, file in files:
        copy = folder / name
        if not copy.exists():
            with atomic_write(copy) as temporary:
                shutil.copyfile(file, temporary)


def _files_of(model: ModelConfig, detector: str | None) -> list[tuple[str, Path]]:
    """ONNX networks, the descriptions and weights beside them, and the detector, each with its name in the run's ``files/``."""
    branches = [branch for branch in (model.identity, model.authenticity) if branch is not None]
    networks = [file for branch in branches if (file := _onnx_of(branch)) is not None]
    described = [
        each for file in networks for suffix in (".json", ".yaml") if (each := file.with_suffix(suffix)).exists()
    ]
    named = [*networks, *described, *([Path(detector)] if detector and detector != SHIPPED_DETECTOR else [])]
    return [*((each.name, each) for each in named), *(each for file in networks for each in _weights_of(file))]


def _weights_of(network: Path) -> Iterator[tuple[str, Path]]:
    """Files beside a network that hold its weights; a network that can't be read is refused where it is loaded."""
    try:
        content = read_regular(network)
    except OSError:
        return
    for file in weights_beside(content, network):
        is_below = file.is_relative_to(network.parent) and ".." not in file.relative_to(network.parent).parts
        if is_below and file.is_file():
            yield file.relative_to(network.parent).as_posix(), file


def _onnx_of(branch: BranchConfig) -> Path | None:
    kind, _, rest = branch.backbone.partition(":")
    return Path(rest) if kind == "onnx" else None


@dataclass(frozen=True)
class Run:
    """A trained model with what belongs to it.

    Args:
        folder: the run's folder.
        config: its settings.
        model: its best weights, in evaluation mode.
        calibration: None if the run was interrupted before its end.
        validation: its thresholds; None if it was interrupted.
    """

    folder: Path
    config: TrainConfig
    model: FaceModel
    calibration: Calibration | None
    validation: Validation | None

    @property
    def detector(self) -> Path | None:
        """The run's own copy of the face detector."""
        named = self.config.faces.detector
        if not named:
            return None
        return RunFolder(self.folder).files / (_SHIPPED_COPY if named == SHIPPED_DETECTOR else Path(named).name)


def load_run(folder: Path) -> Run:
    """The best model of a run's folder, in evaluation mode on the CPU; runs of 0.1 load as well.

    Raises:
        ModelError: if the folder is no run, or its checkpoint does not fit its settings.
    """
    run = RunFolder(folder)
    if not run.config.is_file():
        raise ModelError(f"{folder}: not the folder of a run: expected config.yaml and best.ckpt in it")
    if not run.best.is_file():
        raise ModelError(
            f"{folder}: has no best.ckpt: the run was stopped before its first validation; resume it by --resume"
        )
    config = read_run_config(run.config)
    model = build_model(config.model, run.files)
    load_weights(model, read_model_weights(run.best), run.best)
    return Run(folder, config, model.eval(), *read_calibration(folder))
