"""Test pairs of the four kinds, drawn from a forged folder of people who are not trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from bonaface.data.splits import draw_pairs, split_by_person
from bonaface.data.table import FaceTable, read_faces
from bonaface.io import atomic_write

__all__ = ["apart", "drawn_pairs", "write_pairs"]

_TEST_SHARE = 0.2


def apart(table: FaceTable, seed: int) -> dict[str, FaceTable]:
    """A fifth of the people for ``test``, the others for ``train``; a table that comes with splits keeps them.

    Raises:
        DataError: if there are fewer than three people.
    """
    whole = split_by_person(table, _TEST_SHARE, seed)
    in_test = (whole.frame["split"] == "val").to_numpy()
    parts = {"train": whole.take(~in_test), "test": whole.take(in_test)}
    return {name: FaceTable(part.root, part.frame.assign(split="")) for name, part in parts.items()}


def drawn_pairs(folder: Path, count: int, seed: int) -> pd.DataFrame:
    """Pairs of the four kinds in the challenge's shares, of all people of a folder of faces.

    Args:
        folder: any folder that ``read_faces`` reads; where forge_tree made it, its forgeries.csv says by which method.
        count: number of pairs.
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
    paths = table.frame["path"]
    columns = {f"path_{side}": paths.to_numpy()[pairs[row]] for side, row in ((0, "a"), (1, "b"))}
    columns |= {name: pairs[name].to_numpy() for name in ("label", "kind", "person_0", "person_1")}
    methods = np.where(table.frame["is_fake"], "unknown", "real").astype(object)
    if (folder / "forgeries.csv").is_file():
        named = paths.map(pd.read_csv(folder / "forgeries.csv").set_index("path")["method"])
        methods = named.where(table.frame["is_fake"] & named.notna(), methods).to_numpy(dtype=object)
    columns |= {f"method_{side}": methods[pairs[row]] for side, row in ((0, "a"), (1, "b"))}
    return pd.DataFrame(columns)


def write_pairs(folder: Path, count: int, seed: int) -> Path:
    """As :func:`drawn_pairs`, listed in the folder's pairs.csv, whose path it returns."""
    listed = folder / "pairs.csv"
    with atomic_write(listed) as temporary:
        drawn_pairs(folder, count, seed).to_csv(temporary, index=False)
    return listed
