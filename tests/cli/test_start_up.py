"""A fast start changes nothing but the time: models, errors and exit codes are those of any other command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import bonaface
from bonaface.cli.start_up import load_fast
from bonaface.errors import ModelError

pytest_plugins = ("tiny_models", "tiny_networks")

ROOT = Path(__file__).parents[2]


def run(*words, environment=None):
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)


def verify(*words):
    return run(sys.executable, "-m", "bonaface", "verify", "a.jpg", "b.jpg", *map(str, words))


def test_an_anonymous_network_is_loaded_as_ever(write_network, tmp_path):
    network = write_network(tmp_path / "other.onnx")
    assert load_fast(str(network), "cpu", None).name == bonaface.load(network, "cpu").name


@pytest.mark.parametrize("name", ["gone.onnx", "cut.onnx", "gone", "page.html", "gone.xml"])
def test_what_is_no_model_is_refused_in_the_same_words(tiny_exported, tmp_path, name):
    (tmp_path / "cut.onnx").write_bytes(tiny_exported.read_bytes()[:-20])
    (tmp_path / "page.html").write_text("<html>404")
    with pytest.raises(ModelError) as refused:
        bonaface.load(tmp_path / name)
    said = verify("--model", tmp_path / name)
    assert (said.returncode, said.stdout, said.stderr) == (2, "", f"bonaface verify: {refused.value}\n")


def test_a_missing_detector_is_told_before_a_broken_model(tiny_exported, tmp_path):
    (tmp_path / "cut.onnx").write_bytes(tiny_exported.read_bytes()[:-20])
    said = verify("--model", tmp_path / "cut.onnx", "--detector", tmp_path / "gone.onnx")
    assert said.returncode == 2
    assert said.stderr.startswith(f"bonaface verify: {tmp_path / 'gone.onnx'}: no such file; expected a YuNet")


@pytest.mark.parametrize(("wish", "kept"), [({}, "4"), ({"OPENBLAS_THREAD_TIMEOUT": "20"}, "20")])
def test_threads_of_blas_do_not_spin_unless_that_is_wished_for(tiny_exported, wish, kept):
    code = (
        "import os, sys; from bonaface.cli.start_up import load_fast\n"
        "assert 'numpy' not in sys.modules, 'it reads the variable as it is imported'\n"
        f"load_fast({str(tiny_exported)!r}, 'cpu', None); print(os.environ['OPENBLAS_THREAD_TIMEOUT'])"
    )
    unset = {name: value for name, value in os.environ.items() if name != "OPENBLAS_THREAD_TIMEOUT"}
    said = run(sys.executable, "-c", code, environment=unset | wish)
    assert (said.stdout.strip(), said.stderr) == (kept, "")


def test_the_end_does_not_look_for_cycles(tiny_exported):
    code = (
        "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count() > 1000))\n"
        "from bonaface.cli.start_up import load_fast\n"
        f"load_fast({str(tiny_exported)!r}, 'cpu', None)"
    )
    assert run(sys.executable, "-c", code).stdout.strip() == "True"


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom bonaface.cli import main\n"
        "try: main(['verify', '--help'])\n"
        "except SystemExit: print(sorted({'numpy', 'cv2', 'PIL', 'onnxruntime', 'rich'} & set(sys.modules)), file=sys.stderr)"
    )
    assert run(sys.executable, "-c", code).stderr.strip() == "[]"
