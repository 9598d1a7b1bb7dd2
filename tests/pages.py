"""README.md and docs/ as blocks of code, for the tests that run them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
fence = re.compile(
    r"^(?P<needs><!-- needs: [^\n]* -->\n)?^```(?P<language>\w+)[^\n]*\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL
)
_INDENTED = re.compile(r"(?:^ {4}\S.*\n)+", re.MULTILINE)


class Block(NamedTuple):
    """Some code of a page; ``where`` is the page and line, ``needs`` what a machine may lack."""

    where: str
    language: str
    code: str
    needs: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = [(each.start(), each["language"], each["code"], each["needs"] or "") for each in fence.finditer(text)]
    rest = fence.sub(lambda each: "".join("\n" if c == "\n" else "x" for c in each[0]), text)
    found += [
        (each.start(), "sh", re.sub("^ {4}", "", each[0], flags=re.MULTILINE), "") for each in _INDENTED.finditer(rest)
    ]
    name = page.relative_to(ROOT).as_posix()
    return [Block(f"{name}:{text[:at].count(chr(10)) + 1}", *rest) for at, *rest in found]


ALL = [block for page in PAGES for block in blocks(page)]
PYTHON = [block for block in ALL if block.language == "python"]
COMMAND_LINES = [
    (block.where, line.removeprefix("$ "))
    for block in ALL
    if block.language in ("sh", "console", "bash")
    for line in block.code.replace("\\\n", " ").splitlines()
    if re.match(r"(\$ )?bonaface [a-z]", line)
]
