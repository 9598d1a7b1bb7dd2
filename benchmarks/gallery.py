"""The databases under a gallery, side by side: random people enrolled, found, deleted, and the process killed while it writes.

    python benchmarks/gallery.py [--photos 1000 100000] [--kinds sqlite milvus-lite] [--kills 20]

Each figure but the first is of a new process that opens the gallery. Half of the queries are noisy copies of enrolled photos, as
another photo of the person would be, half are strangers. Prints one Markdown table for each number of photos.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
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

KINDS = {"sqlite": "bench.sqlite", "milvus-lite": "bench.db"}
_DIM = 512
_MARK = ModelMark("random", "0" * 32, _DIM, True)
_BATCH = 500
_QUERIES = 200


def people(count: int, rng: np.random.Generator) -> Vectors:
    """Random unit vectors, ``(count, 512)``."""
    vectors = rng.standard_normal((count, _DIM), np.float32)
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def queries_of(vectors: Vectors, rng: np.random.Generator) -> Vectors:
    """Half near an enrolled photo, half strangers, ``(200, 512)``."""
    half = _QUERIES // 2
    near = 0.7 * vectors[rng.choice(len(vectors), half)] + 0.7 * people(half, rng)
    return np.concatenate([near / np.linalg.norm(near, axis=1, keepdims=True), people(half, rng)])


def timed(calls: Iterable[Callable[[], object]]) -> str:
    """p50 and p95 in ms."""
    seconds = []
    for call in calls:
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return f"{1e3 * np.quantile(seconds, 0.5):.1f}, {1e3 * np.quantile(seconds, 0.95):.1f} ms"


def megabytes() -> float:
    """Memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def fill(uri: str, count: int) -> dict[str, str]:
    """Put photos in, 500 at a time as a re-embedding does, one photo a person."""
    vectors = people(count, np.random.default_rng(0))
    gallery = Gallery(uri, _MARK)
    started = time.perf_counter()
    for start in range(0, count, _BATCH):
        part = vectors[start : start + _BATCH]
        gallery.database.write(
            [
                as_row(f"p{start + n}", f"{start + n:032x}", NewPhoto(b"", vector, 0.0), 0.0)
                for n, vector in enumerate(part)
            ]
        )
    gallery.database.flush()
    rate = count / (time.perf_counter() - started)
    gallery.close()
    place = Path(uri)
    files = [place] if place.is_file() else [file for file in place.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    return {"insert, 500 at a time": f"{rate:,.0f} photos/s", "on the disk": f"{size / 1e6:,.0f} MB"}


def use(uri: str, count: int) -> dict[str, str]:
    """What a process that opens a filled gallery measures."""
    rng = np.random.default_rng(0)
    vectors = people(count, rng)
    queries = queries_of(vectors, rng)
    exact = [set(np.argsort(-(vectors @ query))[:5].tolist()) for query in queries[:50]]
    singles = [(f"new{n}", NewPhoto(b"%d" % n, vectors[n], 0.0)) for n in range(100)]
    del vectors
    said: dict[str, str] = {}
    before, started = megabytes(), time.perf_counter()
    gallery = Gallery(uri, _MARK)
    said["open"] = f"{time.perf_counter() - started:.2f} s"
    started = time.perf_counter()
    gallery.search(queries[0], 5)
    said["first search"] = f"{time.perf_counter() - started:.2f} s"
    said["search, k = 5: p50, p95"] = timed(partial(gallery.search, query, 5) for query in queries)
    hits = [{int(hit.person[1:]) for hit in gallery.search(query, 5)} for query in queries[:50]]
    found = sum(len(a & b) for a, b in zip(exact, hits, strict=True))
    said["recall of 5 against exact search"] = f"{found / (5 * len(exact)):.4f}"
    said["photos of a person: p50, p95"] = timed(partial(gallery.photos_of, f"p{n}") for n in range(100))
    said["enrol one photo: p50, p95"] = timed(partial(gallery.enrol, person, [new]) for person, new in singles)
    said["memory of the gallery"] = f"{megabytes() - before:,.0f} MB"
    started = time.perf_counter()
    gallery.remove("p7")
    answered = time.perf_counter() - started
    gallery.erased(600)
    said["delete a person: answered, off the disk"] = f"{answered:.2f}, {time.perf_counter() - started:.1f} s"
    gallery.close()
    return said


def write_on(uri: str, count: int) -> dict[str, str]:
    """Enrol one photo after the other until killed, and say each when it is answered."""
    gallery = Gallery(uri, _MARK)
    vectors = people(1000, np.random.default_rng(1))
    for n in range(gallery.count(), count):
        gallery.enrol(f"k{n}", [NewPhoto(b"%d" % n, vectors[n % len(vectors)], 0.0)])
        os.write(1, b"%d\n" % n)
    return {}


def kill_often(uri: str, kills: int) -> dict[str, str]:
    """Kill a writing process at random times, and count what had been answered and is gone."""
    rng, answered, lost, shut = np.random.default_rng(0), 0, 0, 0
    for _ in range(kills):
        writer = subprocess.Popen(
            words("write_on", uri, 10**9), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert writer.stdout is not None
        first = writer.stdout.readline()
        time.sleep(rng.uniform(0, 0.5))
        writer.send_signal(signal.SIGKILL)
        lines = [first, *writer.communicate()[0].splitlines()]
        said = {f"k{int(line)}" for line in lines if line.strip()}
        answered += len(said)
        try:
            gallery = Gallery(uri, _MARK)
        except Exception:  # whatever it is, the gallery is shut
            shut += 1
            continue
        lost += sum(not gallery.photos_of(person) for person in said)
        gallery.close()
    return {f"after {kills} kills": f"{lost} of {answered:,} answered photos lost; {shut} times not opened"}


STEPS: dict[str, Callable[[str, int], dict[str, str]]] = {
    "fill": fill,
    "use": use,
    "write_on": write_on,
    "kill_often": kill_often,
}


def words(step: str, uri: str, count: int) -> list[str]:
    """The command of one step in a process of its own."""
    return [sys.executable, __file__, "--step", step, uri, str(count)]


def main() -> None:
    """Reads the command line and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, nargs="+", default=[1000, 100_000])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        step, uri, count = options.step
        print(json.dumps(STEPS[step](uri, int(count))))
        return
    for count in options.photos:
        columns: dict[str, dict[str, str]] = {}
        for kind in options.kinds:
            with tempfile.TemporaryDirectory() as folder:
                uri, killed = (str(Path(folder) / name) for name in (KINDS[kind], f"killed-{KINDS[kind]}"))
                steps = [("fill", uri, count), ("use", uri, count), ("kill_often", killed, options.kills)]
                done = [subprocess.run(words(*each), stdout=subprocess.PIPE, check=True, text=True) for each in steps]
                columns[kind] = {name: said for each in done for name, said in json.loads(each.stdout).items()}
        print(f"\n| {count:,} photos | {' | '.join(columns)} |\n|{'---|' * (1 + len(columns))}")
        for name in next(iter(columns.values())):
            print(f"| {name} | {' | '.join(column[name] for column in columns.values())} |")


if __name__ == "__main__":
    main()
