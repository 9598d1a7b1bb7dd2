"""A set of pairs whose people can be told apart, and a network that looks at coarse colours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image

SIDE = 32


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """An ONNX file with its YAML: means of 8 x 8 pixels, 48 numbers."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 48])
    nodes = [
        helper.make_node("AveragePool", ["x"], ["p"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Flatten", ["p"], ["y"], axis=1),
    ]
    graph = helper.make_graph(nodes, "coarse", [x], [y])
    file = tmp_path / "coarse.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), file)
    file.with_suffix(".yaml").write_text("{size: 32, mean: 127.5, std: 127.5}")
    return file


def _photo(person: NDArray[np.float64], rng: np.random.Generator, strength: float) -> NDArray[np.uint8]:
    coarse = person + rng.normal(0, strength, person.shape)
    fine = np.kron(coarse, np.ones((40, 40, 1))) + rng.normal(0, 4, (160, 160, 3))
    return np.clip(fine, 0, 255).astype(np.uint8)


@pytest.fixture
def people_pairs(tmp_path: Path) -> Callable[..., Path]:
    """``people_pairs(count)`` writes pairs of twelve people of all four kinds, labelled, in the challenge's layout."""

    def write(count: int = 48, name: str = "pairs", seed: int = 3) -> Path:
        rng = np.random.default_rng(seed)
        people = rng.uniform(40, 215, (12, 4, 4, 3))
        kinds = ["same", "impostor", "own_fake", "same", "own_fake", "other_fake"]
        rows = []
        for n in range(count):
            kind, first = kinds[n % len(kinds)], int(rng.integers(12))
            second = first if kind in ("same", "own_fake") else int((first + 1 + rng.integers(11)) % 12)
            folder = tmp_path / name / "images" / f"{n:08d}"
            folder.mkdir(parents=True)
            for side, who in ((0, first), (1, second)):
                strength = 45.0 if side and kind.endswith("fake") else 30.0
                Image.fromarray(_photo(people[who], rng, strength)).save(folder / f"{side}.jpg")
            method = ("swap", "<script>alert(1)</script>")[n % 2] if kind.endswith("fake") else "real"
            rows.append((f"{n:08d}", int(kind == "same"), kind, f"p{first}", f"p{second}", "real", method))
        columns = ["pair_id", "label", "kind", "person_0", "person_1", "method_0", "method_1"]
        pd.DataFrame(rows, columns=columns).to_csv(tmp_path / name / "labels.csv", index=False)
        return tmp_path / name

    return write
