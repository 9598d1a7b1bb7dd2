"""Runs of a file of experiments that were trained on other photos than its rows say: the data changed in between."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bonaface.experiments.spec import Trial
from bonaface.training.people_note import PeopleNote, SourcePeople

__all__ = ["trained_on_others"]


def trained_on_others(trials: Sequence[Trial]) -> dict[Path, str]:
    """Find runs that the same settings of the data gave other photos than an earlier one of the file.

    Args:
        trials: that have ended, in the order of the file; one without a note of its people is passed over.

    Returns:
        By the run's folder the name of the first run, which it can't be compared with.

    Raises:
        DataError: if a note is damaged.
    """
    first: dict[object, tuple[Trial, list[SourcePeople]]] = {}
    others = {}
    for trial in trials:
        note = PeopleNote.read(trial.folder / "people.json")
        if note is not None:
            earlier, photos = first.setdefault(_photos_by_settings(trial), (trial, note.sources))
            pairs = zip(photos, note.sources, strict=True)
            if not all(was.same_photos(now) and was.originals == now.originals for was, now in pairs):
                others[trial.folder] = earlier.name
    return others


def _photos_by_settings(trial: Trial) -> object:
    """The settings that decide which photos of its sources a run has; its seed only splits them."""
    faces = trial.config.faces
    return faces.sources, faces.originals_of_sources, faces.fake_classes, trial.config.batch.sampler
