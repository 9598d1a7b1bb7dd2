"""Growth of a gallery of random people: insert rate, search and look-up times, recall against exact search, deletion.

    python benchmarks/gallery.py [--people 100000] [--dim 512] [--uri /tmp/bench.db]

Half of the queries are noisy copies of enrolled photos, as another photo of the person would be, half are strangers.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bonaface.gallery.collection_name import ModelMark
from bonaface.gallery.gallery import Gallery
from bonaface.gallery.people import NewPhoto, as_row

Vectors = NDArray[np.float32]


def people(count: int, dim: int, rng: np.random.Generator) -> Vectors:
    """Random unit vectors, ``(count, dim)``."""
    vectors = rng.standard_normal((count, dim), np.float32)
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def enrol(gallery: Gallery, vectors: Vectors, batch: int) -> float:
    """Photos a second, put in as a re-embedding does: ``batch`` at a time."""
    started = time.perf_counter()
    for start in range(0, len(vectors), batch):
        part = vectors[start : start + batch]
        rows = [
            as_row(f"p{start + n}", f"{start + n:032x}", NewPhoto(b"", vector, 0.0), 0.0)
            for n, vector in enumerate(part)
        ]
        gallery.database.write(rows)
    gallery.database.flush()
    return len(vectors) / (time.perf_counter() - started)


def timed(calls: Iterable[Callable[[], object]]) -> str:
    """p50 and p95 in ms."""
    seconds = []
    for call in calls:
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return f"p50 {1e3 * np.quantile(seconds, 0.5):.0f} ms, p95 {1e3 * np.quantile(seconds, 0.95):.0f} ms"


def recall(gallery: Gallery, vectors: Vectors, queries: Vectors, k: int) -> float:
    """Share of the exact ``k`` nearest that a search finds."""
    found = 0
    for query in queries:
        exact = set(np.argsort(-(vectors @ query))[:k].tolist())
        found += len(exact & {int(hit.person[1:]) for hit in gallery.search(query, k)})
    return found / (k * len(queries))


def main() -> None:
    """Reads the command line and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--uri", help="a gallery to make; a temporary one of Milvus Lite where not given")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    vectors = people(options.people, options.dim, rng)
    noise = people(options.queries // 2, options.dim, rng)
    near = 0.7 * vectors[rng.choice(options.people, options.queries // 2, replace=False)] + 0.7 * noise
    queries = np.concatenate(
        [near / np.linalg.norm(near, axis=1, keepdims=True), people(options.queries // 2, options.dim, rng)]
    )
    folder = Path(tempfile.mkdtemp())
    gallery = Gallery(options.uri or str(folder / "bench.db"), ModelMark("random", "0" * 32, options.dim, True))
    try:
        print(f"insert, 500 at a time: {enrol(gallery, vectors, 500):,.0f} photos/s")
        singles = [partial(gallery.enrol, f"new{n}", [NewPhoto(b"%d" % n, vectors[n], 0.0)]) for n in range(100)]
        print(f"enrol one photo: {timed(singles)}")
        print(f"search, k = 5: {timed(partial(gallery.search, query, 5) for query in queries)}")
        print(f"recall of 5 against exact search: {recall(gallery, vectors, queries[:50], 5):.4f}")
        print(f"photos of a person: {timed(partial(gallery.photos_of, f'p{n}') for n in range(100))}")
        started = time.perf_counter()
        gallery.remove("p7")
        answered = time.perf_counter() - started
        erased = gallery.erased(600)
        print(f"delete a person: {answered:.2f} s, off the disk ({erased}) after {time.perf_counter() - started:.1f} s")
        print(f"memory of the process at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:,.0f} MB")
    finally:
        gallery.close()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
