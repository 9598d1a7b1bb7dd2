"""The examples of the guides to the service and its gallery, against a service that runs."""

import contextlib
import io
import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from pattern_service import random_image

from bonaface.inference.verifier import Verifier
from bonaface.service.app import create_app

pytest_plugins = ("pattern_service",)

PAGES = [Path(__file__).parents[2] / "docs" / "guides" / f"{name}.md" for name in ("deploy", "gallery")]
ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture
def url(embedder, gallery, settings, serve, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, data in {
        "ann": random_image(1),
        "ann2": random_image(1, 1),
        "ann3": random_image(1, 2),
        "bob": random_image(2),
    }.items():
        Path(f"{name}.jpg").write_bytes(data)
    return serve(create_app(Verifier(embedder), gallery, settings)).url


def _blocks(language: str) -> list[str]:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_curl_examples_are_answered(url):
    lines = [line for block in _blocks("sh") for line in block.splitlines() if line.startswith("curl")]
    assert len(lines) == 11
    answers = []
    for line in lines:
        words = shlex.split(line.replace(ADDRESS, url))
        said = subprocess.run([*words, "--fail-with-body"], capture_output=True, text=True, timeout=60, check=False)
        assert said.returncode == 0, said.stdout
        answers.append(json.loads(said.stdout) if said.stdout else None)
    assert answers[0]["decision"] == "same person"
    assert [each["decision"] for each in answers[1]["verdicts"]] == ["same person", "different people"]
    assert any(answer and answer.get("photos") == 2 for answer in answers), "the deletion"
    assert Path("ann.zip").stat().st_size > 1000


def test_python_examples_run(url):
    codes = _blocks("py")
    assert len(codes) == 2
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for code in codes:
            exec(compile(code.replace(ADDRESS, url), "docs/guides", "exec"), {})  # noqa: S102 - our own pages
    assert printed.getvalue().startswith("different people The faces are not alike")
