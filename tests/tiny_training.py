"""The settings of a training that takes a second."""

from pathlib import Path
from typing import Any

TINY = {
    "faces.val_fraction": 0.34,
    "faces.val_pairs": 24,
    "faces.crop_size": 32,
    "faces.detector": "null",
    "faces.workers": 0,
    "model.identity.backbone": "timm:test_resnet",
    "model.identity.weights": "none",
    "model.identity.size": 32,
    "batch.n_labels": 4,
    "batch.n_instances": 2,
    "steps": 4,
    "val_every": 2,
    "precision": "32",
    "device": "cpu",
}


def tiny_words(people: Path, out: Path, cache: Path, **settings: Any) -> list[str]:
    """The options of such a training on ``people``; ``settings`` replace or add some."""
    whole = TINY | {"out": out, "faces.train": people, "faces.cache": cache} | settings
    return [f"--{key}={value}" for key, value in whole.items()]
