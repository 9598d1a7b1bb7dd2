"""MkDocs hooks: the references of commands and settings, written from the code at each build, and a check of the links."""

from __future__ import annotations

import argparse
import ast
import importlib
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[2]


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fills in what a page asks for by ``<!-- generated: NAME -->``."""
    for name, written in (("commands", commands), ("settings", settings)):
        mark = f"<!-- generated: {name} -->"
        if mark in markdown:
            markdown = markdown.replace(mark, written())
    return markdown


def on_post_build(config: Any, **_: Any) -> None:
    """Follows every internal link of the pages that were written, those of generated and of raw HTML included.

    Raises:
        SystemExit: naming links that lead nowhere.
    """
    broken = broken_links(Path(config["site_dir"]))
    if broken:
        sys.exit("\n".join(["links that lead nowhere:", *broken]))


def broken_links(site: Path) -> list[str]:
    """Links of a site's pages to files, or to anchors of pages, that are not there, as ``page: link``."""
    pages = {file.resolve(): _Page(file) for file in sorted(site.rglob("*.html")) if file.name != "404.html"}
    broken = []
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            target = target / "index.html" if target.is_dir() else target
            known = pages[target].anchors if target in pages else set()
            if not target.is_file() or (parts.fragment and unquote(parts.fragment) not in known):
                broken.append(f"{file.relative_to(site.resolve())}: {link}")
    return broken


class _Page(HTMLParser):
    """The links and anchors of a page."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = {""}
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.anchors.add(found.get("id") or "")
        self.links += [found[name] or "" for name in ("href", "src") if name in found]


def commands() -> str:
    """Every command with its arguments, as Markdown."""
    sys.path.insert(0, str(ROOT))  # here, since MkDocs takes away what a hook puts there while it is imported
    from bonaface.cli import COMMANDS

    sections = []
    for name, summary in COMMANDS.items():
        if name == "train":
            body = "Options are settings: see [Settings of a training](settings.md). `--resume` resumes a run that was stopped."
            sections.append(f"## bonaface train\n\n{summary[0].upper()}{summary[1:]}.\n\n{body}")
        else:
            parser = importlib.import_module(f"bonaface.cli.{name}")._parser()
            sections.extend(_command(parser, f"bonaface {name}", 2))
    return "\n\n".join(sections)


def _command(parser: argparse.ArgumentParser, title: str, level: int) -> Iterator[str]:
    parts = [f"{'#' * level} {title}", parser.description or ""]
    rows, below = [], []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            below = [(name, sub, helps.get(name, "")) for name, sub in action.choices.items()]
        elif action.dest != "help" and action.help != argparse.SUPPRESS:
            rows.append(_argument(parser, action))
    if rows:
        parts.append("| argument | |\n|---|---|\n" + "\n".join(rows))
    if parser.epilog and not below:
        parts.append(parser.epilog)
    yield "\n\n".join(part for part in parts if part)
    for name, sub, summary in below:
        sub.description = sub.description or (f"{summary[0].upper()}{summary[1:]}." if summary else None)
        yield from _command(sub, f"{title} {name}", level + 1)


def _argument(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    value = action.metavar or (
        "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()
    )
    takes = "" if action.nargs == 0 else f" {value}"
    shown = ", ".join(f"{option}{takes}" for option in action.option_strings) or str(value)
    said = (action.help or "") % (vars(action) | {"prog": parser.prog}) if action.help else ""
    return f"| `{_cell(shown)}` | {_cell(said)}{' **required**' if action.option_strings and action.required else ''} |"


def _cell(text: str) -> str:
    return re.sub(r"<(\w+)>", r"&lt;\1&gt;", text.replace("|", "\\|"))


def settings() -> str:
    """Every setting of a training with type, default and sentence, as Markdown tables."""
    tree = ast.parse((ROOT / "bonaface" / "config.py").read_text(encoding="utf-8"))
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    return "\n\n".join(_settings(classes, "TrainConfig", ""))


def _settings(classes: dict[str, ast.ClassDef], name: str, prefix: str) -> Iterator[str]:
    node = classes[name]
    docstring = ast.get_docstring(node) or ""
    told = dict(re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", docstring, re.MULTILINE))
    rows, below = [], []
    for field in node.body:
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        kind, setting = ast.unparse(field.annotation), field.target.id
        nested = [each for each in classes if re.match(rf"{each}\b", kind)]
        if nested:
            below.append((nested[0], f"{prefix}{setting}."))
        else:
            sentence = " ".join(told.get(setting, "").split())
            rows.append(
                f"| `{prefix}{setting}` | `{_cell(_kind(kind))}` | `{_default(field.value)}` | {_cell(sentence)} |"
            )
    title = prefix.rstrip(".") or "the run"
    yield (
        f"## {title}\n\n{docstring.splitlines()[0]}\n\n| setting | type | default | |\n|---|---|---|---|\n"
        + "\n".join(rows)
    )
    for child, path in below:
        yield from _settings(classes, child, path)


def _kind(annotation: str) -> str:
    choices = re.sub(r"Literal\[(.*)\]", lambda found: found[1].replace("'", "").replace(", ", " or "), annotation)
    return choices.replace(" | ", " or ").replace("None", "null").replace(", ...", "")


def _default(value: ast.expr | None) -> str:
    if value is None:
        return "required"
    text = ast.unparse(value)
    if text.startswith("field("):
        return "{}"
    plain = {"None": "null", "True": "true", "False": "false", "()": "[]", "''": '""'}
    return plain.get(text, text.strip("'"))
