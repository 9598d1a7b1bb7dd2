"""Times one step of the triplet loss beside OML's miner and loss: ``python benchmarks/losses.py``.

The two take turns on the same batch, forward and backward, on the CPU; medians are printed. On Linux so is the peak of
memory that a step takes above what was there before, measured in a process of its own. OML is the peer where it can be
imported (``pip install 'bonaface[oml]'`` in an environment of its own); without it only our figures are printed.

Reads no data: embeddings are random points on the unit sphere, 512 dimensions.
"""

import argparse
import importlib.util
import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from bonaface.embedding.losses import LOSSES

BATCHES = ((25, 4), (25, 7))
DIMENSIONS = 512
MARGIN = 0.5

Step = Callable[[], float]


def ours(name: str, embeddings: Tensor, labels: Tensor) -> Step:
    """One forward and backward pass of our loss."""
    loss = LOSSES[name]()

    def step() -> float:
        embeddings.grad = None
        value = loss(embeddings, labels).value
        value.backward()
        return value.item()

    return step


def omls(name: str, embeddings: Tensor, labels: Tensor) -> Step:
    """One forward and backward pass of OML's loss over all triplets."""
    from oml.losses.triplet import TripletLossWithMiner
    from oml.miners.inbatch_all_tri import AllTripletsMiner

    loss = TripletLossWithMiner(margin=MARGIN if name == "triplet" else None, miner=AllTripletsMiner())

    def step() -> float:
        embeddings.grad = None
        value = loss(embeddings, labels)
        value.backward()
        return value.item()

    return step


SIDES = {"bonaface": ours, "oml": omls}


def batch(n_labels: int, n_instances: int) -> tuple[Tensor, Tensor]:
    """Embeddings (n, 512) and labels (n,), the same at every call."""
    points = torch.randn(n_labels * n_instances, DIMENSIONS, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.normalize(points, dim=1).requires_grad_(), torch.arange(n_labels).repeat(n_instances)


def peak_mib(side: str, name: str, shape: tuple[int, int]) -> str:
    """Growth of the peak resident memory over one step in a fresh process, after a step on a tiny batch."""
    if platform.system() != "Linux":
        return "memory unknown"
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return f"{pool.apply(_peak_here, (side, name, shape)):.1f} MiB"


def _peak_here(side: str, name: str, shape: tuple[int, int]) -> float:
    torch.set_num_threads(1)
    SIDES[side](name, *batch(2, 2))()
    step = SIDES[side](name, *batch(*shape))
    before = _memory_mib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here: proc(5)
    step()
    return _memory_mib("VmHWM") - before


def _memory_mib(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{field}:"))
    return int(line.split()[1]) / 2**10


def medians_ms(steps: dict[str, Step], repeats: int) -> dict[str, float]:
    """Median time of each, in milliseconds; they take turns, after one turn that does not count."""
    times: dict[str, list[float]] = {side: [] for side in steps}
    for turn in range(repeats + 1):
        for side, step in steps.items():
            start = time.perf_counter()
            step()
            if turn:
                times[side].append((time.perf_counter() - start) * 1e3)
    return {side: statistics.median(values) for side, values in times.items()}


def main() -> None:
    """Print one line per loss and batch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9, help="timed steps of each side")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    sides = ["bonaface"] + (["oml"] if importlib.util.find_spec("oml") else [])
    print(f"{platform.machine()}, torch {torch.__version__}, {arguments.threads} threads, {arguments.repeats} repeats")
    for name in ("triplet", "soft_triplet"):
        for shape in BATCHES:
            steps = {side: SIDES[side](name, *batch(*shape)) for side in sides}
            values = {side: step() for side, step in steps.items()}
            times = medians_ms(steps, arguments.repeats)
            line = f"{name:12} {shape[0]} x {shape[1]}:"
            for side in sides:
                line += f"  {side} {times[side]:.2f} ms, {peak_mib(side, name, shape)}, value {values[side]:.6f}"
            print(line + (f"  ratio {times['oml'] / times['bonaface']:.0f}" if "oml" in sides else ""), flush=True)


if __name__ == "__main__":
    main()
