"""A model made to fit cameras that it does not know."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.progress import Progress

from bonaface.data.table import read_faces
from bonaface.errors import ConfigError, DataError
from bonaface.inference.embedder import Embedder
from bonaface.verification.fitting import adapted

__all__ = ["Adapted", "adapt"]

_ENOUGH = 50


@dataclass(frozen=True)
class Adapted:
    """Result of adapting.

    Args:
        embedder: with its calibration moved.
        photos: how many genuine photos were read.
        shift: what was added to the calibrated log-odds of being genuine, >= 0.
        before: share of the photos that were taken for deepfakes (log-odds below 0).
        after: share that still are.
    """

    embedder: Embedder
    photos: int
    shift: float
    before: float
    after: float

    def told(self) -> str:
        """In one sentence."""
        return (
            f"{self.photos:,} genuine photos: {self.before:.1%} were taken for deepfakes, {self.after:.1%} are now; "
            f"log-odds of being genuine moved by {self.shift:.2f}"
        )


def adapt(embedder: Embedder, folder: Path, progress: Progress | None = None) -> Adapted:
    """The same model with its calibration of authenticity moved to a folder's genuine photos.

    Args:
        embedder: that judges authenticity.
        folder: of faces in any layout; photos that its labels call deepfakes are left out.
        progress: shows how far it is.

    Raises:
        ConfigError: if the model does not judge authenticity.
        DataError: if the folder is no folder of faces, or fewer than 50 of its genuine photos can be read.
    """
    calibration = embedder.calibration
    if calibration is None or calibration.genuine is None:
        raise ConfigError(
            f"--adapt: {embedder.name} does not judge whether photos are genuine, so it needs no adapting"
        )
    table = read_faces(folder)
    rows = np.flatnonzero(~table.frame["is_fake"].to_numpy(dtype=bool))
    said = embedder.embed([table.path(int(row)) for row in rows], progress)
    log_odds = said.distinct.authenticity
    if log_odds is None or len(log_odds) < _ENOUGH:
        raise DataError(
            f"{folder}: {len(said.distinct)} distinct genuine photos can be read; expected at least {_ENOUGH}"
        )
    moved = adapted(calibration, log_odds)
    old, new = calibration.genuine, moved.genuine or calibration.genuine
    return Adapted(
        replace(embedder, calibration=moved),
        len(log_odds),
        new.bias - old.bias,
        float(calibration.called_fake(log_odds).mean()),
        float(moved.called_fake(log_odds).mean()),
    )
