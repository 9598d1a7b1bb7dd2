"""A folder of people, a folder of pairs and a run that takes a second, for commands run as a user would run them."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from tiny_training import tiny_words

from bonaface.assets import unpack_demo
from bonaface.cli import main
from bonaface.config_io import parse_config

PEOPLE = 9
KINDS = ["same", "impostor", "own_fake", "other_fake"]


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str
    device: str = ""

    @property
    def lines(self) -> list[str]:
        """The lines of stderr."""
        return self.err.splitlines()


Say = Callable[..., Said]


def person_image(person: int, n: int, fake: bool) -> NDArray[np.uint8]:
    """Image ``n`` of a person: their pattern of colours in other light, under a grid where it is a deepfake."""
    pattern = np.random.default_rng(person).uniform(40, 215, (4, 4, 3)).repeat(10, 0).repeat(10, 1)  # (40, 40, 3)
    rng = np.random.default_rng([person, n])
    pixels = pattern + rng.normal(0, 20, 3) + rng.normal(0, 6, (40, 40, 3))
    if fake:
        pixels[::2] += 25
    return np.clip(pixels, 0, 255).astype(np.uint8)


def write_people(root: Path, fakes: list[int] | None = None, people: int = PEOPLE) -> Path:
    """The challenge's layout: each person with 4 photos and 3 deepfakes, or as ``fakes`` says."""
    meta: dict[str, int] = {}
    for person in range(people):
        for n, fake in enumerate(fakes or [0, 0, 0, 0, 1, 1, 1]):
            file = root / "images" / f"{person:08d}" / f"{n}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(person_image(person, n, bool(fake))).save(file)
            meta[f"{person:08d}/{n}.png"] = fake
    (root / "meta.json").write_text(json.dumps(meta))
    return root


def write_pairs(root: Path, count: int = 12) -> Path:
    """Pairs of the four kinds and their labels.csv; the first image of pair n + 9 is that of pair n."""
    rows = [["pair_id", "label", "kind", "person_0", "person_1", "method_0", "method_1"]]
    for number in range(count):
        kind, a = KINDS[number % 4], number % PEOPLE
        fake = kind.endswith("fake")
        b = a if kind in ("same", "own_fake") else (a + 1) % PEOPLE
        folder = root / "images" / f"{number:08d}"
        folder.mkdir(parents=True)
        Image.fromarray(person_image(a, 0, False)).save(folder / "0.png")
        Image.fromarray(person_image(b, 5 if fake else 1, fake)).save(folder / "1.png")
        rows.append([folder.name, str(int(kind == "same")), kind, str(a), str(b), "real", "swap" if fake else "real"])
    with (root / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return root


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo pack's people, who do not exist, a folder each; left as it is."""
    return unpack_demo(tmp_path_factory.mktemp("demo")) / "train" / "images"


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]) -> Say:
    """``say("submit", "--model", ...)`` runs a command in this process; what libraries write past Python is caught as well."""

    def run(*words: object) -> Said:
        capfd.readouterr()
        code = main([str(word) for word in words])
        said = capfd.readouterr()
        lines = said.err.splitlines(keepends=True)
        device = [line for line in lines if line.startswith("device: ")]  # differs by what is installed
        return Said(code, said.out, "".join(line for line in lines if line not in device), "".join(device))

    return run


@pytest.fixture
def make_people(tmp_path: Path) -> Callable[..., Path]:
    """``make_people("name", fakes=[0, 0, 1], people=3)`` writes the challenge's layout."""
    return lambda name="own", **shape: write_people(tmp_path / name, **shape)


@pytest.fixture
def make_pairs(tmp_path: Path) -> Callable[..., Path]:
    """``make_pairs("name", count=4)`` writes pairs of the four kinds and their labels.csv."""
    return lambda name="pairs", **shape: write_pairs(tmp_path / name, **shape)


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("data") / "people")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Decoded images, shared by all runs."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def words(people: Path, cache: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """``words(**{"batch.n_labels": 3})``: options of a training in ``tmp_path / "runs"``."""

    def make(**settings: Any) -> list[str]:
        return tiny_words(people, tmp_path / "runs", cache, **settings)

    return make


@pytest.fixture(scope="session")
def run_folder(people: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained once for all tests; none of them writes to it."""
    from bonaface.training.train import train

    config = parse_config(tiny_words(people, tmp_path_factory.mktemp("runs"), cache, name="shared"))
    return train(config, Console(file=io.StringIO()))
