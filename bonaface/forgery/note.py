"""The note that a run leaves in the folder that it makes, so that the same run alone can resume it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from bonaface.data.table import FaceTable
from bonaface.errors import DataError
from bonaface.forgery.landmarks import Landmarks, digest_of
from bonaface.forgery.recipe import Recipe
from bonaface.io import atomic_write, parse_json
from bonaface.reading import read_regular_text

__all__ = ["begin", "is_begun", "state_of"]

_STATE = ".forging.json"


def state_of(recipe: Recipe, table: FaceTable, size: int, landmarks: Mapping[str, Landmarks]) -> dict[str, object]:
    """What the images of a run depend on, beside the photos' contents."""
    return {
        "methods": list(recipe.methods),
        "per_person": recipe.per_person,
        "seed": recipe.seed,
        "quality": list(recipe.quality),
        "size": size,
        "detector": recipe.detector_digest,
        "landmarks": digest_of(landmarks, table.frame["path"].tolist()),
    }


def is_begun(out: Path, state: Mapping[str, object]) -> bool:
    """Tell whether ``out`` was begun with this state; a folder with another one, or with other files, is refused."""
    note = out / _STATE
    if not note.exists():
        if out.is_dir() and any(out.iterdir()):
            raise DataError(
                f"{out}: expected an empty or a new folder, or one that bonaface forge began; it holds other files"
            )
        return False
    begun = _read_note(note)
    differing = [name for name in state if begun.get(name, "") != state[name]]
    if differing:
        raise DataError(
            f"{out}: was started with other {', '.join(differing)}; repeat that command to resume, or choose a new folder"
        )
    return True


def begin(out: Path, state: Mapping[str, object]) -> None:
    """Note what is being made, so that another run into the same folder is refused and this one can be resumed."""
    if not is_begun(out, state):
        with atomic_write(out / _STATE) as temporary:
            temporary.write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")


def _read_note(note: Path) -> dict[str, object]:
    try:
        begun = parse_json(read_regular_text(note))
    except ValueError:
        begun = None
    if not isinstance(begun, dict):
        raise DataError(f"{note}: isn't the note that bonaface forge left; choose a new folder")
    return begun
