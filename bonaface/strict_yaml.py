"""YAML whose surprises are errors: keys that stand twice, and numbers that YAML 1.1 reads otherwise than people do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from bonaface.errors import ConfigError
from bonaface.reading import read_regular_text

__all__ = ["load_yaml", "read_yaml"]

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")


def load_yaml(text: str) -> Any:
    """The content of a YAML text.

    ``yaml.safe_load`` takes the last of two values, and reads ``010`` as 8, ``1_0`` as 10 and ``1:30`` as 90.

    Raises:
        yaml.YAMLError: if it is none, if a key stands twice, or if an integer or a number is written in such a way.
    """
    return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader


def read_yaml(file: Path, expected: str) -> Any:
    """The content of a YAML file.

    Args:
        file: UTF-8 text.
        expected: what the file should be, for messages.

    Raises:
        ConfigError: if it can't be read, is no YAML as ``load_yaml`` takes it, or holds itself by an alias.
    """
    try:
        content = load_yaml(read_regular_text(file))
    except OSError as error:
        raise ConfigError(f"{file}: can't be read ({(error.strerror or str(error)).lower()}); {expected}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: is no UTF-8 text; {expected}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or "characters that no text has"
        raise ConfigError(f"{file}: {where}is no YAML ({problem}); {expected}") from error
    except RecursionError as error:
        raise ConfigError(f"{file}: is nested too deeply; {expected}") from error
    if _holds_itself(content):
        raise ConfigError(f"{file}: refers to itself by an alias; {expected}")
    return content


def _holds_itself(value: Any, around: tuple[int, ...] = (), seen: set[int] | None = None) -> bool:
    seen = set() if seen is None else seen  # by aliases one list may stand in many places
    if not isinstance(value, dict | list) or id(value) in seen - {*around}:
        return False
    seen.add(id(value))
    inner = value.values() if isinstance(value, dict) else value
    return id(value) in around or any(_holds_itself(each, (*around, id(value)), seen) for each in inner)


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise yaml.constructor.ConstructorError(None, None, f'"{key.value}" stands twice', key.start_mark)
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


def _number(loader: _Loader, node: yaml.ScalarNode) -> int | float:
    whole = node.tag.endswith(":int")
    if not _INTEGER.fullmatch(node.value) if whole else set(node.value) & set("_:"):
        raise yaml.constructor.ConstructorError(
            None, None, f"{node.value} is not written as a plain number such as 10", node.start_mark
        )
    return loader.construct_yaml_int(node) if whole else loader.construct_yaml_float(node)


for _tag in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _number)
