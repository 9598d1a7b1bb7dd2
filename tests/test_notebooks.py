"""Every notebook runs from top to bottom, and holds no output in the repository."""

import json
import os
import re
import tomllib
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
ROOT = Path(__file__).parents[1]
SECONDS = 170  # a cell


def test_there_are_notebooks_without_outputs():
    assert len(NOTEBOOKS) == 3
    for notebook in NOTEBOOKS:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells), notebook.name


def test_continuous_integration_has_what_runs_them():
    """They are skipped without these, so the dev extra and the constraints have to bring them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    dev = {re.split(r"[^\w-]", each, maxsplit=1)[0] for each in project["optional-dependencies"]["dev"]}
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()}
    assert dev & pinned >= {"ipykernel", "matplotlib", "nbclient"}
    assert "nbformat" in pinned


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_notebooks_run(notebook, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    content = nbformat.read(notebook, as_version=4)
    nbclient.NotebookClient(content, timeout=SECONDS, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output.get("data", {}) for cell in content.cells for output in cell.get("outputs", [])]
    assert any("image/png" in data for data in shown), "a notebook shows figures"
