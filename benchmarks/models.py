"""Models for the benchmarks: OML's ResNets, trained for a minute on the demo pack, as runs and exported files.

Trained a little, since random weights take all faces for one: no error rate could tell whether 8 bits cost anything.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch
from rich.console import Console

from bonaface.config import BatchConfig, BranchConfig, FacesConfig, ModelConfig, OptimizerConfig, TrainConfig
from bonaface.data.splits import split_by_person
from bonaface.data.table import FaceTable, read_faces
from bonaface.training.run import load_run
from bonaface.training.train import train

__all__ = ["FEW", "FORMATS", "NETWORKS", "Made", "Maker"]

NETWORKS = [(arch, size) for arch in ("resnet18", "resnet34") for size in (112, 224)]
"""Architectures, and sides of their input in pixels."""

FORMATS = {
    "onnx": "onnx.onnx",
    "openvino": "openvino.xml",
    "openvino-bf16": "openvino-bf16.xml",
    "openvino-int8": "openvino-int8.xml",
    "onnx-int8": "onnx-int8.onnx",
}
"""Argument of ``bonaface export --format``, and the file that it writes."""
FEW = ("onnx", "openvino-int8")
"""Formats for a first try."""
_TRAINED_AT = 112
_STEPS = 60
_VAL_FRACTION = 0.5
"""Of the people: with fewer a single pair would move an error rate by more than precisions may."""


@dataclass(frozen=True)
class Made:
    """A network at one size, in every form.

    Args:
        arch: resnet18 or resnet34.
        size: side of its input in pixels.
        weights: state dict that torchvision's and OML's network take.
        forms: ``run`` and the formats that were written, with what ``--model`` takes for each.
        refused: why a format was not written.
    """

    arch: str
    size: int
    weights: Path
    forms: dict[str, Path]
    refused: dict[str, str]


@dataclass(frozen=True)
class Maker:
    """Makes models, and finds those that it made before.

    Args:
        demo: the unpacked demo pack.
        out: folder for them.
        steps: of training.
        formats: that are written, unless others are asked for.
    """

    demo: Path
    out: Path
    steps: int = _STEPS
    formats: tuple[str, ...] = tuple(FORMATS)
    side: ClassVar[int] = 128
    """Of the demo pack's photos, in pixels."""

    def make(self, arch: str, size: int, formats: tuple[str, ...] | None = None) -> Made:
        """A run of a network at a size, and its exports by the command."""
        weights = self._weights(arch)
        config = self._config(arch, size, str(weights))
        run = Path(config.out) / config.name
        if not (run / "metrics.json").exists():
            train(replace(config, steps=0), Console(quiet=True), resume=(run / "config.yaml").exists())
        forms, refused = {"run": run}, {}
        for form in self.formats if formats is None else formats:
            file = self.out / f"{arch}-{size}-{FORMATS[form]}"
            why = None if file.exists() else _export(run, form, file)
            if why is None:
                forms[form] = file
            else:
                refused[form] = why
        return Made(arch, size, weights, forms, refused)

    def unseen(self) -> FaceTable:
        """Photos of the people that no weights were trained on."""
        table = split_by_person(read_faces(self.demo / "train"), _VAL_FRACTION, 0)
        return FaceTable(table.root, table.frame[table.frame["split"] == "val"].reset_index(drop=True))

    def _weights(self, arch: str) -> Path:
        """The state dict of a short training at 112 px."""
        file = self.out / f"{arch}.pth"
        if not file.exists():
            config = replace(self._config(arch, _TRAINED_AT, "none"), name=f"{arch}-trained")
            print(f"training {arch} for {self.steps} steps", flush=True)
            begun = Path(config.out, config.name, "config.yaml").exists()
            run = load_run(train(config, Console(quiet=True), resume=begun))
            torch.save(run.model.identity.backbone.net.state_dict(), file)
        return file

    def _config(self, arch: str, size: int, weights: str) -> TrainConfig:
        branch = BranchConfig(backbone=f"{arch}_imagenet1k_v1", weights=weights, size=size)
        faces = FacesConfig(
            train=str(self.demo / "train"),
            val_fraction=_VAL_FRACTION,
            val_pairs=400,
            crop_size=size,
            detector=None,  # OML looks for no faces
            cache=str(self.out / "cache"),
        )
        return TrainConfig(
            name=f"{arch}-{size}",
            out=str(self.out / "runs"),
            faces=faces,
            model=ModelConfig(identity=branch),
            batch=BatchConfig(n_labels=16, n_instances=4),
            optimizer=OptimizerConfig(lr=1e-3),
            steps=self.steps,
            val_every=self.steps,
        )


def _export(run: Path, form: str, file: Path) -> str | None:
    """Writes a file by the command; where it was refused, why."""
    words = ["export", "--model", str(run), "--format", form, "--out", str(file)]
    done = subprocess.run([sys.executable, "-m", "bonaface", *words], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else done.stderr.strip().splitlines()[-1]
