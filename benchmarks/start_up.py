"""Time of a command from the shell's call to its end, where there is next to nothing to compute.

    python benchmarks/start_up.py [--repeats 9] [--quick]

``bonaface --help``, and ``bonaface verify A B`` with the model that comes with the package, each in fresh processes that take
turns.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from images import make_images
from results import Row, record, say

from bonaface.assets import unpack_demo


def timed(words: Sequence[str]) -> float:
    """Seconds of a process; raises CalledProcessError where it fails."""
    started = time.perf_counter()
    subprocess.run(words, check=True, capture_output=True)
    return time.perf_counter() - started


def measure(commands: Mapping[str, Sequence[str]], repeats: int) -> list[Row]:
    """One row a command, after a turn that does not count: it reads the files from the disk."""
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(repeats + 1):
        for name, words in commands.items():
            seconds = timed(words)
            if turn:
                taken[name].append(seconds)
    return [
        {
            "command": name,
            "median_seconds": round(statistics.median(seconds), 3),
            "fastest_seconds": round(min(seconds), 3),
            "slowest_seconds": round(max(seconds), 3),
        }
        for name, seconds in taken.items()
    ]


def main() -> None:
    """Reads the command line, measures, prints and records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9, help="processes of each command")
    parser.add_argument("--quick", action="store_true", help="one process each; nothing is recorded")
    options = parser.parse_args()
    bonaface = str(Path(sys.executable).with_name("bonaface"))
    with tempfile.TemporaryDirectory() as folder:
        first, second = make_images(unpack_demo(Path(folder) / "demo"), Path(folder), 2)
        commands = {
            "bonaface --help": [bonaface, "--help"],
            "bonaface verify A B": [bonaface, "verify", str(first), str(second)],
        }
        rows = measure(commands, 1 if options.quick else options.repeats)
    for row in rows:
        say(row)
    if not options.quick:
        record("start_up", rows)


if __name__ == "__main__":
    main()
