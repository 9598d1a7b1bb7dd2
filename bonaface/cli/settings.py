"""Settings as users write them: a YAML file and options, and one sentence where they are wrong."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from bonaface.config import TrainConfig, parse_config, parser
from bonaface.errors import ConfigError

__all__ = ["read_settings", "settings_help"]

_EXPECTED = "expected a YAML file of settings such as batch: {n_labels: 25}"
# The parser's words for a value of the wrong type, in its three forms, and for names that it doesn't know.
_WRONG_CHOICE = re.compile(r"Expected a typing\.Literal\[(.+?)\]\. Got value: (.*)")
_WRONG_TYPE = re.compile(r"Expected an? <class '([\w.]+)'>\. Got value: (.*)")
_WRONG_UNION = re.compile(
    r"Does not validate against any of the Union subtypes Subtypes: \[(.+?)\] .*Given value: (.*)"
)
_UNKNOWN = re.compile(
    r"(?:Group '(?P<group>.+)' does not accept option|unrecognized arguments:|Option) '?(?P<name>[^'=]+)'?.*"
)


def read_settings(words: Sequence[str]) -> TrainConfig:
    """Settings of a training from command-line words.

    Raises:
        ConfigError: naming the file where it is at fault, the setting, and what would be right.
    """
    files = _config_files(words)
    for file in files:
        _check_file(file)
    try:
        return parse_config(words)
    except ConfigError as error:
        said = _said(str(error))
        named = said.partition(":")[0]
        in_file = bool(files) and not any(word.startswith(f"--{named}") for word in words)
        raise ConfigError(f"{files[-1]}: {said}" if in_file else said) from error


def settings_help() -> str:
    """The help of ``bonaface train``: every setting with its type, default and a sentence."""
    made = parser()
    made.usage = "bonaface train --config FILE [--any.setting VALUE ...] [--resume]"
    made.add_argument("--resume", action="store_true", help="go on with the run of this name where it was stopped")
    text: str = made.format_help()
    return text


def _config_files(words: Sequence[str]) -> list[Path]:
    after = [following for word, following in itertools.pairwise(words) if word == "--config"]
    joined = [word.removeprefix("--config=") for word in words if word.startswith("--config=")]
    return [Path(name) for name in (*after, *joined)]


def _check_file(file: Path) -> None:
    """The parser's own messages don't name the file."""
    try:
        content: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"{file}: can't be read ({reason}); {_EXPECTED}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: is no UTF-8 text; {_EXPECTED}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or "characters that no text has"
        raise ConfigError(f"{file}: {where}is no YAML ({problem}); {_EXPECTED}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: holds {'nothing' if content is None else 'no settings by name'}; {_EXPECTED}")


def _said(message: str) -> str:
    """The parser's message in the words of the project."""
    unknown = _UNKNOWN.fullmatch(message)
    if unknown:
        name = unknown["name"].removeprefix("--")
        whole = f"{unknown['group']}.{name}" if unknown["group"] else name
        return f"{whole}: there is no such setting; bonaface train --help lists them"
    key = re.match(r'Parser key "(.+?)": ', message)
    text = message[key.end() :] if key else message
    for pattern in (_WRONG_CHOICE, _WRONG_TYPE, _WRONG_UNION):
        found = pattern.match(text)
        if found:
            wanted = (
                re.sub(r"<class '(?:[\w.]+\.)?(\w+)'>", r"\1", found[1]).replace("NoneType", "null").replace("'", "")
            )
            text = f'expected {wanted.replace(", ", " or ")}, got "{found[2]}"'
    return f"{key[1]}: {text}" if key else text
