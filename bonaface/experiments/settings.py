"""Settings of TrainConfig as a file of experiments gives them: nested, dotted or both, several values where a grid is meant."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import json
import types
from collections.abc import Collection, Mapping
from typing import Any, Union, get_args, get_origin, get_type_hints

from bonaface.config import TrainConfig
from bonaface.errors import ConfigError

__all__ = ["SET_ELSEWHERE", "Settings", "expand", "flatten", "merged", "nearest", "words_of"]

Settings = dict[str, Any]
"""Values by dotted name, as in ``{"batch.n_labels": 25}``."""

SET_ELSEWHERE = {
    "name": "each row has its own",
    "out": "it stands at the head of the file",
    "seed": "seeds says which",
}
"""Settings of a training that no row may set, and why not."""


def flatten(given: Any, where: str) -> Settings:
    """Settings by dotted name.

    Args:
        given: what stands in the file: names to values, by any mixture of nesting and dots.
        where: names the place in messages.

    Raises:
        ConfigError: if a setting is unknown (the nearest known one is suggested) or may not be set there.

    Example:
        >>> flatten({"loss": {"margin": 0.5}, "batch.n_labels": 20}, "row a")
        {'loss.margin': 0.5, 'batch.n_labels': 20}
    """
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where}: expected settings by name such as batch: {{n_labels: 25}}, got {given!r}")
    leaves, groups = _known()
    flat: Settings = {}
    for name, value in _walked(given, "", groups):
        if name in SET_ELSEWHERE:
            raise ConfigError(f"{where}: {name} can't be set here: {SET_ELSEWHERE[name]}")
        if name not in leaves:
            told = "expected its settings by name" if name in groups else _suggestion(name, leaves)
            raise ConfigError(f"{where}: {name}: {told}")
        flat[name] = value
    return flat


def _suggestion(name: str, leaves: Collection[str]) -> str:
    near = nearest(name, leaves)
    return "there is no such setting" + (f"; did you mean {near}?" if near else "; bonaface train --help lists them")


def nearest(name: str, known: Collection[str]) -> str | None:
    """The known name that is most like this one, as a whole or by its last part; None where none is.

    Example:
        >>> nearest("batch.n_lables", {"batch.n_labels", "loss.name"}), nearest("n_labels", {"batch.n_labels"})
        ('batch.n_labels', 'batch.n_labels')
    """
    whole = difflib.get_close_matches(name, sorted(known), 1, cutoff=0.7)
    if whole:
        return whole[0]
    lasts = {each.rpartition(".")[2]: each for each in sorted(known, reverse=True)}
    last = difflib.get_close_matches(name.rpartition(".")[2], sorted(lasts), 1, cutoff=0.7)
    return lasts[last[0]] if last else None


def _walked(given: Mapping[Any, Any], prefix: str, groups: Collection[str]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in given.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and (name in groups or (not prefix and "." not in name)):
            found += _walked(value, f"{name}.", groups)
        else:
            found.append((name, value))
    return found


def _known() -> tuple[set[str], set[str]]:
    """Dotted names of all settings, and of the groups that they stand in; an optional branch is both."""
    leaves: set[str] = set()
    groups: set[str] = set()

    def visit(kind: type, prefix: str) -> None:
        hints = get_type_hints(kind)
        for each in dataclasses.fields(kind):
            name = f"{prefix}{each.name}"
            inner, optional = _dataclass_of(hints[each.name])
            if inner is not None:
                groups.add(name)
                visit(inner, f"{name}.")
            if inner is None or optional:
                leaves.add(name)

    visit(TrainConfig, "")
    return leaves, groups


def _dataclass_of(hint: Any) -> tuple[type | None, bool]:
    """The dataclass that a setting holds, if any, and whether it may be null."""
    choices = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    held = [each for each in choices if isinstance(each, type) and dataclasses.is_dataclass(each)]
    return (held[0] if held else None), type(None) in choices


def merged(*parts: Settings) -> Settings:
    """Settings where later ones win; a branch that is set to null takes what was said of its parts away.

    Example:
        >>> merged({"model.authenticity.size": 96, "steps": 1}, {"model.authenticity": None, "steps": 2})
        {'steps': 2, 'model.authenticity': None}
    """
    made: Settings = {}
    for part in parts:
        for name, value in part.items():
            for other in [each for each in made if each.startswith(f"{name}.") or name.startswith(f"{each}.")]:
                del made[other]
            made[name] = value
    return made


def expand(grid: Settings, where: str) -> list[Settings]:
    """Every combination of the values of a grid, the last setting changing fastest.

    Raises:
        ConfigError: if a setting has no list of values.

    Example:
        >>> expand({"batch.n_labels": [20, 25], "seed": [1]}, "grid")
        [{'batch.n_labels': 20, 'seed': 1}, {'batch.n_labels': 25, 'seed': 1}]
    """
    for name, values in grid.items():
        if not isinstance(values, list) or not values:
            raise ConfigError(f"{where}: {name}: expected a list of values, got {values!r}")
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def words_of(settings: Settings) -> list[str]:
    """Settings as words of the command line.

    Example:
        >>> words_of({"loss.margin": None, "faces.train": "a b", "compile": True})
        ['--loss.margin=null', '--faces.train=a b', '--compile=true']
    """
    return [
        f"--{name}={value if isinstance(value, str) else json.dumps(value, default=str)}"
        for name, value in settings.items()
    ]
