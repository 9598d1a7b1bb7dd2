"""What came of each trial, on disk beside its run's folder."""

from __future__ import annotations

import json
from typing import Any

from bonaface.config import load_config
from bonaface.errors import ConfigError
from bonaface.experiments.spec import Trial
from bonaface.io import atomic_write
from bonaface.training.provenance import settings_by_name

__all__ = ["Record", "is_done", "read_record", "refuse_changed", "write_record"]

Record = dict[str, Any]
"""``status`` ``done`` with figures, or ``failed`` with ``error``; see ``run_trial``."""


def write_record(trial: Trial, record: Record) -> None:
    """Writes what came of a trial.

    Raises:
        DataError: if it can't be written.
    """
    with atomic_write(trial.record) as temporary:
        named = {"row": trial.row.name, "seed": trial.config.seed} | record
        temporary.write_text(json.dumps(named, indent=2) + "\n", encoding="utf-8")


def read_record(trial: Trial) -> Record | None:
    """What came of a trial; None where it has not been run, or was stopped."""
    try:
        record = json.loads(trial.record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and record.get("status") in {"done", "failed"} else None


def is_done(trial: Trial) -> bool:
    """Whether a trial has ended well."""
    record = read_record(trial)
    return record is not None and record["status"] == "done"


def refuse_changed(trial: Trial) -> None:
    """Refuses a trial whose folder holds a run with other settings; where it is recorded is none of them.

    Raises:
        ConfigError: naming the settings.
    """
    if not (trial.folder / "config.yaml").exists():
        return
    saved, wanted = (settings_by_name(each) for each in (load_config(trial.folder / "config.yaml"), trial.config))
    names = [name for name in saved | wanted if not name.startswith("tracking.")]
    changed = [name for name in names if name not in saved or name not in wanted or saved[name] != wanted[name]]
    if changed:
        raise ConfigError(
            f'row "{trial.row.name}": {trial.folder} was made with other settings ({", ".join(changed)}): give the row or the '
            "file another name, or move that folder away"
        )
