"""The shipped model by ONNX Runtime and by OpenVINO: core-milliseconds of a photo, by photos given at once.

    python benchmarks/runtimes.py

The runtimes take turns, and each's fastest counts. On one core (taskset -c 0) core-milliseconds are milliseconds.
"""

from __future__ import annotations

import time

import numpy as np
from results import Row, record, rounded, say

from bonaface.inference.embedder import load_embedder

BATCHES = (1, 2, 4, 8)
TURNS = 15


def main() -> None:
    """Measures, prints and records."""
    rng = np.random.default_rng(0)
    networks = {device: load_embedder(None, device=device).network for device in ("cpu", "openvino")}
    rows: list[Row] = []
    for count in BATCHES:
        sides = {"identity": 112, "authenticity": 160}
        images = {name: rng.integers(0, 256, (count, side, side, 3), np.uint8) for name, side in sides.items()}
        taken: dict[str, list[float]] = {device: [] for device in networks}
        for turn in range(2 + TURNS):
            for device, network in networks.items():
                started = time.process_time()
                network._some(images)  # type: ignore[attr-defined]  # all at once, where a call gives two photos at most
                if turn >= 2:
                    taken[device].append(1e3 * (time.process_time() - started) / count)
        found = {networks[device].runtime: min(each) for device, each in taken.items()}
        ours, other = found.values()
        rows.append(rounded({"photos at once": count, **found, "OpenVINO takes times": other / ours}))
        say(rows[-1])
    record("runtimes", rows)


if __name__ == "__main__":
    main()
