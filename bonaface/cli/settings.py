"""The help of ``bonaface train``: every setting with its type, its default and a sentence, from TrainConfig itself."""

from __future__ import annotations

import dataclasses
import inspect
import re
import shutil
import textwrap
import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from bonaface.config import TrainConfig

__all__ = ["settings_help"]

_HEAD = """usage: bonaface train --config FILE [--any.setting VALUE ...] [--resume]

Train a face verifier that deepfakes do not pass.

options:
"""
_OPTIONS = {
    "-h, --help": "show this help and exit",
    "--config FILE": "YAML file of settings, as in configs/; options win over it",
    "--resume": "resume the run of this name where it was stopped",
}
_KINDS: dict[Any, str] = {str: "TEXT", int: "N", float: "X", bool: "BOOL"}
_WIDEST, _COLUMN = 120, 32


def settings_help() -> str:
    """The whole help, as wide as the terminal and at most 120 columns."""
    width = min(_WIDEST, max(60, shutil.get_terminal_size((_WIDEST, 24)).columns))
    lines = [line for option, said in _OPTIONS.items() for line in _entry(option, said, width)]
    for title, settings in _groups():
        lines += ["", f"{title}:", *(line for option, said in settings for line in _entry(option, said, width))]
    return _HEAD + "\n".join(lines) + "\n"


def _entry(option: str, said: str, width: int) -> list[str]:
    """One option and its text beside it, from the column on or, where the option is longer, behind it."""
    indent, head = " " * _COLUMN, f"  {option}  ".ljust(_COLUMN)
    return textwrap.wrap(said, width, initial_indent=head, subsequent_indent=indent, break_on_hyphens=False)


def _groups() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Title and settings of each group, a group inside another after it."""
    waiting: list[tuple[type, str, str]] = [(TrainConfig, "", "run")]
    described: dict[type, str] = {}
    while waiting:
        config, prefix, title = waiting.pop(0)
        documented, hints = _documented(config), get_type_hints(config)
        settings: list[tuple[str, str]] = []
        inner: list[tuple[type, str, str]] = []
        for each in dataclasses.fields(config):
            name, said = f"{prefix}{each.name}", documented[each.name]
            group = _group_of(hints[each.name])
            if group is None:
                settings.append((f"--{name} {_type(hints[each.name])}", f"{said}{_default(each)}"))
            elif group in described:
                settings.append(
                    (f"--{name}.*", f"{said}; its settings are those of {described[group]} ({name}.backbone ...)")
                )
            else:
                described[group] = name
                inner.append((group, f"{name}.", said))
        waiting = inner + waiting
        yield title, settings


def _documented(config: type) -> dict[str, str]:
    """Description of each field, from the docstring."""
    text = inspect.cleandoc(config.__doc__ or "").partition("Args:\n")[2].split("\n\n")[0]
    found = re.findall(r"^    (\w+): (.*?)(?=^    \w+: |\Z)", f"{text}\n", re.DOTALL | re.MULTILINE)
    return {name: " ".join(said.split()).rstrip(".") for name, said in found}


def _group_of(hint: Any) -> type | None:
    """The dataclass of a setting that is a group of others."""
    choices = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return next((each for each in choices if isinstance(each, type) and dataclasses.is_dataclass(each)), None)


def _type(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "|".join(get_args(hint))
    if get_origin(hint) in (Union, types.UnionType):
        return _type(get_args(hint)[0])
    return "LIST" if get_origin(hint) is tuple else _KINDS[hint]


def _default(each: Any) -> str:
    value = each.default
    if value is None or value in ("", ()):
        return ""
    said = str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else value
    return f" ({said})"
