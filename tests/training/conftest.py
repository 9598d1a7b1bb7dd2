"""Tiny people whose images a tiny network learns in a second."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from tiny_networks import write_network
from tiny_training import tiny_words

from bonaface.config import TrainConfig
from bonaface.config_io import parse_config
from bonaface.training.train import train

__all__ = ["write_network"]

Settings = dict[str, Any]


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """14 people in the challenge's layout, each a pattern of colours: 4 photos and 3 deepfakes, which bear a grid."""
    root = tmp_path_factory.mktemp("people")
    rng = np.random.default_rng(3)
    meta: dict[str, int] = {}
    for person in range(14):
        pattern = rng.uniform(40, 215, (4, 4, 3))
        for n in range(7):
            fake = n > 3
            image = pattern.repeat(10, 0).repeat(10, 1) + rng.normal(0, 20, 3) + rng.normal(0, 6, (40, 40, 3))
            if fake:
                image[::2] += 25
            file = root / "images" / f"{person:08d}" / f"{n}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(file)
            meta[f"{person:08d}/{n}.png"] = int(fake)
    (root / "meta.json").write_text(json.dumps(meta))
    return root


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Decoded images, shared by all runs."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def words(people: Path, cache: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """``words("name", **{"optimizer.lr": 0.1})``: the command line of a run that takes a second."""

    def make(name: str = "run", **settings: Any) -> list[str]:
        own = {"name": name, "faces.val_fraction": 0.3, "optimizer.lr": 1e-3, "steps": 6}
        return tiny_words(people, tmp_path / "runs", cache, **(own | settings))

    return make


@pytest.fixture
def config(words: Callable[..., list[str]]) -> Callable[..., TrainConfig]:
    """The same as settings."""

    def make(name: str = "run", **settings: Any) -> TrainConfig:
        return parse_config(words(name, **settings))

    return make


@pytest.fixture
def trained(config: Callable[..., TrainConfig]) -> Callable[..., Path]:
    """``trained("name", **settings)`` trains and returns the run's folder."""

    def make(name: str = "run", resume: bool = False, **settings: Any) -> Path:
        return train(config(name, **settings), Console(file=io.StringIO()), resume)

    return make
