"""Validation and test sets with deepfakes, of people who are not trained on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
from rich.progress import Progress

from bonaface.data.splits import draw_pairs, split_by_person
from bonaface.data.table import FaceTable, read_faces
from bonaface.forgery.generate import forge_tree
from bonaface.forgery.recipe import Recipe
from bonaface.io import atomic_write

__all__ = ["drawn_pairs", "split_off_test", "with_forged_validation", "write_pairs"]

_TEST_SHARE = 0.2


def split_off_test(table: FaceTable, seed: int) -> dict[str, FaceTable]:
    """Set a fifth of the people apart for ``test``, the others for ``train``; a table that comes with splits keeps them.

    Raises:
        DataError: if there are fewer than three people.
    """
    whole = split_by_person(table, _TEST_SHARE, seed)
    in_test = (whole.frame["split"] == "val").to_numpy()
    parts = {"train": whole.take(~in_test), "test": whole.take(in_test)}
    return {name: FaceTable(part.root, part.frame.assign(split="")) for name, part in parts.items()}


def drawn_pairs(folder: Path, count: int, seed: int) -> pd.DataFrame:
    """Draw pairs of the four kinds in the challenge's shares, of all people of a folder of faces; each pair once.

    Args:
        folder: any folder that ``read_faces`` reads; where forge_tree made it, its forgeries.csv says by which method.
        count: number of pairs; of a folder that has fewer of a kind than its share there are fewer.
        seed: of the draw.

    Returns:
        path_0, path_1, label, kind, person_0, person_1, method_0 and method_1 (``real`` for photos, ``unknown`` where no
        forgeries.csv says).

    Raises:
        DataError: if no person has two photos.
        ConfigError: if the count is below the number of kinds.
    """
    table = read_faces(folder)
    pairs = draw_pairs(table, count, seed, np.ones(len(table), dtype=bool))
    both = pairs[["a", "b"]].to_numpy()
    pairs = pairs[~pd.DataFrame(np.sort(both, axis=1)).duplicated().to_numpy()].reset_index(drop=True)
    paths = table.frame["path"]
    columns = {f"path_{side}": paths.to_numpy()[pairs[row]] for side, row in ((0, "a"), (1, "b"))}
    columns |= {name: pairs[name].to_numpy() for name in ("label", "kind", "person_0", "person_1")}
    methods = np.where(table.frame["is_fake"], "unknown", "real").astype(object)
    if (folder / "forgeries.csv").is_file():
        named = paths.map(pd.read_csv(folder / "forgeries.csv").set_index("path")["method"])
        methods = named.where(table.frame["is_fake"] & named.notna(), methods).to_numpy(dtype=object)
    columns |= {f"method_{side}": methods[pairs[row]] for side, row in ((0, "a"), (1, "b"))}
    return pd.DataFrame(columns)


def write_pairs(folder: Path, count: int, seed: int) -> tuple[Path, int]:
    """Draw pairs as :func:`drawn_pairs` does and list them in the folder's pairs.csv; returns its path and how many there are."""
    listed, drawn = folder / "pairs.csv", drawn_pairs(folder, count, seed)
    with atomic_write(listed) as temporary:
        drawn.to_csv(temporary, index=False)
    return listed, len(drawn)


def with_forged_validation(
    table: FaceTable, cache: Path, recipe: Recipe, progress: Progress | None = None
) -> FaceTable:
    """Give validation people deepfakes where none of them has any: without them training could not see whether it helps.

    Their photos go through the same camera as the deepfakes. Both are files in ``cache``, made once for each recipe and
    state of the photos.

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
    digest = hashlib.blake2b(f"{recipe} {recipe.detector_digest}".encode(), digest_size=16)
    for row in range(len(photos)):
        path = photos.path(row)
        state = path.stat()
        digest.update(f"{path.resolve()}|{state.st_size}|{state.st_mtime_ns}\n".encode())
    return digest.hexdigest()
