"""The program's door: help, errors and exit codes."""

import errno
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

from bonaface import __version__, cli, extras
from bonaface.errors import ConfigError, DataError, ModelError

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "lightning", "timm", "numpy", "pandas", "cv2", "jsonargparse")


@pytest.fixture
def command(monkeypatch):
    """``command(function)`` stands in for the command ``train``, or another one."""

    def stand_in(function, name="train"):
        module = types.ModuleType(f"bonaface.cli.{name}")
        module.main = function
        monkeypatch.setitem(sys.modules, f"bonaface.cli.{name}", module)

    return stand_in


def raising(error):
    def run(arguments):
        raise error

    return run


def test_the_code_and_the_words_go_through(command):
    seen = []
    command(lambda words: seen.append(words) or 1)
    assert cli.main(["train", "--steps", "4"]) == 1
    assert seen == [["--steps", "4"]]


@pytest.mark.parametrize("kind", [ConfigError, DataError, ModelError])
def test_an_error_of_the_project_is_one_line(command, capsys, kind):
    command(raising(kind("x.csv: wrong; expected right")))
    assert cli.main(["train"]) == 2
    assert capsys.readouterr() == ("", "bonaface train: x.csv: wrong; expected right\n")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_one_line(command, capsys, code):
    command(raising(OSError(code, os.strerror(code), "runs/a/last.ckpt")))
    assert cli.main(["train"]) == 2
    said = capsys.readouterr().err
    assert said == "bonaface train: runs/a/last.ckpt: no space left; make room and run the command again\n"


def test_what_the_system_refuses_is_one_line(command, capsys):
    command(raising(PermissionError(errno.EACCES, "Permission denied", "/root/x")))
    assert cli.main(["train"]) == 2
    assert capsys.readouterr().err.startswith("bonaface train: /root/x: permission denied; expected a file")


@pytest.fixture
def without(monkeypatch):
    """``without("torch")`` makes a package one that is not installed."""

    def hide(*modules):
        monkeypatch.setattr(extras, "_is_installed", lambda module: module not in modules)

    return hide


@pytest.mark.parametrize("name", cli.NEEDS)
def test_a_missing_extra_is_one_line_before_anything_is_imported(command, capsys, without, name):
    extra, modules = cli.NEEDS[name]
    without((modules or extras.EXTRAS[extra])[0])
    command(lambda words: pytest.fail("was run"), name)
    assert cli.main([name, "x"]) == 2
    out, said = capsys.readouterr()
    assert out == ""
    assert said.startswith(f"bonaface {name}: needs ")
    assert said.endswith(f", which is not installed: pip install 'bonaface[{extra}]'\n")


def test_help_needs_no_extra(command, without):
    without(*extras.EXTRAS["train"])
    command(lambda words: 0)
    assert cli.main(["train", "--help"]) == 0


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("train", "torch", "train"),
        ("verify", "torch", "train"),
        ("submit", "yaml", "evaluate"),
        ("serve", "grpc._x", "gallery"),
    ],
)
def test_an_import_that_fails_is_one_line_with_its_extra(command, capsys, without, name, module, extra):
    def run(words):
        without(module.partition(".")[0])
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    command(run, name)
    assert cli.main([name, "x"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"bonaface {name}: needs ")
    assert f"pip install 'bonaface[{extra}]'" in said


@pytest.mark.parametrize(
    "error", [ImportError("x"), ImportError("cannot import", name="torch"), ImportError(name="os")]
)
def test_an_import_that_no_extra_mends_is_a_bug(command, error):
    command(raising(error))
    with pytest.raises(ImportError):
        cli.main(["train"])


def test_a_bug_is_not_hidden(command):
    command(raising(KeyError("oops")))
    with pytest.raises(KeyError):
        cli.main(["train"])


def test_an_interrupt_is_130(command, capsys):
    command(raising(KeyboardInterrupt()))
    assert cli.main(["train"]) == 130
    assert capsys.readouterr().err == "bonaface train: interrupted\n"


def test_an_unknown_command_is_named(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["trian"])
    assert stop.value.code == 2
    assert "trian" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("words", [["--help"], []])
def test_help_lists_every_command(capsys, words):
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert all(f"  {name} " in said and what in said for name, what in cli.COMMANDS.items())
    assert max(map(len, said.splitlines())) <= 100


def test_version(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"bonaface {__version__}\n"


def test_every_command_is_there():
    for name in cli.COMMANDS:
        assert (ROOT / "bonaface" / "cli" / f"{name}.py").is_file(), name


def test_help_is_quick_because_nothing_heavy_is_imported():
    code = (
        "import sys, bonaface.cli\n"
        "try: bonaface.cli.main(['--help'])\n"
        f"except SystemExit: print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert said.stderr.strip() == "[]"


@pytest.mark.parametrize(("script", "command"), [("train.py", "train"), ("make_submission.py", "submit")])
def test_the_scripts_are_the_commands(script, command):
    said = subprocess.run([sys.executable, ROOT / script, "--help"], capture_output=True, text=True, check=True)
    assert said.stdout.startswith(f"usage: bonaface {command} ")


@pytest.mark.parametrize(
    "words",
    [
        "search a.jpg --gallery g.sqlite --k 1_0",
        "serve --rate 1_0",
        "serve --seconds 1_0",
        "verify a.jpg b.jpg --fmr 0.0_1",
        "verify a.jpg b.jpg --fmr nan",
        "embed a --out b.npz --workers \u0661",
        "get synthetic out --people 1_0 --detector d --recogniser r",
        "forge a b --seed 1_0",
        "evaluate --scores a --labels b --out c --replicates 1_0",
        "experiments run file --workers 1_0",
    ],
)
def test_numbers_are_written_as_elsewhere(words, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(words.split())
    assert ended.value.code == 2
    assert re.search("--[a-z]+: expected an? (integer|number), not ", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["serve", "--rate", "nan"],
            "bonaface serve: --rate: expected an integer, not 'nan' (see bonaface serve --help)",
        ),
        (["evaluate", "--fmr", "inf"], "--fmr: expected a number, not 'inf'"),
        (["search", "x.jpg"], "the following arguments are required: --gallery"),
        (["embed", "x", "--device", "gpu"], "--device: invalid choice: 'gpu' (choose from "),
        (["serve", "--nothing"], "unrecognized arguments: --nothing"),
        (["nothing"], "bonaface: COMMAND: invalid choice: 'nothing' (choose from "),
    ],
)
def test_a_wrong_option_is_one_sentence_without_usage(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(words)
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]
