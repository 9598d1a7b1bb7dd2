"""Validation and test sets with deepfakes, of people who are not trained on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
from rich.progress import Progress

from bonaface.data.doubled_pairs import content_digest
from bonaface.data.splits import draw_pairs, split_by_person
from bonaface.data.table import FaceTable, read_faces
from bonaface.data.text_tables import read_text_table
from bonaface.errors import DataError
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
    """Draw pairs of the four kinds in the challenge's shares, of all people of a folder of faces; each pair of contents once.

    Args:
        folder: any folder that ``read_faces`` reads; where forge_tree made it, its forgeries.csv says by which method.
        count: number of pairs; of a folder that has fewer of a kind than its share there are fewer.
        seed: of the draw.

    Returns:
        path_0, path_1, label, kind, person_0, person_1, method_0 and method_1 (``real`` for photos, ``unknown`` where no
        forgeries.csv says).

    Raises:
        DataError: if no person has two photos, or forgeries.csv isn't as forge_tree wrote it.
        ConfigError: if the count is below the number of kinds, or more than can be drawn.
    """
    table = read_faces(folder)
    pairs = draw_pairs(table, count, seed, np.ones(len(table), dtype=bool))
    pairs = _once(pairs, table)
    paths = table.frame["path"]
    columns = {f"path_{side}": paths.to_numpy()[pairs[row]] for side, row in ((0, "a"), (1, "b"))}
    columns |= {name: pairs[name].to_numpy() for name in ("label", "kind", "person_0", "person_1")}
    named = _methods(folder / "forgeries.csv") if (folder / "forgeries.csv").is_file() else {}
    each = zip(paths, table.frame["is_fake"], strict=True)
    methods = np.array([(named.get(path) or "unknown") if is_fake else "real" for path, is_fake in each], object)
    columns |= {f"method_{side}": methods[pairs[row]] for side, row in ((0, "a"), (1, "b"))}
    return pd.DataFrame(columns)


def _once(pairs: pd.DataFrame, table: FaceTable) -> pd.DataFrame:
    """Leave out all but the first of several pairs of the same two contents, and one person's photo beside its own copy."""
    content = {row: content_digest(str(table.path(row))) or row for row in np.unique(pairs[["a", "b"]])}
    both = pd.Series([frozenset((content[a], content[b])) for a, b in zip(pairs["a"], pairs["b"], strict=True)])
    own_copy = (both.map(len) == 1) & (pairs["kind"] == "same")
    return pairs[~(both.duplicated() | own_copy).to_numpy()].reset_index(drop=True)


def _methods(forgeries: Path) -> dict[str, str]:
    """The method of each deepfake that forge_tree made."""
    rows = read_text_table(forgeries, "a list of deepfakes", expected := "expected the columns path and method")
    missing = {"path", "method"} - set(rows)
    if missing:
        raise DataError(f"{forgeries}: has no column {min(missing)}; {expected}")
    twice = rows.loc[rows["path"].duplicated(), "path"]
    if len(twice):
        raise DataError(f"{forgeries}: names {twice.iloc[0]} twice; expected each deepfake once")
    return dict(zip(rows["path"], rows["method"], strict=True))


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
