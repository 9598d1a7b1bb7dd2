"""Reads a file of experiments, and refuses all that is wrong in it before anything is trained.

    name: sweep                                   # the runs lie in out/name/
    out: runs
    config: authentic.yaml                        # settings of bonaface train to begin with, seen from this folder
    seeds: [0, 1, 2]
    resources: {cpus: 2, gpus: 0}                 # of each trial
    test: {pairs: PAIRS, labels: PAIRS/labels.csv}
    settings: {faces: {train: FACES}, steps: 300} # any setting of bonaface train, for every row
    tables:
      - title: Batches
        settings: {loss.margin: 0.5}              # for the rows of this table
        rows:
          - {name: 25 x 4, settings: {batch.n_labels: 25}, reported: {test: 0.0468}, note: the best}
          - {name: pretrained, run: untrained}   # or: reported, where there is a figure and nothing to run
          - {name: 25 x 4 again, same: 25 x 4}    # shows the runs of another row
        grid: {batch.n_labels: [20, 25], batch.n_instances: [4, 7]}

``rows`` and ``grid`` may also stand at the head, where one table is enough.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_args

from bonaface.config import TrainConfig
from bonaface.config_io import nearest, parse_config
from bonaface.errors import ConfigError
from bonaface.experiments.settings import SET_ELSEWHERE, Settings, expand, flatten, merged, words_of
from bonaface.experiments.spec import Plan, Resources, Row, Table, TestPairs, Way, slug_of
from bonaface.strict_yaml import read_yaml

__all__ = ["read_plan"]

_EXPECTED = "expected a YAML file of experiments with rows or tables"
_TABLE_KEYS = ("title", "note", "settings", "rows", "grid")
_HEAD_KEYS = ("name", "out", "config", "seeds", "resources", "test", "tables", *_TABLE_KEYS)
_ROW_KEYS = ("name", "run", "settings", "seeds", "same", "reported", "note")


def read_plan(file: Path) -> Plan:
    """A file of experiments.

    Args:
        file: YAML as the module describes it.

    Raises:
        ConfigError: if the file is none, a key or a setting is unknown, a value is of the wrong type, or two rows have one name.
    """
    head = _mapping(read_yaml(file, _EXPECTED), _HEAD_KEYS, str(file))
    name = _text(head, "name", str(file)) or file.stem
    if Path(name).name != name or name in {".", ".."}:
        raise ConfigError(f'{file}: name: expected the name of one folder, got "{name}"')
    out = Path(_text(head, "out", str(file)) or "runs")
    base = {"tracking.mlflow": f"sqlite:///{out.as_posix()}/mlflow.db", "tracking.experiment": name}
    common = merged(base, _started_from(head, file), flatten(head.get("settings", {}), f"{file}: settings"))
    seeds = _seeds(head.get("seeds", [0]), str(file))
    given = head.get("tables", [])
    if not isinstance(given, list):
        raise ConfigError(f"{file}: tables: expected a list of tables, got {given!r}")
    if "rows" in head or "grid" in head:
        own = {key: head[key] for key in ("title", "note", "rows", "grid") if key in head}
        given = [{"title": name} | own, *given]
    elif unused := head.keys() & {"title", "note"}:
        said = "is of the rows or the grid at the head, and there are none; move it into a table"
        raise ConfigError(f"{file}: {min(unused)}: {said}")
    tables = tuple(_table(each, common, seeds, f"{file}: table {n}") for n, each in enumerate(given, 1))
    _refuse_equal(tables, file)
    tables = _with_shared_runs(tables, file)
    configs = {
        row.name: _config(row, out / name, file) for table in tables for row in table.rows if row.way != "reported"
    }
    return Plan(file, name, out / name, tables, configs, _resources(head, file), _test(head, file))


def _started_from(head: Mapping[str, Any], file: Path) -> Settings:
    """The settings of the file of bonaface train that the experiments begin with, without its name, place and seed."""
    named = _text(head, "config", str(file))
    if not named:
        return {}
    config = file.parent / named
    given = read_yaml(config, "expected the settings of a training, as bonaface train --config takes them")
    if isinstance(given, Mapping):
        given = {key: value for key, value in given.items() if key not in SET_ELSEWHERE}
    return flatten(given, str(config))


def _mapping(given: Any, known: Collection[str], where: str) -> dict[str, Any]:
    """Content of the file under known names alone."""
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where}: expected {', '.join(known)} by name, got {given!r}")
    for key in given:
        if key not in known:
            near = nearest(str(key), known)
            told = f"did you mean {near}?" if near else f"expected one of {', '.join(known)}"
            raise ConfigError(f"{where}: {key}: there is no such key; {told}")
    return dict(given)


def _text(given: Mapping[str, Any], key: str, where: str) -> str:
    value = "" if given.get(key) is None else given[key]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ConfigError(f"{where}: {key}: expected a text, got {value!r}")
    return " ".join(str(value).split())


def _seeds(given: Any, where: str) -> tuple[int, ...]:
    whole = isinstance(given, list) and all(isinstance(each, int) and not isinstance(each, bool) for each in given)
    if not whole or not given or min(given) < 0 or len(set(given)) < len(given):
        raise ConfigError(f"{where}: seeds: expected a list of different whole numbers of at least 0, got {given!r}")
    return tuple(given)


def _table(given: Any, common: Settings, seeds: tuple[int, ...], where: str) -> Table:
    entry = _mapping(given, _TABLE_KEYS, where)
    title = _text(entry, "title", where)
    if not title:
        raise ConfigError(f"{where}: title: expected one, got none")
    shared = merged(common, flatten(entry.get("settings", {}), where))
    rows = entry.get("rows", [])
    if not isinstance(rows, list):
        raise ConfigError(f"{where}: rows: expected a list of rows, got {rows!r}")
    made = [_row(each, shared, seeds, f"{where}, row {n}") for n, each in enumerate(rows, 1)]
    if "grid" in entry:
        grid = flatten(entry["grid"], f"{where}: grid")
        made += [_grid_row(title, each, shared, seeds) for each in expand(grid, f"{where}: grid")]
    if not made:
        raise ConfigError(f"{where}: expected rows or a grid, got neither")
    return Table(title, tuple(made), _text(entry, "note", where))


def _row(given: Any, shared: Settings, seeds: tuple[int, ...], where: str) -> Row:
    entry = _mapping(given, _ROW_KEYS, where)
    name = _text(entry, "name", where)
    if not slug_of(name):
        raise ConfigError(f"{where}: name: expected one with letters or digits, got {entry.get('name')!r}")
    where = f'{where} ("{name}")'
    way = entry.get("run", "train")
    if way not in get_args(Way):
        raise ConfigError(f"{where}: run: expected one of {', '.join(get_args(Way))}, got {way!r}")
    same = _text(entry, "same", where)
    if same and entry.keys() & {"run", "settings", "seeds"}:
        raise ConfigError(f'{where}: same: shows the runs of "{same}", so that run, settings and seeds can\'t be set')
    own = flatten(entry.get("settings", {}), where)
    chosen = _seeds(entry["seeds"], where) if "seeds" in entry else seeds
    told = _reported(entry, where), _text(entry, "note", where)
    return Row(name, slug_of(name), cast(Way, way), merged(shared, own), chosen, *told, same)


def _with_shared_runs(tables: Sequence[Table], file: Path) -> tuple[Table, ...]:
    """Rows that are the same as another take its runs over."""
    own = {row.name: row for table in tables for row in table.rows if not row.same}

    def resolved(row: Row) -> Row:
        if not row.same:
            return row
        if row.same not in own:
            near = nearest(row.same, own)
            told = f'; did you mean "{near}"?' if near else "; expected the name of a row that has runs of its own"
            raise ConfigError(f'{file}: row "{row.name}": same: no such row as "{row.same}"{told}')
        other = own[row.same]
        return replace(row, slug=other.slug, way=other.way, given=other.given, seeds=other.seeds)

    return tuple(replace(table, rows=tuple(resolved(row) for row in table.rows)) for table in tables)


def _grid_row(title: str, own: Settings, shared: Settings, seeds: tuple[int, ...]) -> Row:
    said = ", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in own.items())
    name = f"{title}: {said}"
    return Row(name, slug_of(name), "train", merged(shared, own), seeds, {})


def _reported(entry: Mapping[str, Any], where: str) -> dict[str, float]:
    given = _mapping(entry.get("reported", {}), ("val", "test"), f"{where}: reported")
    for key, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ConfigError(f"{where}: reported: {key}: expected an error rate from 0 to 1, got {value!r}")
    return {key: float(value) for key, value in given.items()}


def _refuse_equal(tables: Sequence[Table], file: Path) -> None:
    if not tables:
        raise ConfigError(f"{file}: expected rows, a grid or tables, got none")
    seen: dict[str, tuple[str, str]] = {}
    for table in tables:
        for row in table.rows:
            if row.slug in seen:
                name, title = seen[row.slug]
                equal = (
                    f'two rows are called "{name}"' if name == row.name else f'"{name}" and "{row.name}" are too alike'
                )
                where = f'in "{title}"' if title == table.title else f'in "{title}" and in "{table.title}"'
                raise ConfigError(f"{file}: {equal} ({where}), and their runs would share a folder: rename one")
            seen[row.slug] = row.name, table.title


def _config(row: Row, folder: Path, file: Path) -> TrainConfig:
    place = {"out": folder.as_posix(), "name": row.slug}
    length = {"steps": 0} if row.way == "untrained" else {}
    try:
        return parse_config(words_of(place | row.given | length))
    except ConfigError as error:
        raise ConfigError(f'{file}: row "{row.name}": {error}') from error


def _resources(head: Mapping[str, Any], file: Path) -> Resources:
    given = _mapping(head.get("resources", {}), ("cpus", "gpus"), f"{file}: resources")
    for key, value in given.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not is_number or value < 0 or (key == "cpus" and not value):
            raise ConfigError(f"{file}: resources: {key}: expected a number of them, got {value!r}")
    return Resources(given.get("cpus"), given.get("gpus", 0))


def _test(head: Mapping[str, Any], file: Path) -> TestPairs | None:
    if head.get("test") is None:
        return None
    given = _mapping(head["test"], ("pairs", "labels"), f"{file}: test")
    pairs, labels = (_text(given, key, f"{file}: test") for key in ("pairs", "labels"))
    if not pairs:
        raise ConfigError(f"{file}: test: pairs: expected the folder of pairs that runs are judged on")
    return TestPairs(Path(pairs), Path(labels) if labels else None)
