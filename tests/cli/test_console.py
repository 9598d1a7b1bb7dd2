"""Output to consoles of few characters, and to pipes that close."""

import os
import subprocess
import sys

import pytest


def run(code, **options):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False, env={**os.environ, **options}, timeout=120
    )


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_name_never_costs_the_output(encoding, tmp_path):
    code = f"import sys; from bonaface.cli import main; sys.exit(main(['verify', {str(tmp_path)!r} + '/\\u0439.jpg', 'b.jpg']))"
    done = run(code, PYTHONIOENCODING=encoding)
    assert done.returncode == 2
    assert rb"\u0439.jpg: can't be read" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    "writer",
    [
        "from rich.console import Console; Console().print(text, markup=False, highlight=False, soft_wrap=True)",
        "print(text)",
    ],
)
def test_a_closed_pipe_ends_with_the_systems_code(writer):
    code = f"""
import sys, types, bonaface.cli
def work(arguments):
    text = ("x" * 5_000 + chr(10)) * 20
    for _ in range(50):
        {writer}
    return 0
sys.modules["bonaface.cli.verify"] = types.SimpleNamespace(main=work)
sys.exit(bonaface.cli.main(["verify"]))
"""
    running = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    running.stdout.read(10)
    running.stdout.close()
    assert (running.wait(120), running.stderr.read()) == (141, b"")
    running.stderr.close()
