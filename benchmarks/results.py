"""Figures of benchmarks in benchmarks/results.json, from which benchmarks/performance.py fills docs/performance.md."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from bonaface.io import atomic_write

__all__ = ["RESULTS", "Row", "machine", "processor", "record", "rounded", "say"]

RESULTS = Path(__file__).with_name("results.json")

Row = dict[str, float | str | int]
"""One line of a table: what was measured and its figures."""

_LIBRARIES = ("torch", "onnxruntime", "openvino", "open-metric-learning")


def record(name: str, rows: Sequence[Row]) -> None:
    """Puts the rows of one benchmark, and where and when they were measured, in the place of its earlier ones.

    Args:
        name: the benchmark's; rows under other names stay as they are.
        rows: what it measured.
    """
    whole = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    whole[name] = {"machine": machine(), "rows": list(rows)}
    with atomic_write(RESULTS) as temporary:
        temporary.write_text(json.dumps(dict(sorted(whole.items())), indent=1) + "\n", encoding="utf-8")


def rounded(row: Row) -> Row:
    """A row with four significant digits: more are noise in what was timed."""
    return {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in row.items()}


def say(row: Row) -> None:
    """One line for the terminal."""
    print("; ".join(f"{name} {value}" for name, value in row.items()), flush=True)


def machine() -> dict[str, str | int]:
    """The processor, the cores that this process may use, the versions of what computes, and today's date."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    facts: dict[str, str | int] = {"processor": processor(), "cores": cores, "python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            facts[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return facts | {"date": datetime.datetime.now(datetime.UTC).date().isoformat()}


def processor() -> str:
    """The processor's model name; only Linux says it in a file."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
