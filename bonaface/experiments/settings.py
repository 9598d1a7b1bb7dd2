"""Settings of TrainConfig in a file of experiments: nested, dotted or both, with several values in a grid."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Mapping
from typing import Any

from bonaface.config_io import known_settings, no_such_setting, refuse_twice
from bonaface.errors import ConfigError

__all__ = ["SET_ELSEWHERE", "Settings", "expand", "flatten", "merged", "words_of"]

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
    leaves, groups = known_settings()
    walked = _walked(given, "", groups)
    for name, _ in walked:
        if name in SET_ELSEWHERE:
            raise ConfigError(f"{where}: {name} can't be set here: {SET_ELSEWHERE[name]}")
        if name not in leaves:
            told = "expected its settings by name" if name in groups else no_such_setting(name)
            raise ConfigError(f"{where}: {name}: {told}")
    refuse_twice(walked, where)
    return dict(walked)


def _walked(given: Mapping[Any, Any], prefix: str, groups: Collection[str]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in given.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and (name in groups or (not prefix and "." not in name)):
            found += _walked(value, f"{name}.", groups)
        else:
            found.append((name, value))
    return found


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
