"""TrainConfig from YAML and the command line, and back; one sentence where they are wrong.

Settings of 0.1 that have another name now stand in ``RENAMED`` and ``RENAMED_VALUES``: a user's file or option that has one is
refused with the new name, the config.yaml of a run is translated.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import itertools
import re
import types
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml

from bonaface.config import TrainConfig
from bonaface.errors import ConfigError
from bonaface.strict_yaml import load_yaml, read_yaml

__all__ = [
    "RENAMED",
    "RENAMED_VALUES",
    "known_settings",
    "load_config",
    "nearest",
    "no_such_setting",
    "parse_config",
    "parser",
    "read_run_config",
    "refuse_twice",
    "save_config",
    "settings_by_name",
]

RENAMED = {
    "start": "init_from",
    "faces.faults": "faces.issues",
    "faces.frame_size": "faces.crop_size",
    "model.mirror": "model.flip_tta",
    "model.corners": "model.five_crop",
    "optimizer.average": "optimizer.ema",
}
"""Settings of 0.1 and their names now."""
RENAMED_VALUES = {
    "batch.sampler": {"balance": "balanced", "beside_fakes": "paired_fakes"},
    "model.identity.view": {"frame": "face_crop"},
    "model.authenticity.view": {"frame": "face_crop"},
    "model.identity.sees": {"picture": "image"},
    "model.authenticity.sees": {"picture": "image"},
}
"""Values of 0.1 and their names now, by the name of their setting."""

_EXPECTED = "expected a YAML file of settings such as batch: {n_labels: 25}"
# The parser's words for a value of the wrong type, in its three forms, and for names that it doesn't know.
_WRONG_CHOICE = re.compile(r"Expected a typing\.Literal\[(.+?)\]\. Got value: (.*)")
_WRONG_TYPE = re.compile(r"Expected an? <class '([\w.]+)'>\. Got value: (.*)")
_WRONG_UNION = re.compile(
    r"Does not validate against any of the Union subtypes Subtypes: \[(.+?)\] .*Given value: (.*)"
)
_NO_GROUP = re.compile(r"Unable to load config '(.*?)' - ")
_UNKNOWN = re.compile(
    r"(?:Group '(?P<group>.+)' does not accept option|unrecognized arguments:|Option) '?(?P<name>[^'=]+)'?.*"
)


def parser() -> Any:
    """The parser of TrainConfig: ``--config FILE`` and one option a setting.

    Importing jsonargparse costs 0.2 s, so it is done here and not with the module.
    """
    import jsonargparse

    made = jsonargparse.ArgumentParser(prog="bonaface train", exit_on_error=False, allow_abbrev=False)
    made.add_argument("--config", action="config")
    made.add_class_arguments(TrainConfig, as_group=False)
    return made


def parse_config(words: Sequence[str]) -> TrainConfig:
    """Settings from command-line words such as ``["--config", "x.yaml", "--batch.n_labels", "20"]``.

    Raises:
        ConfigError: naming the file where it is at fault, the setting, and what would be right.

    Example:
        >>> parse_config(["--batch.n_labels=20", "--loss.margin", "null"]).batch.n_labels
        20
    """
    files = _config_files(words)
    for file in files:
        settings = list(_walked(_content(file)))
        _refuse_names(settings, f"{file}: ")
        refuse_twice(settings, str(file))
    _refuse_names(_options(words), "")
    try:
        given = [setting for file in files for setting in _walked(_content(file))] + list(_options(words))
        parsed = _parsed(lambda made: made.parse_args(list(words)), given)
    except ConfigError as error:
        named = str(error).partition(":")[0]
        in_file = bool(files) and not any(word.startswith(f"--{named}") for word in words)
        raise ConfigError(f"{files[-1]}: {error}" if in_file else str(error)) from error
    _refuse_odd_numbers(words, parsed)
    return parsed


def load_config(file: Path) -> TrainConfig:
    """Settings from a YAML file.

    Raises:
        ConfigError: as ``parse_config``.
    """
    return parse_config(["--config", str(file)])


def read_run_config(file: Path) -> TrainConfig:
    """Settings from the config.yaml of a run, which 0.1 may have written.

    Raises:
        ConfigError: as ``parse_config``.
    """
    content = _translated(_content(file))
    try:
        return _parsed(lambda made: made.parse_object(content), list(_walked(content)))
    except ConfigError as error:
        raise ConfigError(f"{file}: not the settings of a run: {error}") from error


def save_config(config: TrainConfig, file: Path) -> None:
    """Writes every setting, defaults included, as YAML."""
    file.write_text(yaml.dump(_plain(config), Dumper=_Dumper, sort_keys=False), encoding="utf-8")


def settings_by_name(config: TrainConfig) -> dict[str, Any]:
    """Every setting by its dotted name.

    Example:
        >>> settings_by_name(TrainConfig())["batch.n_labels"]
        25
    """
    return dict(_walked(dataclasses.asdict(config)))


@cache
def known_settings() -> tuple[frozenset[str], frozenset[str]]:
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
    return frozenset(leaves), frozenset(groups)


def _dataclass_of(hint: Any) -> tuple[type | None, bool]:
    """The dataclass that a setting holds, if any, and whether it may be null."""
    choices = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    held = [each for each in choices if isinstance(each, type) and dataclasses.is_dataclass(each)]
    return (held[0] if held else None), type(None) in choices


def no_such_setting(name: str) -> str:
    """The sentence on a setting that is not known: its new name, or the nearest known one.

    Example:
        >>> no_such_setting("faces.faults"), no_such_setting("batch.n_lables")
        ('is called faces.issues now', 'there is no such setting; did you mean batch.n_labels?')
    """
    if name in RENAMED:
        return f"is called {RENAMED[name]} now"
    near = nearest(name, known_settings()[0])
    return "there is no such setting; " + (f"did you mean {near}?" if near else "bonaface train --help lists them")


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


def refuse_twice(given: Iterable[tuple[str, Any]], where: str) -> None:
    """Refuses settings of which a dotted name stands twice, by nesting and by dots.

    Args:
        given: settings by dotted name.
        where: names the place in messages.

    Raises:
        ConfigError: naming the first.
    """
    for name, count in Counter(name for name, _ in given).items():
        if count > 1:
            raise ConfigError(f"{where}: {name}: stands twice, nested and with dots; expected it once")


def _refuse_names(given: Iterable[tuple[str, Any]], where: str) -> None:
    """Refuses unknown settings, and names and values of 0.1."""
    leaves, groups = known_settings()
    for name, value in given:
        if name not in leaves | groups:
            raise ConfigError(f"{where}{name}: {no_such_setting(name)}")
        renamed = RENAMED_VALUES.get(name, {})
        if isinstance(value, str) and value in renamed:
            raise ConfigError(f"{where}{name}: {value} is called {renamed[value]} now")


def _walked(given: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by dotted name; what is set to a dictionary without being a group is a setting's value."""
    for key, value in given.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and (name in known_settings()[1] or not prefix):
            yield from _walked(value, f"{name}.")
        else:
            yield name, value


def _options(words: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Settings among the words of a command line."""
    for word, following in itertools.zip_longest(words, words[1:], fillvalue=""):
        name, joined, after = word.removeprefix("--").partition("=")
        if not word.startswith("--") or name in {"config", "help"}:
            continue
        value = after if joined else following
        yield name, value
        if name in known_settings()[1] and value.lstrip().startswith("{"):
            with contextlib.suppress(yaml.YAMLError):  # the parser says what is wrong with it
                yield from _walked(yaml.safe_load(value), f"{name}.")


def _refuse_odd_numbers(words: Sequence[str], made: TrainConfig) -> None:
    """Refuse words such as ``--seed 010``, which the parser reads as 8; a name may be written so."""
    for name, value in _options(words):
        try:
            load_yaml(str(value))
        except yaml.constructor.ConstructorError as error:
            held: Any = made
            for part in name.split("."):
                held = getattr(held, part, None)
            if not isinstance(held, str | list | tuple):
                raise ConfigError(f"{name}: {error.problem}") from error
        except yaml.YAMLError:
            continue


def _translated(content: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of 0.1 under the names of now."""
    made: dict[str, Any] = {}
    for name, value in _walked(content):
        renamed = RENAMED_VALUES.get(name, {})
        *groups, last = RENAMED.get(name, name).split(".")
        place = made
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = renamed.get(value, value) if isinstance(value, str) else value
    return made


def _config_files(words: Sequence[str]) -> list[Path]:
    after = [following for word, following in itertools.pairwise(words) if word == "--config"]
    joined = [word.removeprefix("--config=") for word in words if word.startswith("--config=")]
    return [Path(name) for name in (*after, *joined)]


def _content(file: Path) -> dict[str, Any]:
    """A YAML file of settings; the parser's own messages would not name it."""
    content = read_yaml(file, _EXPECTED)
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: holds {'nothing' if content is None else 'no settings by name'}; {_EXPECTED}")
    return content


def _parsed(parse: Callable[[Any], Any], given: Sequence[tuple[str, Any]]) -> TrainConfig:
    """Settings that the parser makes of words or of an object, ``given`` by name; its errors become ConfigError."""
    import jsonargparse

    made = parser()
    try:
        parsed = parse(made)
        _refuse_values_for_groups(parsed)
        values = made.instantiate_classes(parsed).as_dict()
    except (jsonargparse.ArgumentError, OSError) as error:
        _refuse_in_optional_groups(given)
        raise ConfigError(_said(_one_sentence(str(error)))) from error
    values.pop("config", None)
    return TrainConfig(**values)


def _refuse_in_optional_groups(given: Iterable[tuple[str, Any]]) -> None:
    """Refuses a wrong value inside a group that may be null, of which the parser names the group alone."""
    import jsonargparse

    for name, value in given:
        group = name.rpartition(".")[0]
        if group not in _optional_groups():
            continue
        alone = jsonargparse.ArgumentParser(exit_on_error=False)
        alone.add_class_arguments(_optional_groups()[group], group)
        try:
            alone.parse_object({name: value})
        except jsonargparse.ArgumentError as error:
            raise ConfigError(_said(_one_sentence(str(error)))) from error


@cache
def _optional_groups() -> dict[str, type]:
    """Classes of the groups that may be null, by dotted name."""
    found: dict[str, type] = {}

    def visit(kind: type, prefix: str) -> None:
        for name, hint in get_type_hints(kind).items():
            inner, optional = _dataclass_of(hint)
            if inner is not None:
                found.update({f"{prefix}{name}": inner} if optional else {})
                visit(inner, f"{prefix}{name}.")

    visit(TrainConfig, "")
    return found


def _refuse_values_for_groups(parsed: Any) -> None:
    """``batch: 3`` passes the parser, which then fails to make a BatchConfig of it."""
    leaves, groups = known_settings()
    for name in sorted(groups - leaves):
        value = parsed.get(name)
        if value is not None and not hasattr(value, "as_dict"):
            raise ConfigError(f"{name}: expected settings by name, got {value!r}")


def _one_sentence(message: str) -> str:
    return " ".join(line.strip() for line in message.splitlines() if line.strip())


def _said(message: str) -> str:
    unknown = _UNKNOWN.fullmatch(message)
    if unknown:
        name = unknown["name"].removeprefix("--")
        whole = f"{unknown['group']}.{name}" if unknown["group"] else name
        return f"{whole}: {no_such_setting(whole)}"
    key = re.match(r'Parser key "(.+?)": ', message)
    text = message[key.end() :] if key else message
    no_group = _NO_GROUP.match(text)
    if no_group:
        text = f'expected settings by name, got "{no_group[1]}"'
    for pattern in (_WRONG_CHOICE, _WRONG_TYPE, _WRONG_UNION):
        found = pattern.match(text)
        if found:
            wanted = (
                re.sub(r"<class '(?:[\w.]+\.)?(\w+)'>", r"\1", found[1]).replace("NoneType", "null").replace("'", "")
            )
            wanted = re.sub(r"\b[A-Z]\w*Config\b", "settings by name", wanted)
            text = f'expected {wanted.replace(", ", " or ")}, got "{found[2]}"'
    return f"{key[1]}: {text}" if key else text


class _Dumper(yaml.SafeDumper):
    """Puts quotes around texts such as 1e5, which YAML 1.2 and the parser take for numbers, and PyYAML does not."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    try:
        float(value)
    except ValueError:
        return dumper.represent_str(value)
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="'")


_Dumper.add_representer(str, _text)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
