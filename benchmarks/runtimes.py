"""The shipped model by ONNX Runtime and by OpenVINO: core-milliseconds of a photo, by photos given at once.

    python benchmarks/runtimes.py [--only at_once threads]

The runtimes take turns, and each's fastest counts. On one core (taskset -c 0) core-milliseconds are milliseconds. ``threads``
wants all cores: there the photos of a batch are computed at the same time, by one thread each, or one after the other by all.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from results import Row, record, rounded, say

from bonaface.inference.backends import base
from bonaface.inference.embedder import load_embedder

BATCHES = (1, 2, 4, 8)
TURNS = 15
PHOTOS = 32


def main() -> None:
    """Measures, prints and records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=("at_once", "threads"), default=("at_once", "threads"))
    wanted = parser.parse_args().only
    if "at_once" in wanted:
        record("runtimes", by_photos_at_once())
    if "threads" in wanted:
        record("runtimes_threads", by_threads())


def drawn(count: int) -> Mapping[str, NDArray[np.uint8]]:
    """Images of as many photos, of the shipped model's sides."""
    rng = np.random.default_rng(0)
    sides = {"identity": 112, "authenticity": 160}
    return {name: rng.integers(0, 256, (count, side, side, 3), np.uint8) for name, side in sides.items()}


def by_photos_at_once() -> list[Row]:
    """Core-milliseconds of a photo by each runtime."""
    networks = {device: load_embedder(None, device=device).network for device in ("cpu", "openvino")}
    rows: list[Row] = []
    for count in BATCHES:
        images = drawn(count)
        taken: dict[str, list[float]] = {device: [] for device in networks}
        for turn in range(2 + TURNS):
            for device, network in networks.items():
                started = time.process_time()
                network._some(images)  # type: ignore[attr-defined]  # all at once, where a call gives fewer
                if turn >= 2:
                    taken[device].append(1e3 * (time.process_time() - started) / count)
        found = {networks[device].runtime: min(each) for device, each in taken.items()}
        ours, other = found.values()
        rows.append(rounded({"photos at once": count, **found, "OpenVINO takes times": other / ours}))
        say(rows[-1])
    return rows


def by_threads() -> list[Row]:
    """Photos a second, and core-milliseconds of each, by the threads that compute one."""
    small, networks = base._SMALL, {}
    for device in ("cpu", "openvino"):
        for said, most in (("one", small), ("all", 0)):
            base._SMALL = most
            networks[device, said] = load_embedder(None, device=device).network
    base._SMALL = small
    images = drawn(PHOTOS)
    taken: dict[tuple[str, str], list[tuple[float, float]]] = {key: [] for key in networks}
    for turn in range(1 + TURNS):
        for key, network in networks.items():
            started, used = time.perf_counter(), time.process_time()
            network(images)
            if turn:
                taken[key].append((time.perf_counter() - started, time.process_time() - used))
    rows: list[Row] = []
    for (device, said), network in networks.items():
        seconds, cores = (min(each) / PHOTOS for each in zip(*taken[device, said], strict=True))
        rows.append(
            rounded(
                {
                    "runtime": network.runtime,
                    "threads a photo": said,
                    "photos per second": 1 / seconds,
                    "core-ms a photo": 1e3 * cores,
                }
            )
        )
        say(rows[-1])
    return rows


if __name__ == "__main__":
    main()
