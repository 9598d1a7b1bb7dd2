"""YAML whose surprises are errors: keys that stand twice, and numbers that YAML 1.1 reads otherwise than people do."""

from __future__ import annotations

import re
from typing import Any

import yaml

__all__ = ["load_yaml"]

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")


def load_yaml(text: str) -> Any:
    """The content of a YAML text.

    ``yaml.safe_load`` takes the last of two values, and reads ``010`` as 8, ``1_0`` as 10 and ``1:30`` as 90.

    Raises:
        yaml.YAMLError: if it is none, if a key stands twice, or if an integer or a number is written in such a way.
    """
    return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader


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
