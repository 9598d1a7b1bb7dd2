"""Two releases side by side in one run: start-up, verify, submit, the service under load with its memory, a training step.

    python benchmarks/releases.py --before ../bonaface-0.1 --after . [--model-after NEW.onnx] [--quick]

Each side is a checkout, run by this interpreter, with the model that it ships. They take turns, so that a machine that gets slower
gets slower for both. Core-milliseconds are what the sides cost in processor time, which other work on the machine changes less
than it changes seconds. Some ten minutes on two cores that do nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from images import make_images
from results import Row, record, rounded, say
from service import load, memory

from bonaface.assets import unpack_demo


@dataclass(frozen=True)
class Side:
    """One release.

    Args:
        name: before or after.
        tree: its checkout.
        model: what ``--model`` is given; nothing for the model that it ships.
    """

    name: str
    tree: Path
    model: Sequence[str] = ()

    def command(self, *words: str) -> list[str]:
        """A command of this release."""
        return [sys.executable, "-m", "bonaface", *words]

    def environment(self) -> dict[str, str]:
        """Its own tree in front of whatever is installed."""
        return {**os.environ, "PYTHONPATH": str(self.tree), "PYTHONDONTWRITEBYTECODE": ""}


@dataclass
class Taken:
    """Seconds and core-seconds of one thing on one side, a number a turn."""

    seconds: list[float] = field(default_factory=list)
    core_seconds: list[float] = field(default_factory=list)


def timed(side: Side, words: Sequence[str], folder: Path, taken: Taken | None = None) -> float:
    """Seconds of a command from its call to its end; raises CalledProcessError where it fails."""
    before, started = os.times(), time.perf_counter()
    subprocess.run(words, check=True, capture_output=True, cwd=folder, env=side.environment())
    seconds, after = time.perf_counter() - started, os.times()
    if taken is not None:
        taken.seconds.append(seconds)
        taken.core_seconds.append(
            after.children_user - before.children_user + after.children_system - before.children_system
        )
    return seconds


def commands(side: Side, images: Sequence[Path], pairs: Path) -> dict[str, list[str]]:
    """What is timed from call to end, by name."""
    python = [sys.executable, "-c"]
    return {
        "import bonaface": [*python, "import bonaface"],
        "bonaface --help": side.command("--help"),
        "bonaface verify A B": side.command("verify", *side.model, str(images[0]), str(images[1])),
        f"bonaface submit, {2 * len(list(pairs.iterdir()))} photos": side.command(
            "submit", *side.model, "--pairs", str(pairs), "--out", f"{side.name}.csv"
        ),
    }


def make_pairs(images: Sequence[Path], folder: Path) -> Path:
    """A folder of pairs, all of whose photos differ."""
    for number, (first, second) in enumerate(zip(images[::2], images[1::2], strict=True)):
        pair = folder / f"{number:08d}"
        pair.mkdir(parents=True)
        for name, image in (("0.jpg", first), ("1.jpg", second)):
            (pair / name).write_bytes(image.read_bytes())
    return folder


@contextmanager
def serving(side: Side, folder: Path) -> Iterator[tuple[str, int]]:
    """A service of this release, by its address and its process's number."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = side.command("serve", *side.model, "--gallery", "none", "--rate", "1000000", "--port", str(port))
    quiet = subprocess.DEVNULL
    with subprocess.Popen(words, cwd=folder, env=side.environment(), stdout=quiet, stderr=quiet) as process:
        url, until = f"http://127.0.0.1:{port}", time.monotonic() + 120
        try:
            while time.monotonic() < until and process.poll() is None:
                try:
                    httpx.get(f"{url}/metrics")
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
            yield url, process.pid
        finally:
            process.terminate()


def core_seconds(process: int) -> float:
    """Processor time that a process has used; 0 where the system has no /proc."""
    stat = Path(f"/proc/{process}/stat")
    if not stat.exists():
        return 0.0
    user, system = stat.read_text(encoding="ascii").rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def under_load(
    sides: Sequence[Side], images: Sequence[Path], folder: Path, connections: Sequence[int], seconds: float
) -> list[Row]:
    """Verdicts a second, core-milliseconds of a verdict and the service's memory, by connections."""
    photos = [("first", images[0].read_bytes()), ("second", images[1].read_bytes())]
    found: dict[tuple[int, str], list[tuple[float, float, float]]] = {}
    for side in (*sides, *sides):
        with serving(side, folder) as (url, process):
            asyncio.run(load(url, photos, 8, 0, requests=16))
            for count in connections:
                used = core_seconds(process)
                seen, took = asyncio.run(load(url, photos, count, seconds))
                cost = 1e3 * (core_seconds(process) - used) / max(1, len(seen.seconds))
                found.setdefault((count, side.name), []).append((len(seen.seconds) / took, cost, memory(url)))
    rows: list[Row] = []
    for count in connections:
        before, after = (
            [statistics.median(each) for each in zip(*found[count, side.name], strict=True)] for side in sides
        )
        for at, (what, higher) in enumerate(
            (("verdicts/s", True), ("core-ms a verdict", False), ("service's memory, MB", False))
        ):
            rows.append(compared(f"{what}, {count} connections", before[at], after[at], higher))
    return rows


def compared(what: str, before: float, after: float, higher: bool = False) -> Row:
    """One row; ``times as good`` above 1 means that the later release is ahead."""
    good = after / before if higher else before / after
    return rounded({"what": what, "before": before, "after": after, "times as good": good})


def of_commands(sides: Sequence[Side], images: Sequence[Path], folder: Path, repeats: int) -> list[Row]:
    """Seconds and core-seconds of each command."""
    pairs = make_pairs(images, folder / "pairs")
    words = {side.name: commands(side, images, pairs) for side in sides}
    rows: list[Row] = []
    for what in words[sides[0].name]:
        taken = {side.name: Taken() for side in sides}
        for turn in range(1 + (repeats if "submit" not in what else min(repeats, 2))):
            for side in sides:
                timed(side, words[side.name][what], folder, taken[side.name] if turn else None)
        before, after = (taken[side.name] for side in sides)
        rows.append(compared(f"{what}, s", statistics.median(before.seconds), statistics.median(after.seconds)))
        rows.append(compared(f"{what}, core-s", min(before.core_seconds), min(after.core_seconds)))
    return rows


def of_training(sides: Sequence[Side], folder: Path, steps: int) -> list[Row]:
    """Milliseconds of a training step of the demo's configuration: a long run's time less a short one's, each once warm."""
    taken: dict[str, list[float]] = {side.name: [] for side in sides}
    for turn in range(2):
        for side in sides:
            own = folder / f"train-{side.name}"
            unpack_demo(own / "demo")
            config = next(
                each for each in (side.tree / "configs", side.tree / "experiments") if (each / "demo.yaml").is_file()
            )
            text = re.sub(r"(?m)^(steps|val_every):.*\n", "", (config / "demo.yaml").read_text(encoding="utf-8"))
            spent = []
            for count in (5, 5 + steps):
                made = own / f"{turn}-{count}.yaml"
                named = text.replace("name: demo", f"name: demo{turn}-{count}")
                made.write_text(f"{named}steps: {count}\nval_every: {count}\n", encoding="utf-8")
                spent.append(timed(side, side.command("train", "--config", str(made)), own))
            if turn:  # the first fills the cache of images
                taken[side.name].append(1e3 * (spent[1] - spent[0]) / steps)
    before, after = (statistics.median(taken[side.name]) for side in sides)
    return [compared("training step, ms", before, after)]


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows as Markdown."""
    lines = ["| | before | after | times as good |", "|---|---:|---:|---:|"]
    return "\n".join([*lines, *(f"| {' | '.join(str(value) for value in row.values())} |" for row in rows)])


def main() -> None:
    """Reads the command line, measures, prints and records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, metavar="TREE", help="checkout of the earlier release")
    parser.add_argument(
        "--after", type=Path, default=Path(__file__).parents[1], metavar="TREE", help="of the later one"
    )
    parser.add_argument(
        "--model-after", type=Path, metavar="ONNX", help="instead of the model that the later one ships"
    )
    parser.add_argument("--only", nargs="+", choices=["commands", "service", "training"], help="these parts alone")
    parser.add_argument("--quick", action="store_true", help="tries whether all of it runs; nothing is recorded")
    options = parser.parse_args()
    only = options.only or ["commands", "service", "training"]
    model = ["--model", str(options.model_after.resolve())] if options.model_after else []
    sides = [Side("before", options.before.resolve()), Side("after", options.after.resolve(), model)]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = make_images(unpack_demo(folder / "demo"), folder, 8 if options.quick else 240)
        if "commands" in only:
            rows += of_commands(sides, images, folder, 1 if options.quick else 7)
        if "service" in only:
            rows += under_load(sides, images, folder, [8] if options.quick else [1, 8], 2.0 if options.quick else 12.0)
        if "training" in only:
            rows += of_training(sides, folder, 5 if options.quick else 60)
    for row in rows:
        say(row)
    print(f"\n{table(rows)}")
    if not options.quick and options.only is None:
        record("releases", rows)


if __name__ == "__main__":
    main()
