"""A file of experiments whose runs take a second each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli.conftest import write_pairs, write_people
from tiny_training import TINY

from bonaface.experiments.parsing import read_plan
from bonaface.experiments.spec import Plan

WritePlan = Callable[..., Path]


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("data") / "people")


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("data") / "pairs")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def write_plan(tmp_path: Path, people: Path, pairs: Path, cache: Path) -> WritePlan:
    """``write_plan(rows, **more)`` writes a file of experiments whose runs lie in ``tmp_path / "runs"``."""

    def write(rows: list[dict[str, Any]], **more: Any) -> Path:
        tiny = TINY | {"faces.train": str(people), "faces.cache": str(cache), "tracking.mlflow": None}
        head = {
            "name": "tiny",
            "out": str(tmp_path / "runs"),
            "test": {"pairs": str(pairs), "labels": str(pairs / "labels.csv")},
            "settings": tiny | more.pop("settings", {}),
            "rows": rows,
        }
        file = tmp_path / "tiny.yaml"
        file.write_text(yaml.safe_dump(head | more, sort_keys=False))
        return file

    return write


@pytest.fixture
def plan(write_plan: WritePlan) -> Callable[..., Plan]:
    """``plan(rows)``: the same, read."""
    return lambda rows, **more: read_plan(write_plan(rows, **more))
