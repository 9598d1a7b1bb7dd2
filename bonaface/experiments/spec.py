"""Plan of a file of experiments: tables of rows, each row a model by its settings, beside the figure that was reported."""

from __future__ import annotations

import dataclasses
import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bonaface.config import TrainConfig
from bonaface.errors import ConfigError
from bonaface.experiments.settings import Settings

__all__ = ["Plan", "Resources", "Row", "Table", "TestPairs", "Trial", "Way", "slug_of"]

Way = Literal["train", "untrained", "reported"]
"""How a row's figures come about: by training; by a pretrained network; or they were reported and nothing is run."""


def slug_of(name: str) -> str:
    """The name of a row's folders: letters, digits, points and dashes of its own.

    Example:
        >>> slug_of("ViT-S/16, 25 x 4")
        'vit-s-16-25-x-4'
    """
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")


@dataclass(frozen=True)
class TestPairs:
    """Pairs that every run is judged on when it has been trained.

    Args:
        pairs: as ``bonaface evaluate --pairs`` takes them.
        labels: as ``--labels`` does; without them the scores are written and no figure is.
    """

    __test__ = False  # no test, whatever its name makes pytest think

    pairs: Path
    labels: Path | None = None


@dataclass(frozen=True)
class Resources:
    """Resources that one trial takes of a machine.

    Args:
        cpus: processor cores; None shares this machine's out among the trials that run at once, and takes 1 on a cluster.
        gpus: graphics cards, in parts where several trials share one.
    """

    cpus: float | None = None
    gpus: float = 0


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Args:
        name: unique in the file.
        slug: the name as folders bear it.
        way: train, untrained or reported.
        given: every setting that the file gives it, its table's and the file's own included.
        seeds: one run each.
        reported: the reported equal error rates, by ``val`` and ``test``.
        note: a remark that the tables repeat.
        same: the row whose runs it shows, where it has none of its own.
    """

    name: str
    slug: str
    way: Way
    given: Settings
    seeds: tuple[int, ...]
    reported: dict[str, float]
    note: str = ""
    same: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under one title."""

    title: str
    rows: tuple[Row, ...]
    note: str = ""


@dataclass(frozen=True)
class Trial:
    """One run of a row: its settings, and where what it leaves lies.

    Args:
        row: the line that it belongs to.
        config: every setting, the seed included.
    """

    row: Row
    config: TrainConfig

    @property
    def name(self) -> str:
        """Name in progress and messages."""
        return f"{self.row.name}, seed {self.config.seed}"

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return Path(self.config.out) / self.config.name

    @property
    def record(self) -> Path:
        """File of its record: figures, or the error. Beside the run's folder, since a run that failed may have none."""
        return self.folder.with_name(f"{self.folder.name}.json")

    @property
    def log(self) -> Path:
        """Log of its output."""
        return self.folder.with_name(f"{self.folder.name}.log")


@dataclass(frozen=True)
class Plan:
    """A whole file of experiments.

    Args:
        file: where it was read.
        name: the runs lie in ``out/name``.
        folder: that folder.
        tables: all rows.
        configs: the settings of each row that is run, by its name; the seed is yet to be set.
        resources: of each trial.
        test: pairs that every run is judged on, if any.
    """

    file: Path
    name: str
    folder: Path
    tables: tuple[Table, ...]
    configs: dict[str, TrainConfig] = field(repr=False)
    resources: Resources = field(default_factory=Resources)
    test: TestPairs | None = None

    @property
    def rows(self) -> list[Row]:
        """The rows of all tables."""
        return [row for table in self.tables for row in table.rows]

    def trials(self, pattern: str = "*") -> list[Trial]:
        """The runs of all rows whose name fits a shell pattern, in the order of the file.

        Raises:
            ConfigError: if no row's name fits.
        """
        fitting = [row for row in self.rows if fnmatch.fnmatchcase(row.name.lower(), pattern.lower())]
        if not fitting:
            raise ConfigError(f'--only: no row of {self.file} fits "{pattern}": expected one of {self._names()}')
        trials: dict[Path, Trial] = {}  # rows may share runs
        for row in fitting:
            for trial in self.trials_of(row):
                trials.setdefault(trial.folder, trial)
        return list(trials.values())

    def trials_of(self, row: Row) -> list[Trial]:
        """The runs of one row, one a seed; none of a row that is only reported."""
        if row.way == "reported":
            return []
        config = self.configs[row.name]
        return [Trial(row, dataclasses.replace(config, name=f"{row.slug}-seed{seed}", seed=seed)) for seed in row.seeds]

    def _names(self) -> str:
        return _listed([f'"{row.name}"' for row in self.rows])


def _listed(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
