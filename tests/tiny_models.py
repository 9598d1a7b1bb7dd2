"""A small model of two branches, as a run's embedder and as an exported file, and a folder of people to calibrate on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bonaface.config import BranchConfig, ModelConfig
from bonaface.exporting.calibration_faces import calibration_faces
from bonaface.exporting.conversion import convert
from bonaface.images.preprocessing import Preprocessor
from bonaface.inference.backends.torch import TorchNetwork
from bonaface.inference.embedder import Embedder
from bonaface.models.face_model import build_model
from bonaface.verification.calibration import Calibration, Logistic
from bonaface.verification.thresholds import Threshold, Validation

CALIBRATION = Calibration(Logistic(20.0, -10.0), Logistic(1.0, 0.25), 0.01)
VALIDATION = Validation(
    (Threshold(0.1, -2.0, -2.5, -1.5, 100), Threshold(1e-3, -0.5, -0.75, -0.25, 100)), Logistic(1.0, 0.5), 100
)


@pytest.fixture(scope="session")
def tiny_embedder() -> Embedder:
    """Identity at 32 px of a frame of 40, which has to be resized; authenticity by five crops; mirror images."""
    torch.manual_seed(0)
    identity = BranchConfig("timm:test_resnet", "none", size=32, dim=8)
    authenticity = BranchConfig("timm:test_resnet", "none", size=32, crop=True)
    model = build_model(ModelConfig(identity, authenticity, flip_tta=True, five_crop=True)).eval()
    prepare = Preprocessor.of(model.views, 40, None)
    return Embedder(TorchNetwork(model, "tiny"), prepare, CALIBRATION, VALIDATION)


@pytest.fixture(scope="session")
def tiny_people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight people with five photos each: a person's own colours in other light."""
    root = tmp_path_factory.mktemp("tiny") / "people"
    for person in range(8):
        rng = np.random.default_rng(person)
        colours = rng.uniform(40, 215, (4, 4, 3)).repeat(12, 0).repeat(12, 1)
        for n in range(5):
            file = root / f"p{person}" / f"{n}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            noisy = colours + rng.normal(0, 15, 3) + rng.normal(0, 8, colours.shape)
            Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(file)
    return root


@pytest.fixture(scope="session")
def tiny_exported(tiny_embedder: Embedder, tiny_people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as an ONNX file; no test writes to it."""
    file = tmp_path_factory.mktemp("exported") / "tiny.onnx"
    convert(tiny_embedder, "onnx", file, *calibration_faces(tiny_embedder, tiny_people), "# Tiny\n")
    return file
