"""Results of trials: each one's record beside the run's folder, and all of a row gathered: mean, spread, failures."""

from __future__ import annotations

import json
import shlex
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bonaface.config import TrainConfig
from bonaface.config_io import read_run_config, settings_by_name
from bonaface.errors import ConfigError
from bonaface.experiments.spec import Plan, Row, Table, Trial
from bonaface.io import atomic_write, parse_json

__all__ = [
    "FIGURES",
    "Record",
    "RowResult",
    "Spread",
    "TableResult",
    "collect",
    "is_done",
    "is_timed",
    "read_record",
    "refuse_changed",
    "write_record",
]

Record = dict[str, Any]
"""``status`` ``done`` with figures, or ``failed`` with ``error``; see ``run_trial``."""

_OWN = ("name", "out", "seed", "tracking", "faces.cache")
"""Settings, and groups of them, that make no difference to a result."""
_SAID = {
    "model.identity.backbone",
    "model.identity.size",
    "model.identity.weights",
    "batch.n_labels",
    "batch.n_instances",
    "loss.name",
    "loss.margin",
    "loss.reduction",
    "loss.memory",
    "faces.flip",
    "steps",
    "epochs",
    "optimizer.name",
    "optimizer.lr",
}
"""Settings that the words for a training tell."""

FIGURES: dict[str, Callable[[Record], Any]] = {
    "test": lambda record: (record["test"] or {}).get("challenge_eer"),
    "test_sv": lambda record: (record["test"] or {}).get("sv_eer"),
    "test_spf": lambda record: (record["test"] or {}).get("spf_eer"),
    "val": lambda record: record["val"].get("challenge_eer"),
    "val_sv": lambda record: record["val"].get("sv_eer"),
    "val_spf": lambda record: record["val"].get("spf_eer"),
    "seconds": lambda record: record["cost"]["seconds"],
    "peak_memory_bytes": lambda record: record["cost"]["peak_memory_bytes"],
    "images_per_second": lambda record: record["images_per_second"],
    "inference_ms": lambda record: record.get("inference_ms"),
}
"""Every figure of a run by its name, from its record; None where the run has none."""


def write_record(trial: Trial, record: Record) -> None:
    """Writes what came of a trial.

    Raises:
        DataError: if it can't be written.
    """
    with atomic_write(trial.record) as temporary:
        named = {"row": trial.row.name, "seed": trial.config.seed} | record
        temporary.write_text(json.dumps(named, indent=2) + "\n", encoding="utf-8")


def read_record(trial: Trial) -> Record | None:
    """Record of a trial; None where it has not been run, or was stopped."""
    try:
        record = parse_json(trial.record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and record.get("status") in {"done", "failed"} else None


def is_done(trial: Trial) -> bool:
    """True where a trial has ended well."""
    record = read_record(trial)
    return record is not None and record["status"] == "done"


def is_timed(trial: Trial) -> bool:
    """Tell whether the network of a trial that has ended well was timed."""
    return (read_record(trial) or {}).get("inference_ms") is not None


def refuse_changed(trial: Trial) -> None:
    """Refuses a trial whose folder holds a run with other settings; where it is recorded is none of them.

    Raises:
        ConfigError: naming the settings.
    """
    if not (trial.folder / "config.yaml").exists():
        return
    saved, wanted = (settings_by_name(each) for each in (read_run_config(trial.folder / "config.yaml"), trial.config))
    names = [name for name in saved | wanted if not name.startswith("tracking.")]
    changed = [name for name in names if name not in saved or name not in wanted or saved[name] != wanted[name]]
    if changed:
        raise ConfigError(
            f'row "{trial.row.name}": {trial.folder} was made with other settings ({", ".join(changed)}): give the row or the '
            "file another name, or move that folder away"
        )


@dataclass(frozen=True)
class Spread:
    """A figure over seeds.

    Args:
        mean: over the runs that have it.
        deviation: sample standard deviation; None of a single run.
        runs: how many there are.
    """

    mean: float
    deviation: float | None
    runs: int

    @classmethod
    def of(cls, values: list[float]) -> Spread | None:
        """The spread of some values; None of none.

        Example:
            >>> Spread.of([1.0, 3.0])
            Spread(mean=2.0, deviation=1.4142135623730951, runs=2)
        """
        if not values:
            return None
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))


@dataclass(frozen=True)
class RowResult:
    """A row and what came of it.

    Args:
        row: the row.
        training: how it is trained, in words.
        trials: its runs.
        records: of each, None where it has not ended.
        command: runs this row alone.
    """

    row: Row
    training: str
    trials: tuple[Trial, ...]
    records: tuple[Record | None, ...]
    command: str

    def spread(self, name: str) -> Spread | None:
        """A figure of ``FIGURES`` over the runs that ended well."""
        return Spread.of(self.values(name))

    def values(self, name: str) -> list[float]:
        """A figure of ``FIGURES`` of each run that ended well and has it."""
        done = [record for record in self.records if record is not None and record["status"] == "done"]
        return [value for record in done if (value := FIGURES[name](record)) is not None]

    @property
    def failures(self) -> list[str]:
        """The errors of the runs that failed, each once."""
        failed = [record for record in self.records if record is not None and record["status"] == "failed"]
        return list(dict.fromkeys(record["error"] for record in failed))

    @property
    def missing(self) -> int:
        """Number of runs that have not ended."""
        return sum(record is None for record in self.records)


@dataclass(frozen=True)
class TableResult:
    """A table and what came of its rows."""

    table: Table
    rows: tuple[RowResult, ...]


def collect(plan: Plan) -> list[TableResult]:
    """Results of every row.

    Raises:
        ConfigError: if a row's run has other settings than the file.
    """
    return [_table(plan, table) for table in plan.tables]


def _table(plan: Plan, table: Table) -> TableResult:
    """The rows of a table; settings in which they differ, and which the words for a training leave out, are added to these."""
    settings = [settings_by_name(plan.configs[row.name]) for row in table.rows if row.way != "reported"]
    names = dict.fromkeys(name for each in settings for name in each if not name.startswith(_OWN) and name not in _SAID)
    differing = [name for name in names if len({str(each.get(name)) for each in settings}) > 1]
    return TableResult(table, tuple(_result(plan, row, differing) for row in table.rows))


def _result(plan: Plan, row: Row, differing: Sequence[str]) -> RowResult:
    trials = plan.trials_of(row)
    for trial in trials:
        refuse_changed(trial)
    training = _training(plan.configs[row.name], differing) if trials else "reported, not run"
    only = shlex.quote(row.name.replace("[", "[[]"))
    command = f"bonaface experiments run {shlex.quote(str(plan.file))} --only {only}" if trials else ""
    return RowResult(row, training, tuple(trials), tuple(read_record(trial) for trial in trials), command)


def _training(config: TrainConfig, differing: Sequence[str]) -> str:
    """Description of a row's training, in the order in which a reader asks."""
    identity = config.model.identity
    size = f" at {identity.size} px" if identity.size else ""
    start = {"pretrained": "pretrained", "none": "random weights"}.get(identity.weights, identity.weights)
    network = f"{identity.backbone}{size}, {start}"
    if config.steps == 0:
        return "; ".join([network, "off-the-shelf", *_given(config, differing)])
    batch, loss, optimizer = config.batch, config.loss, config.optimizer
    margin = "" if loss.name == "soft_triplet" or loss.margin is None else f" margin {loss.margin:g}"
    memory = f" beside {loss.memory:,} earlier images" if loss.memory else ""
    length = f"{config.steps} steps" if config.steps else f"{config.epochs} epochs"
    flip = f"flip {config.faces.flip:g}" if config.faces.flip else "no augmentation"
    parts = [
        network,
        f"{batch.n_labels} x {batch.n_instances}",
        f"{loss.name}{margin}, {loss.reduction}{memory}",
        flip,
        f"{length}, {optimizer.name} {optimizer.lr:g}",
    ]
    return "; ".join([*parts, *_given(config, differing)])


def _given(config: TrainConfig, names: Sequence[str]) -> list[str]:
    settings = settings_by_name(config)
    return [f"{name} {'null' if settings.get(name) is None else settings[name]}" for name in names if name in settings]
