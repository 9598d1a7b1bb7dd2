"""Results of a row: the records of its trials gathered, with mean, spread and failures."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bonaface.config import TrainConfig
from bonaface.config_io import settings_by_name
from bonaface.experiments.judged_pairs import digest_of
from bonaface.experiments.records import FIGURES, OTHER_PAIRS, Record, is_done, read_shown, refuse_changed
from bonaface.experiments.spec import Plan, Row, Table, Trial
from bonaface.experiments.trained_photos import trained_on_others

__all__ = ["RowResult", "Spread", "TableResult", "collect"]

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
        records: of each, None where it has not ended; of one judged on other pairs the status alone.
        command: runs this row alone.
        others: for each run that was trained on other photos, though by the same settings, the run that had them.
    """

    row: Row
    training: str
    trials: tuple[Trial, ...]
    records: tuple[Record | None, ...]
    command: str
    others: tuple[str, ...] = ()

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

    @property
    def outdated(self) -> int:
        """Number of runs that were judged on other pairs than the file's."""
        return sum(record is not None and record["status"] == OTHER_PAIRS for record in self.records)


@dataclass(frozen=True)
class TableResult:
    """A table and what came of its rows."""

    table: Table
    rows: tuple[RowResult, ...]


def collect(plan: Plan) -> list[TableResult]:
    """Results of every row.

    Raises:
        ConfigError: if a row's run has other settings than the file.
        DataError: if a record is damaged, or the test pairs are not what they should be.
    """
    judged_on = digest_of(plan.test)
    others = trained_on_others([trial for trial in plan.trials() if is_done(trial, judged_on)])
    return [_table(plan, table, judged_on, others) for table in plan.tables]


def _table(plan: Plan, table: Table, judged_on: str | None, others: Mapping[Path, str]) -> TableResult:
    """The rows of a table; settings in which they differ, and which the words for a training leave out, are added to these."""
    settings = [settings_by_name(plan.configs[row.name]) for row in table.rows if row.way != "reported"]
    names = dict.fromkeys(name for each in settings for name in each if not name.startswith(_OWN) and name not in _SAID)
    differing = [name for name in names if len({str(each.get(name)) for each in settings}) > 1]
    return TableResult(table, tuple(_result(plan, row, differing, judged_on, others) for row in table.rows))


def _result(
    plan: Plan, row: Row, differing: Sequence[str], judged_on: str | None, others: Mapping[Path, str]
) -> RowResult:
    trials = plan.trials_of(row)
    for trial in trials:
        refuse_changed(trial)
    training = _training(plan.configs[row.name], differing) if trials else "reported, not run"
    only = shlex.quote(row.name.replace("[", "[[]"))
    command = f"bonaface experiments run {shlex.quote(str(plan.file))} --only {only}" if trials else ""
    records = tuple(read_shown(trial, judged_on) for trial in trials)
    had = tuple(others[trial.folder] for trial in trials if trial.folder in others)
    return RowResult(row, training, tuple(trials), records, command, had)


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
