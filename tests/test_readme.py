"""Every Python example of README.md and docs/ runs, and every command line there parses."""

import contextlib
import re
import shlex
import textwrap
from pathlib import Path

import pytest

from bonaface.cli import COMMANDS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(*languages: str) -> list[tuple[str, str]]:
    """Code blocks of these languages, each with the page and line where it begins."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in _BLOCK.finditer(text):
            if block[1] in languages:
                line = text[: block.start()].count("\n") + 1
                found.append((f"{page.relative_to(ROOT)}:{line}", block[2]))
    return found


def indented() -> list[tuple[str, str]]:
    """Runs of lines that are indented by four spaces: Markdown's other way to write code."""
    found = []
    for page in PAGES:
        text = _BLOCK.sub(lambda block: "\n" * block[0].count("\n"), page.read_text(encoding="utf-8"))
        for block in re.finditer(r"(?:^ {4}.*\n)+", text, re.MULTILINE):
            line = text[: block.start()].count("\n") + 1
            found.append((f"{page.relative_to(ROOT)}:{line}", textwrap.dedent(block[0])))
    return found


def command_lines() -> list[tuple[str, str]]:
    """Lines that call bonaface, continued lines joined, prompts taken off."""
    return [
        (where, line)
        for where, text in (*blocks("console", "bash", "sh", "shell"), *indented())
        for line in (each.removeprefix("$ ") for each in text.replace("\\\n", " ").splitlines())
        if re.match(r"(\S*/)?bonaface [a-z]", line)
    ]


def python_examples() -> list[tuple[str, str]]:
    """Blocks marked as Python, and indented ones that import bonaface."""
    return [*blocks("python"), *(block for block in indented() if re.match(r"(from|import) bonaface\b", block[1]))]


@pytest.mark.parametrize(("where", "code"), [pytest.param(*block, id=block[0]) for block in python_examples()])
def test_python_examples_run(where, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, where, "exec"), {"__name__": "__example__"})  # noqa: S102 - our own pages


@pytest.mark.parametrize(("where", "line"), [pytest.param(*line, id=line[0]) for line in command_lines()])
def test_command_lines_name_commands_and_options_that_exist(where, line, capsys):
    """Each long option of the line stands in the command's help."""
    from bonaface.cli import main

    words = shlex.split(line, comments=True)[1:]
    assert words[0] in COMMANDS, f"{where}: {line}"
    with contextlib.suppress(SystemExit):  # argparse leaves so after its help
        main([words[0], "--help"])
    help_text = capsys.readouterr().out
    for option in (word.partition("=")[0] for word in words if word.startswith("--")):
        # Options of a part that may be null, such as model.authenticity.backbone, aren't listed one by one.
        assert option in help_text or option.rpartition(".")[0] in help_text, f"{where}: {option}"


def test_the_pages_show_commands():
    """The tests above find what the pages show."""
    assert {"train", "submit", "evaluate"} <= {shlex.split(line, comments=True)[1] for _, line in command_lines()}


def test_links_lead_somewhere():
    """Links between the pages and to files of the repository."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target and not target.startswith("mailto:"):
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"
