"""The table of extras is pyproject.toml's, and what is missing is said in one sentence."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from bonaface import extras
from bonaface.errors import BonafaceError, MissingExtraError

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DECLARED = PROJECT["optional-dependencies"]
BY_MODULE = importlib.metadata.packages_distributions()
NOT_FOR_COMMANDS = {"all", "dev", "docs", "oml"}


def name_of(requirement):
    return re.split(r"[^A-Za-z0-9_-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def distributions(extra):
    """What pip installs for an extra, the extras that it includes followed."""
    found = set()
    for requirement in DECLARED[extra]:
        own = re.fullmatch(r"bonaface\[(.+)\]", requirement)
        found |= set().union(*map(distributions, own[1].split(","))) if own else {name_of(requirement)}
    return found


@pytest.mark.parametrize("extra", sorted(DECLARED.keys() - NOT_FOR_COMMANDS))
def test_the_table_is_what_is_declared(extra):
    modules = {module: {name_of(each) for each in BY_MODULE.get(module, [])} for module in extras.EXTRAS[extra]}
    absent = [module for module, names in modules.items() if not names]
    if absent:
        pytest.skip(f"needs {', '.join(absent)} installed")
    declared = distributions(extra)
    assert all(names & declared for names in modules.values()), f"{extra} does not install all of {modules}"
    assert declared <= set().union(*modules.values()), f"EXTRAS lacks some of {declared}"


def test_all_is_all():
    assert distributions("all") == set().union(*map(distributions, DECLARED.keys() - NOT_FOR_COMMANDS))


def test_the_core_is_small():
    assert {name_of(each) for each in PROJECT["dependencies"]} == {
        "numpy",
        "onnxruntime",
        "opencv-python-headless",
        "pillow",
        "rich",
    }


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (["torch"], "--x: needs PyTorch, which is not installed: pip install 'bonaface[train]', or go without"),
        (
            ["torch", "yaml"],
            "--x: needs PyTorch and PyYAML, which are not installed: pip install 'bonaface[train]', or go without",
        ),
        (
            ["torch", "yaml", "timm"],
            "--x: needs PyTorch and 2 more, which are not installed: pip install 'bonaface[train]', or go without",
        ),
    ],
)
def test_the_sentence(monkeypatch, missing, said):
    monkeypatch.setattr(extras, "_is_installed", lambda module: module not in missing)
    with pytest.raises(MissingExtraError) as caught:
        extras.require("train", what="--x", instead="go without")
    assert str(caught.value) == said
    assert isinstance(caught.value, BonafaceError)
    assert isinstance(caught.value, ImportError)
    extras.require("serve")


def test_a_package_is_looked_for_and_not_imported():
    code = (
        "import sys; from bonaface.extras import require; require('evaluate', 'pandas'); print('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
