"""Precision and recall of wrong labels and of people in two folders, and growth of the search.

    python benchmarks/clean.py search --photos 100000 --people 5000
    python benchmarks/clean.py planted FACES_DIR --model ONNX --detector ONNX [--without FAULTS.csv] [--seeds 3]

``planted`` takes a folder of real faces and leaves out the photos that a list of issues calls mislabelled and the people that it
merges, which would count as false alarms. It puts photos into wrong folders in several ways, and compares with the plain rule: the
best similarity to another photo of the folder is below 0.30. Then it splits people into two folders, and counts how many pairs of
folders are named that are one person's, and how many of those there are.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.progress import Progress

from bonaface.cleaning.label_noise import judge_labels
from bonaface.cleaning.merges import merge_targets
from bonaface.cleaning.nearest_neighbours import nearest
from bonaface.data.inspection import inspect
from bonaface.data.table import read_faces
from bonaface.inference.embedder import load_embedder
from bonaface.inference.embedding_cache import EmbeddingCache, embed_cached

Vectors = NDArray[np.float32]
Labels = NDArray[np.int64]
Planted = tuple[Vectors, Labels, NDArray[np.bool_]]
"""Embeddings, whose name they bear, and which of them is wrong."""
Split = tuple[Vectors, Labels, Labels]
"""Embeddings, whose folder they are in, and which person each folder really is."""


def renumbered(person: Labels) -> Labels:
    """Numbers from 0 without gaps."""
    return np.unique(person, return_inverse=True)[1]


def small_folders(
    vectors: Vectors, person: Labels, least: int, most: int, rng: np.random.Generator
) -> tuple[Vectors, Labels]:
    """``least`` to ``most`` photos of each person who has the former."""
    kept = [
        rng.permutation(np.flatnonzero(person == one))[: rng.integers(least, most + 1)]
        for one in np.flatnonzero(np.bincount(person) >= least)
    ]
    rows = np.sort(np.concatenate(kept))
    return vectors[rows], renumbered(person[rows])


def moved(vectors: Vectors, person: Labels, share: float, rng: np.random.Generator) -> Planted:
    """A share of the photos goes to any other folder; one stays in each."""
    people, left, labels = person.max() + 1, np.bincount(person), person.copy()
    for row in rng.permutation(len(person))[: int(share * len(person))]:
        if left[person[row]] > 1:
            left[person[row]] -= 1
            labels[row] = (person[row] + rng.integers(1, people)) % people
    return vectors, labels, labels != person


def swapped(vectors: Vectors, person: Labels, share: float, rng: np.random.Generator) -> Planted:
    """Two people exchange a photo, each at most once: of folders of two nobody can say which is wrong."""
    used: set[int] = set()
    labels, size = person.copy(), np.bincount(person)
    for a, b in rng.permutation(len(person))[: 2 * int(share * len(person) / 2)].reshape(-1, 2):
        pair = {int(person[a]), int(person[b])}
        if len(pair) == 2 and not pair & used and min(size[list(pair)]) > 1:
            labels[a], labels[b] = person[b], person[a]
            used |= pair
    return vectors, labels, labels != person


def outsiders(vectors: Vectors, person: Labels, share: float, rng: np.random.Generator) -> Planted:
    """Photos of people who have no folder."""
    people = rng.permutation(person.max() + 1)
    outside = np.isin(person, people[: len(people) // 4])
    strangers = rng.permutation(np.flatnonzero(outside))[: int(share * (~outside).sum())]
    labels = person.copy()
    labels[strangers] = rng.choice(people[len(people) // 4 :], len(strangers))
    rows = np.concatenate([np.flatnonzero(~outside), strangers])
    return vectors[rows], renumbered(labels[rows]), outside[rows]


def couples(vectors: Vectors, person: Labels, share: float, rng: np.random.Generator) -> Planted:
    """Two photos of a person go to one folder together."""
    people, labels = person.max() + 1, person.copy()
    for one in rng.permutation(np.flatnonzero(np.bincount(person) > 3)):
        if (labels != person).mean() >= share:
            break
        labels[rng.permutation(np.flatnonzero(person == one))[:2]] = (one + rng.integers(1, people)) % people
    return vectors, labels, labels != person


def in_two(vectors: Vectors, person: Labels, share: float, least: int, most: int, rng: np.random.Generator) -> Split:
    """A share of the people have ``least`` to ``most`` of their photos, at most half of them, in a second folder."""
    people, labels = int(person.max()) + 1, person.copy()
    size = np.bincount(person)
    chosen = rng.permutation(np.flatnonzero(size >= 2 * least))[: int(share * people)]
    for number, one in enumerate(chosen):
        count = rng.integers(least, min(most, size[one] // 2) + 1)
        labels[rng.permutation(np.flatnonzero(person == one))[:count]] = people + number
    return vectors, labels, np.concatenate([np.arange(people), chosen])


def plain_rule(vectors: Vectors, person: Labels, below: float) -> NDArray[np.bool_]:
    """The best similarity to another photo of the folder is low."""
    best = np.ones(len(person))
    for one in np.flatnonzero(np.bincount(person) > 1):
        rows = np.flatnonzero(person == one)
        similarity = vectors[rows] @ vectors[rows].T
        np.fill_diagonal(similarity, -2)
        best[rows] = similarity.max(axis=1)
    return best < below


def figures(listed: NDArray[np.bool_], wrong: NDArray[np.bool_]) -> str:
    """Precision / recall."""
    hits = (listed & wrong).sum()
    return f"{hits / max(listed.sum(), 1):.3f} / {hits / wrong.sum():.3f}"


WAYS: dict[str, Callable[[Vectors, Labels, np.random.Generator], Planted]] = {
    "2 % moved": lambda v, p, rng: moved(v, p, 0.02, rng),
    "5 % moved": lambda v, p, rng: moved(v, p, 0.05, rng),
    "20 % moved": lambda v, p, rng: moved(v, p, 0.20, rng),
    "5 % swapped": lambda v, p, rng: swapped(v, p, 0.05, rng),
    "5 % strangers": lambda v, p, rng: outsiders(v, p, 0.05, rng),
    "5 % in couples": lambda v, p, rng: couples(v, p, 0.05, rng),
    "folders of 2 to 3, 5 % moved": lambda v, p, rng: moved(*small_folders(v, p, 2, 3, rng), 0.05, rng),
    "folders of 2, 10 % moved": lambda v, p, rng: moved(*small_folders(v, p, 2, 2, rng), 0.10, rng),
    "folders of 2, 5 % swapped": lambda v, p, rng: swapped(*small_folders(v, p, 2, 2, rng), 0.05, rng),
    "folders of 2 to 3, 5 % swapped": lambda v, p, rng: swapped(*small_folders(v, p, 2, 3, rng), 0.05, rng),
    "folders of 3, 5 % swapped": lambda v, p, rng: swapped(*small_folders(v, p, 3, 3, rng), 0.05, rng),
    "folders of 4 to 6, 5 % swapped": lambda v, p, rng: swapped(*small_folders(v, p, 4, 6, rng), 0.05, rng),
}
SPLITS: dict[str, Callable[[Vectors, Labels, np.random.Generator], Split]] = {
    "nobody": lambda v, p, _: (v, p, np.arange(p.max() + 1)),
    "1 photo apart": lambda v, p, rng: in_two(v, p, 0.10, 1, 1, rng),
    "2 photos apart": lambda v, p, rng: in_two(v, p, 0.10, 2, 2, rng),
    "3 to half of the photos apart": lambda v, p, rng: in_two(v, p, 0.10, 3, len(p), rng),
    "folders of 4 halved": lambda v, p, rng: in_two(*small_folders(v, p, 4, 4, rng), 0.10, 2, 2, rng),
}


def planted(options: argparse.Namespace) -> None:
    """Prints tables of precision / recall for each way of planting wrong labels, and of splitting people."""
    vectors, person = embedded(options)
    print_wrong_labels(vectors, person, options.seeds)
    print()
    print_merges(vectors, person, options.seeds)


def print_wrong_labels(vectors: Vectors, person: Labels, seeds: int) -> None:
    """Photos under the wrong name."""
    print("| planted | wrong | this: above 0.5 | this: listed (0.45) | best in folder < 0.30 | < 0.25 | s |")
    print("|---|---|---|---|---|---|---|")
    for name, way in WAYS.items():
        parts = [way(vectors, person, np.random.default_rng(seed)) for seed in range(seeds)]
        wrong = np.concatenate([wrong for _, _, wrong in parts])
        started = time.perf_counter()
        judged = np.concatenate([judge_labels(v, p).wrong for v, p, _ in parts])
        seconds = (time.perf_counter() - started) / seeds
        plain = [np.concatenate([plain_rule(v, p, below) for v, p, _ in parts]) for below in (0.30, 0.25)]
        cells = [figures(listed, wrong) for listed in (judged > 0.5, judged >= 0.45, *plain)]
        print(f"| {name} | {wrong.sum() / seeds:.0f} | {' | '.join(cells)} | {seconds:.1f} |", flush=True)


def print_merges(vectors: Vectors, person: Labels, seeds: int) -> None:
    """Folders of one person: pairs that are named and right."""
    print("| a tenth of the people in two folders | split | named | wrongly | precision / recall |")
    print("|---|---|---|---|---|")
    for name, way in SPLITS.items():
        split = named = right = found = 0
        for seed in range(seeds):
            parts, labels, origin = way(vectors, person, np.random.default_rng(seed))
            judged = judge_labels(parts, labels)
            target = merge_targets(judged.cores, judged.core_sizes, judged.model).person
            own = len(np.unique(origin))
            folders = np.flatnonzero(target != np.arange(len(target)))
            split, named = split + len(origin) - own, named + len(folders)
            right += int((origin[target[folders]] == origin[folders]).sum())
            found += int((target[own:] == target[origin[own:]]).sum())
        rates = f"{right / max(named, 1):.3f} / {found / split:.3f}" if split else ""
        cells = (name, *(f"{count / seeds:g}" for count in (split, named, named - right)), rates)
        print(f"| {' | '.join(cells)} |", flush=True)


def embedded(options: argparse.Namespace) -> tuple[Vectors, Labels]:
    """Embeddings of the real photos that no list speaks against, and whose they are."""
    table = read_faces(options.faces)
    used = ~table.frame["is_fake"].to_numpy(dtype=bool)
    if options.without is not None:
        issues = pd.read_csv(options.without, dtype=str).set_index("path")["issue"].reindex(table.frame["path"])
        twins = table.frame["person"][(issues == "merge").to_numpy()]
        used &= ~((issues == "mislabelled").to_numpy() | table.frame["person"].isin(twins).to_numpy())
    table = table.take(used)
    embedder = load_embedder(str(options.model), options.detector, "cpu")
    paths = [table.path(row) for row in range(len(table))]
    with Progress(transient=True) as progress:
        inspection = inspect(paths, 1, progress, look=False)
        good = np.flatnonzero(inspection.readable)
        cache = EmbeddingCache(Path(".bonaface-cache"), embedder.fingerprint)
        chosen, digests = [paths[row] for row in good], [inspection.digest[row] for row in good]
        vectors, _ = embed_cached(embedder, chosen, digests, cache, progress, 1)
    return vectors, renumbered(table.frame["person"].to_numpy(dtype=object)[good])


def search(options: argparse.Namespace) -> None:
    """Times the judging and the bare search, and prints the memory that they took."""
    rng = np.random.default_rng(0)
    person = np.sort(rng.integers(0, options.people, options.photos))
    vectors = rng.standard_normal((options.photos, 128), np.float32)
    if options.alike:
        centres = rng.standard_normal((options.people, 128), np.float32)
        for start in range(0, options.photos, 100_000):
            part = slice(start, start + 100_000)
            vectors[part] += 1.3 * centres[person[part]]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    before = peak()
    started = time.perf_counter()
    judged = judge_labels(vectors, person)
    print(
        f"judging {options.photos:,} photos of {options.people:,} people: {time.perf_counter() - started:.0f} s, ",
        end="",
    )
    print(
        f"{peak() - before:.0f} MB beside the embeddings' {vectors.nbytes / 1e6:.0f} MB; {(judged.wrong >= 0.45).sum():,} listed"
    )
    centres = np.stack([vectors[first] for first in np.unique(person, return_index=True)[1]])
    for exact in (True, False) if options.photos <= 100_000 else (False,):
        started = time.perf_counter()
        cosines, _ = nearest(vectors, centres, 5, exact=exact)
        seconds = time.perf_counter() - started
        kind = "all with all" if exact else "inverted file"
        print(
            f"nearest 5 of {len(centres):,} for {options.photos:,}, {kind}: {seconds:.0f} s, mean best {cosines[:, 0].mean():.4f}"
        )


def peak() -> float:
    """Highest memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    growing = commands.add_parser("search")
    growing.add_argument("--photos", type=int, default=100_000)
    growing.add_argument("--people", type=int, default=5_000)
    growing.add_argument(
        "--alike", action="store_true", help="photos of a person resemble each other; else all are random"
    )
    growing.set_defaults(run=search)
    quality = commands.add_parser("planted")
    quality.add_argument("faces", type=Path)
    quality.add_argument("--model", type=Path, required=True)
    quality.add_argument("--detector", type=Path)
    quality.add_argument("--without", type=Path)
    quality.add_argument("--seeds", type=int, default=3)
    quality.set_defaults(run=planted)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
