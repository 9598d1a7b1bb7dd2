"""Imports point up: a package imports itself, the root's leaves and packages above it, and nothing below."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "bonaface"
DOOR = "__init__"
"""The package's face, which names what lies in the rooms and imports it on first use."""
LEAVES = {
    "errors",
    "extras",
    "telemetry",
    "version",
    "io",
    "locks",
    "reading",
    "outputs",
    "storage",
    "config",
    "config_io",
    "strict_yaml",
}
"""Of the root. Among themselves they import one another; ``test_leaves_import_leaves_alone`` says so."""
ORDER = [
    "assets",
    "metrics",
    "charts",
    "verification",
    "images",
    "data",
    "batches",
    "forgery",
    "synthetic",
    "models",
    "losses",
    "tracking",
    "training",
    "inference",
    "exporting",
    "cleaning",
    "evaluation",
    "calibrating",
    "gallery",
    "service",
    "experiments",
    "cli",
    "__main__",
]
"""From the top of the house to the bottom."""
NETWORKS = {"torch", "lightning", "timm"}


def imported_names(file: Path) -> set[str]:
    """Modules and names of bonaface that a file imports anywhere in it, in functions too, dotted."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: expected an absolute import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.startswith("bonaface.")}


def imported(file: Path) -> set[str]:
    """What a file imports of bonaface: the first name below the root."""
    return {name.split(".")[1] for name in imported_names(file)}


def package_of(file: Path) -> str:
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


FILES = sorted(ROOT.rglob("*.py"))


def test_the_house_is_as_the_test_knows_it():
    found = {package_of(file) for file in FILES}
    assert found == {DOOR} | LEAVES | set(ORDER), "a new module of the root: say in this test where it stands"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_imports_point_up(file):
    own = package_of(file)
    if own == DOOR:
        return
    allowed = LEAVES if own in LEAVES else LEAVES | set(ORDER[: ORDER.index(own) + 1])
    below = imported(file) - allowed
    assert not below, f"{file.relative_to(ROOT)} imports {', '.join(sorted(below))}, which stand below it"


def test_no_files_import_each_other_in_a_circle():
    files = {".".join(file.relative_to(ROOT.parent).with_suffix("").parts): file for file in FILES if file.stem != DOOR}
    graph = {
        module: {part for name in imported_names(file) for part in (name, name.rpartition(".")[0]) if part in files}
        for module, file in files.items()
    }
    assert sum(map(len, graph.values())) > len(files)
    TopologicalSorter(graph).prepare()  # a CycleError names the files


@pytest.mark.parametrize("package", ["metrics", "verification", "images"])
def test_what_needs_no_network_imports_none(package):
    """Figures and verdicts are pure functions of arrays: no framework is needed to use them."""
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for file in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        modules = {
            name.split(".")[0]
            for node in ast.walk(tree)
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        assert not modules & NETWORKS, file


def test_the_check_sees_imports_in_functions(tmp_path):
    file = tmp_path / "x.py"
    file.write_text(
        "import numpy\ndef f():\n    from bonaface.inference.embedder import load_embedder\n    from bonaface import cli\n"
    )
    assert imported(file) == {"inference", "cli"}
