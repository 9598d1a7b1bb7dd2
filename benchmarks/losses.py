"""Times one step of the triplet loss beside OML's miner and loss.

    .venv-oml/bin/python benchmarks/losses.py                                 # where OML is installed
    python benchmarks/losses.py --oml-python .venv-oml/bin/python             # from another environment
    python benchmarks/losses.py --quick                                       # does it run? nothing is recorded

The two take turns on the same batch, forward and backward, on the CPU; medians are printed, and how far value and gradient are
apart (the gradient as a share of its largest number; OML adds up a million float32 numbers in an order that it draws). On Linux
so is the peak of memory that a step takes above what was there before, measured in a process of its own. OML is the peer where
it can be imported (``pip install 'bonaface[oml]'`` in an environment of its own), and ``--oml-python`` runs this file there;
without it only our figures are printed.

Reads no data: embeddings are random points on the unit sphere, 512 dimensions.
"""

import argparse
import importlib.util
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from results import Row, record, rounded, say
from torch import Tensor

from bonaface.losses import LOSSES

BATCHES = ((25, 4), (25, 7))
DIMENSIONS = 512
MARGIN = 0.5
TITLES = {"bonaface": "bonaface", "oml": "OML"}

Step = Callable[[], float]


def ours(name: str, embeddings: Tensor, labels: Tensor) -> Step:
    """One forward and backward pass of our loss."""
    loss = LOSSES[name]()

    def step() -> float:
        embeddings.grad = None
        value: Tensor = loss(embeddings, labels).value
        value.backward()  # type: ignore[no-untyped-call]
        return float(value)

    return step


def omls(name: str, embeddings: Tensor, labels: Tensor) -> Step:
    """One forward and backward pass of OML's loss over all triplets."""
    from oml.losses.triplet import TripletLossWithMiner
    from oml.miners.inbatch_all_tri import AllTripletsMiner

    loss = TripletLossWithMiner(margin=MARGIN if name == "triplet" else None, miner=AllTripletsMiner())

    def step() -> float:
        embeddings.grad = None
        value: Tensor = loss(embeddings, labels)
        value.backward()  # type: ignore[no-untyped-call]
        return float(value)

    return step


SIDES = {"bonaface": ours, "oml": omls}


def batch(n_labels: int, n_instances: int) -> tuple[Tensor, Tensor]:
    """Embeddings (n, 512) and labels (n,), the same at every call."""
    points = torch.randn(n_labels * n_instances, DIMENSIONS, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.normalize(points, dim=1).requires_grad_(), torch.arange(n_labels).repeat(n_instances)


def peak_mib(side: str, name: str, shape: tuple[int, int]) -> float | None:
    """Growth of the peak resident memory over one step in a fresh process, after a step on a tiny batch; known on Linux."""
    if platform.system() != "Linux":
        return None
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return float(pool.apply(_peak_here, (side, name, shape)))


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


def compare(name: str, shape: tuple[int, int], sides: list[str], repeats: int) -> Row:
    """A row of the table: one loss and batch."""
    points = {side: batch(*shape) for side in sides}
    steps = {side: SIDES[side](name, *points[side]) for side in sides}
    values = {side: step() for side, step in steps.items()}
    gradients = {side: torch.as_tensor(embeddings.grad) for side, (embeddings, _) in points.items()}
    times = medians_ms(steps, repeats)
    row: Row = {
        "loss": name,
        "batch": f"{shape[0]} x {shape[1]}",
    }
    for side in sides:
        row[f"{TITLES[side]}, ms"] = times[side]
        peak = peak_mib(side, name, shape)
        row |= {} if peak is None else {f"{TITLES[side]}, MiB": peak}
    if "oml" in sides:
        row["times as fast"] = times["oml"] / times["bonaface"]
        row["value differs by"] = abs(values["oml"] - values["bonaface"])
        apart = (gradients["oml"] - gradients["bonaface"]).abs().max() / gradients["oml"].abs().max()
        row["gradient differs by"] = float(apart)
    return rounded(row)


def in_omls_interpreter(python: Path) -> None:
    """Runs this file there instead; this package is found by its folder, whether it is installed there or not."""
    words = [word for word in sys.argv[1:] if word not in {"--oml-python", str(python)}]
    words = [word for word in words if not word.startswith("--oml-python=")]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    raise SystemExit(subprocess.run([python, __file__, *words], env=environment, check=False).returncode)


def main() -> None:
    """Print one line per loss and batch, and record them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9, help="timed steps of each side")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--oml-python", type=Path, help="OML's own interpreter, where it is not this one")
    parser.add_argument("--quick", action="store_true", help="tiny batches, nothing recorded")
    arguments = parser.parse_args()
    if arguments.oml_python and arguments.oml_python.exists():
        in_omls_interpreter(arguments.oml_python)
    torch.set_num_threads(arguments.threads)

    sides = ["bonaface"] + (["oml"] if importlib.util.find_spec("oml") else [])
    if "oml" not in sides:
        print("OML can't be imported here, so it is not measured: name its interpreter by --oml-python")
    print(f"{platform.machine()}, torch {torch.__version__}, {arguments.threads} threads, {arguments.repeats} repeats")
    rows: list[Row] = []
    for name in ("triplet", "soft_triplet"):
        for shape in ((4, 2),) if arguments.quick else BATCHES:
            rows.append(compare(name, shape, sides, arguments.repeats))
            say(rows[-1])
    if not arguments.quick:
        record("losses", rows)


if __name__ == "__main__":
    main()
