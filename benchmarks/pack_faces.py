"""Packs a fair part of all training sources into one small file, to train elsewhere.

    python benchmarks/pack_faces.py --config configs/authentic.yaml --out build/faces.tar [--megabytes 60]

Every source becomes a folder in the challenge's layout (meta.json beside images/<person>/<image>), cleaned as its list of issues
says, with originals.csv where the configuration names a list. Files are copied as they are: encoding them again would leave traces
that are not in the photos. Sources get equal parts of the budget, small ones whole; within a source each person gives one photo and
one deepfake, then a second of each, and so on, and a deepfake brings a photo of its person and its original along.
"""

from __future__ import annotations

import argparse
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bonaface.config_io import load_config
from bonaface.data.originals import read_originals
from bonaface.data.table import FaceTable
from bonaface.io import atomic_write
from bonaface.training.sources import read_sources

OVERHEAD = 1024
"""Bytes that a tar file adds to an image, at most: its header, and padding to 512."""


def sizes_of(table: FaceTable) -> NDArray[np.int64]:
    """Bytes of each image in the archive, shape ``(n,)``; 0 for a file that is missing."""
    files = (table.path(row) for row in range(len(table)))
    return np.array([file.stat().st_size + OVERHEAD if file.is_file() else 0 for file in files], np.int64)


def shares(totals: Sequence[int], budget: int) -> list[int]:
    """Bytes for each source: equal parts, and what a small one leaves goes to the others.

    Example:
        >>> shares([10, 100, 100], 90)
        [10, 40, 40]
    """
    found = dict.fromkeys(range(len(totals)), 0)
    for left, number in enumerate(sorted(found, key=lambda each: totals[each])):
        found[number] = min(totals[number], (budget - sum(found.values())) // (len(totals) - left))
    return list(found.values())


def chosen(
    table: FaceTable, sizes: NDArray[np.int64], originals: NDArray[np.int64], budget: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Rows that fit into the budget, people by turns, shape ``(k,)``."""
    shuffled = table.frame.iloc[rng.permutation(len(table))]
    turn = shuffled.groupby(["person", "is_fake"], sort=False).cumcount().to_numpy()
    is_fake, person = table.frame["is_fake"].to_numpy(bool), table.frame["person"].to_numpy()
    photo_of = {person[row]: row for row in shuffled.index[::-1] if not is_fake[row]}
    taken, left = np.zeros(len(table), bool), budget
    for row in shuffled.index.to_numpy()[np.argsort(turn, kind="stable")]:
        beside = [photo_of.get(person[row], -1), originals[row]] if is_fake[row] else []
        wanted = [each for each in dict.fromkeys((row, *beside)) if each >= 0 and not taken[each]]
        need = int(sizes[wanted].sum())
        if all(sizes[wanted]) and need <= left and person[row] in photo_of:
            taken[wanted], left = True, left - need
    return np.flatnonzero(taken)


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Adds a file whose date and owner say nothing."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def pack_source(
    archive: tarfile.TarFile, name: str, table: FaceTable, rows: NDArray[np.int64], originals: NDArray[np.int64]
) -> None:
    """Adds the images of some rows, their labels, and the originals among them."""
    frame = table.frame
    keys = {row: f"{_folder(str(frame['person'].iat[row]))}/{row}{table.path(row).suffix}" for row in rows.tolist()}
    for row, key in keys.items():
        add(archive, f"{name}/images/{key}", table.path(row).read_bytes())
    is_fake = frame["is_fake"].to_numpy(dtype=bool)
    meta = {key: int(is_fake[row]) for row, key in keys.items()}
    add(archive, f"{name}/meta.json", json.dumps(meta).encode())
    pairs = [f"{key},{keys[originals[row]]}" for row, key in keys.items() if originals[row] in keys]
    if pairs:
        add(archive, f"{name}/originals.csv", "\n".join(["deepfake,original", *pairs, ""]).encode())


def _folder(person: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in person)


def main() -> None:
    """Writes the archive and prints what is in it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", type=Path, required=True, help="training whose sources are packed")
    parser.add_argument("--out", type=Path, required=True, help="tar file")
    parser.add_argument("--megabytes", type=float, default=60.0, help="largest size of the file (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice (default: %(default)s)")
    options = parser.parse_args()
    faces = load_config(options.config).faces
    sources, lists = read_sources(faces), faces.originals_of_sources
    sizes = [sizes_of(source.table) for source in sources]
    budget = int(0.98e6 * options.megabytes)  # the rest is for the lists
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(options.out) as temporary, tarfile.open(temporary, "w") as archive:
        parts = zip(sources, sizes, lists, shares([int(each.sum()) for each in sizes], budget), strict=True)
        for number, (source, size, listed, part) in enumerate(parts):
            table, rng = source.table, np.random.default_rng([options.seed, number])
            originals = read_originals(Path(listed), table) if listed else np.full(len(table), -1, np.int64)
            rows = chosen(table, size, originals, part, rng)
            pack_source(archive, f"{number}", table, rows, originals)
            fake = int(table.frame["is_fake"].to_numpy(bool)[rows].sum())
            people = table.frame["person"].iloc[rows].nunique()
            print(
                f"{number} {source.where}: {len(rows):,} of {len(table):,} images, {fake:,} deepfakes, {people:,} people"
            )
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
