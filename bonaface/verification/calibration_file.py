"""calibration.json of a run's folder: what its scores mean, and its thresholds."""

from __future__ import annotations

import json
from pathlib import Path

from bonaface.errors import ModelError
from bonaface.io import atomic_write
from bonaface.reading import read_regular_text
from bonaface.verification.calibration import Calibration
from bonaface.verification.thresholds import Validation

__all__ = ["CALIBRATION_FILE", "read_calibration", "write_calibration"]

CALIBRATION_FILE = "calibration.json"


def read_calibration(run: Path) -> tuple[Calibration | None, Validation | None]:
    """The calibration of a run and its thresholds; each is None where the run was stopped before it had them.

    Raises:
        ModelError: if the file is damaged.
    """
    file = run / CALIBRATION_FILE
    if not file.is_file():
        return None, None
    try:
        values = json.loads(read_regular_text(file))
        stored = values.get("validation")
        return Calibration.from_dict(values), None if stored is None else Validation.from_dict(stored)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ModelError(f"{file}: not a calibration as training writes it ({error!r})") from error


def write_calibration(run: Path, calibration: Calibration, validation: Validation) -> None:
    """Writes calibration.json into a run's folder, whole or not at all."""
    values = calibration.as_dict() | {"validation": validation.as_dict()}
    with atomic_write(run / CALIBRATION_FILE) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
