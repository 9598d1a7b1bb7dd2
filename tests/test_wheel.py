"""The wheel with its core dependencies alone, in an environment of its own: what works, and what is said of the rest."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from calls_home import assert_nothing_left, needs_strace, tracing

from bonaface.cli import COMMANDS

ROOT = Path(__file__).parents[1]
MOST_PACKAGES = 15
MOST_BYTES = 0.45e9
HEAVY = {"torch", "pandas", "scipy", "sklearn", "yaml", "jinja2", "fsspec", "onnx", "pyarrow"}
PHOTO = "demo/train/images/{}/{}.jpg"


@dataclass(frozen=True)
class Core:
    """An environment that holds the wheel and what it depends on, and a folder with the demo's people to work in."""

    python: Path
    folder: Path

    @property
    def packages(self) -> Path:
        return next(self.python.parents[1].glob("lib/python3*/site-packages"))

    def run(self, *words: str | Path, home: Path | None = None, before: tuple[str, ...] = ()):
        """Runs Python there; the machine's own settings do not reach it, and neither does this checkout."""
        kept = {name: value for name, value in os.environ.items() if name in {"PATH", "TMPDIR", "OMP_NUM_THREADS"}}
        own = kept | {"HOME": str(home or self.folder / "home"), "COLUMNS": "400"}
        command = [*before, self.python, *words]
        return subprocess.run(command, cwd=self.folder, env=own, capture_output=True, text=True, check=False)

    def bonaface(self, *words: str | Path, **how):
        return self.run("-m", "bonaface", *words, **how)


def pip(*words: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = f"pip could not {words[0]} what the wheel's test needs: {done.stderr.strip().splitlines()[-1]}"
        pytest.fail(said) if os.environ.get("CI") == "true" else pytest.skip(said)


@pytest.fixture(scope="session")
def core(tmp_path_factory: pytest.TempPathFactory) -> Core:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--wheel-dir", folder, ROOT)
    (wheel,) = folder.glob("bonaface-*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "core"], check=True)
    python = folder / "core" / "bin" / "python"
    pip("--python", python, "install", "-c", ROOT / "constraints.txt", wheel)
    (folder / "home").mkdir()
    made = Core(python, folder)
    said = made.bonaface("get", "demo", "demo")
    assert said.returncode == 0, said.stderr
    for pair in sorted((folder / "demo/test/images").iterdir())[:6]:
        shutil.copytree(pair, folder / "pairs" / pair.name)
    return made


def test_it_is_small(core):
    packages = sorted(each.name for each in core.packages.glob("*.dist-info"))
    assert len(packages) <= MOST_PACKAGES, packages
    files = [each for each in core.packages.rglob("*") if each.is_file()]
    assert sum(each.stat().st_size for each in files) <= MOST_BYTES


def test_importing_it_loads_nothing_else(core):
    said = core.run("-c", "import sys; before = set(sys.modules); import bonaface; print(*set(sys.modules) - before)")
    ours = {name.partition(".")[0] for name in said.stdout.split()}
    assert "bonaface" in ours
    assert not ours - set(sys.stdlib_module_names) - {"bonaface", "openvino_telemetry"}


def test_three_lines_of_python_give_a_verdict(core):
    said = core.run(
        "-c",
        "import sys, bonaface\n"
        f"verdict = bonaface.load().verify({PHOTO.format('0000', 0)!r}, {PHOTO.format('0000', 1)!r})\n"
        "print(verdict.decision, sorted(sys.modules.keys() & " + repr(HEAVY) + "))",
    )
    assert (said.stdout, said.returncode) == ("same person []\n", 0), said.stderr


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_is_given_or_the_extra_is_named(core, command):
    said = core.bonaface(command, "--help")
    if said.returncode:
        assert_says_its_extra(said, command)
    else:
        assert said.stdout.startswith(f"usage: bonaface {command}")


@pytest.mark.parametrize(
    ("words", "out"),
    [
        (["verify", PHOTO.format("0000", 0), PHOTO.format("0000", 1)], "same person: "),
        (["verify", PHOTO.format("0000", 0), PHOTO.format("0001", 0)], "different people: "),
        (["check", PHOTO.format("0000", 0)], f"{PHOTO.format('0000', 0)}: "),
    ],
    ids=lambda value: " ".join(value[:1]) if isinstance(value, list) else "",
)
def test_what_the_core_does(core, words, out):
    said = core.bonaface(*words)
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith(out)


def test_its_files_are_whole(core):
    assert core.bonaface("submit", "--pairs", "pairs", "--out", "s.csv").returncode == 0
    rows = (core.folder / "s.csv").read_text().splitlines()
    assert rows[0] == "pair_id,similarity"
    assert len(rows) == 7
    assert all(re.fullmatch(r"\d+,-?[\d.e-]+", row) for row in rows[1:])
    assert core.bonaface("embed", "pairs", "--out", "e.npz").returncode == 0
    with np.load(core.folder / "e.npz") as file:
        assert file["path"].tolist() == [f"{row.partition(',')[0]}/{side}.jpg" for row in rows[1:] for side in "01"]
        np.testing.assert_allclose(np.linalg.norm(file["embedding"], axis=1), 1, atol=1e-5)


def assert_says_its_extra(said, command):
    assert said.returncode == 2, said.stderr
    assert said.stdout == ""
    assert "Traceback" not in said.stderr
    assert re.fullmatch(rf"bonaface {command}: .*pip install 'bonaface\[\w+\]'.*\n", said.stderr), said.stderr


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (["train", "--config", "x.yaml"], "train"),
        (["forge", "demo/train", "forged"], "train"),
        (["clean", "demo/train", "--out", "issues.csv"], "clean"),
        (["evaluate", "--pairs", "demo/test", "--labels", "demo/test/labels.csv", "--out", "report"], "evaluate"),
        (["export", "--format", "onnx", "--out", "x.onnx"], "export"),
        (["serve"], "serve"),
        (["experiments", "run", "x.yaml"], "experiments"),
        (["embed", "demo/test", "--out", "embeddings"], "experiments"),
        (["verify", PHOTO.format("0000", 0), PHOTO.format("0000", 1), "--model", "run"], "train"),
        (["submit", "--pairs", "demo/test", "--model", "run"], "train"),
        (["submit", "--pairs", "demo/test", "--model", "x.xml"], "export"),
        (["submit", "--pairs", "demo/test", "--model", "net.onnx"], "evaluate"),
        (["get", "lfw", "lfw"], "evaluate"),
        (["get", "synthetic", "people", "--detector", "x.onnx", "--recogniser", "x.onnx"], "synthetic"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_what_is_missing_is_said_in_one_sentence(core, words, extra):
    (core.folder / "run").mkdir(exist_ok=True)
    for name in ("x.yaml", "x.xml", "x.bin", "x.onnx", "net.onnx", "net.yaml", "run/config.yaml"):
        (core.folder / name).touch()
    before = sorted(core.folder.glob("*"))
    said = core.bonaface(*words)
    assert_says_its_extra(said, words[0])
    assert f"bonaface[{extra}]" in said.stderr
    assert sorted(core.folder.glob("*")) == before


@needs_strace
@pytest.mark.parametrize(
    "words",
    [
        ["verify", PHOTO.format("0000", 0), PHOTO.format("0000", 1)],
        ["submit", "--pairs", "pairs", "--out", "traced.csv"],
    ],
    ids=["verify", "submit"],
)
def test_nothing_calls_home(core, words, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    said = core.bonaface(*words, home=home, before=tracing(tmp_path / "calls.txt"))
    assert said.returncode == 0, said.stderr
    assert_nothing_left(tmp_path / "calls.txt", home)
