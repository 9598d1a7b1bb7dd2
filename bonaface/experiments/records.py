"""Records of trials: what came of each, in a file beside the run's folder."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from bonaface.config_io import read_run_config, settings_by_name
from bonaface.errors import ConfigError, DataError
from bonaface.experiments.spec import Trial, slug_of
from bonaface.io import atomic_write, parse_json

__all__ = [
    "FIGURES",
    "OTHER_PAIRS",
    "Record",
    "is_done",
    "is_untimed",
    "read_record",
    "read_shown",
    "refuse_changed",
    "write_record",
]

Record = dict[str, Any]
"""``status`` ``done`` with figures, or ``failed`` with ``error``; see ``run_trial``."""

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
_RATES = ("test", "test_sv", "test_spf", "val", "val_sv", "val_spf")

OTHER_PAIRS = "judged on other pairs"
"""Status in the tables of a run that ended well with other test pairs than the file's: it has no figures."""


def write_record(trial: Trial, record: Record) -> None:
    """Writes what came of a trial.

    Raises:
        DataError: if it can't be written.
    """
    with atomic_write(trial.record) as temporary:
        named = {"row": trial.row.same or trial.row.name, "seed": trial.config.seed} | record
        temporary.write_text(json.dumps(named, indent=2) + "\n", encoding="utf-8")


def read_record(trial: Trial) -> Record | None:
    """Record of a trial; None where it has not been run, or was stopped.

    Raises:
        DataError: if it is the record of another trial, or is damaged.
    """
    try:
        record = parse_json(trial.record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or record.get("status") not in {"done", "failed"}:
        return None
    if fault := _not_of(trial, record) or _damage(record):
        raise DataError(f"{trial.record}: {fault}; delete it and run the row again")
    return record


def _not_of(trial: Trial, record: Record) -> str:
    """What tells that a record is another trial's."""
    row, seed = record.get("row"), record.get("seed")
    if isinstance(row, str) and slug_of(row) == trial.row.slug and seed == trial.config.seed:
        return ""
    return f'is the record of row "{row}", seed {seed}; expected row "{trial.row.name}", seed {trial.config.seed}'


def _damage(record: Record) -> str:
    """What is wrong with the values of a record that the tables show."""
    if "machine" in record and not (isinstance(record["machine"], dict) and "commit" in record):
        return "damaged record: expected machine and commit"
    if record["status"] == "failed":
        return "" if isinstance(record.get("error"), str) else "damaged record: expected an error"
    for name, figure in FIGURES.items():
        try:
            value = figure(record)
        except (AttributeError, KeyError, TypeError):
            return f"damaged record: expected a figure for {name}"
        is_needed = name == "val" or (name == "test" and record["test"] is not None)
        if value is None and not is_needed:
            continue
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if name in _RATES and not (is_number and 0 <= value <= 1):
            return f"damaged record: {name}: expected an error rate from 0 to 1, got {value!r}"
        if not is_number or not 0 <= value < math.inf:
            return f"damaged record: {name}: expected a number from 0, got {value!r}"
    return ""


def is_done(trial: Trial, judged_on: str | None) -> bool:
    """Tell whether a trial has ended well, judged on the test pairs of this digest (None: on none)."""
    record = read_record(trial)
    return record is not None and record["status"] == "done" and _judged_on(record, judged_on)


def read_shown(trial: Trial, judged_on: str | None) -> Record | None:
    """Record of a trial for the tables: of one that was judged on other pairs the status alone.

    Raises:
        DataError: as ``read_record`` does.
    """
    record = read_record(trial)
    if record is None or record["status"] == "failed" or _judged_on(record, judged_on):
        return record
    return {"status": OTHER_PAIRS}


def _judged_on(record: Record, digest: str | None) -> bool:
    """Tell whether the figures are those of these test pairs. Records of earlier versions don't say which they had."""
    return record.get("judged_on") == digest and (digest is not None or record["test"] is None)


def is_untimed(trial: Trial) -> bool:
    """Tell whether a trial has ended well, and its network was not timed."""
    record = read_record(trial)
    return record is not None and record["status"] == "done" and record.get("inference_ms") is None


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
