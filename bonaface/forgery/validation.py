"""Validation people of whom the data has no deepfakes get forged ones, or training could not see whether it helps."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
from rich.progress import Progress

from bonaface.data.table import FaceTable, read_faces
from bonaface.forgery.generate import forge_tree
from bonaface.forgery.recipe import Recipe

__all__ = ["with_forged_validation"]


def with_forged_validation(
    table: FaceTable, cache: Path, recipe: Recipe, progress: Progress | None = None
) -> FaceTable:
    """The table with the val people's photos taken anew beside deepfakes of them, where none of them has any.

    Photos and deepfakes are files in ``cache``, made once for each recipe and state of the photos.

    Args:
        table: split by person.
        cache: where the images are kept.
        recipe: what to forge.
        progress: shows how far it is.

    Returns:
        The training rows as they were, then the rows of val by absolute paths; ``table`` itself where val has deepfakes.

    Raises:
        DataError: if a photo can't be read or the disk is full.
    """
    in_val = (table.frame["split"] == "val").to_numpy()
    if table.frame["is_fake"].to_numpy(dtype=bool)[in_val].any():
        return table
    photos = table.take(in_val)
    folder = (cache / f"forged-{_key(photos, recipe)}").resolve()
    if not (folder / "meta.json").exists():
        forge_tree(photos, folder, recipe, progress=progress)
    made = read_faces(folder).frame
    made = made.assign(path=[(folder / path).as_posix() for path in made["path"]], split="val")
    rest = table.frame[~in_val]
    return FaceTable(table.root, pd.concat([rest, made], ignore_index=True))


def _key(photos: FaceTable, recipe: Recipe) -> str:
    digest = hashlib.blake2b(repr(recipe).encode(), digest_size=16)
    for row in np.arange(len(photos)):
        path = photos.path(int(row))
        state = path.stat()
        digest.update(f"{path.resolve()}|{state.st_size}|{state.st_mtime_ns}\n".encode())
    return digest.hexdigest()
