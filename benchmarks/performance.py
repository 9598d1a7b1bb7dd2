"""Fills the tables of docs/performance.md from benchmarks/results.json, and draws docs/img/performance.svg.

    python benchmarks/performance.py

A table stands between ``<!-- NAME -->`` and ``<!-- /NAME -->``, NAME being what the benchmark recorded its rows under; what was
not measured keeps its text. The drawing shows where the time of embedding goes, from the rows of ``profile``: each has ``stage``
and ``seconds`` (or ``ms_per_image``), and the rows whose columns before ``stage`` are alike make a bar.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from results import RESULTS, Row

from bonaface.charts.curves import round_ticks
from bonaface.charts.svg import Axis, Chart
from bonaface.io import atomic_write

DOCS = Path(__file__).parents[1] / "docs"
PAGE, DRAWING = DOCS / "performance.md", DOCS / "img" / "performance.svg"
_TABLE = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- /\2 -->)", re.DOTALL)
_COLOURS = ("#1f6feb", "#e3872d", "#2f9e6e", "#8a63d2", "#c94f6d", "#7a7a7a")
_STYLE = (
    "text{font:11px sans-serif;fill:#333}.note{font-size:10px}.frame,.grid{fill:none;stroke:#e4e4e4;stroke-width:.6}"
    + "".join(f".c{n}{{fill:{colour}}}" for n, colour in enumerate(_COLOURS))
)
_BAR, _LABEL = 0.42, 0.62
"""Height of a bar, and where its name starts, as shares of what a bar has for itself."""


def table(measured: Mapping[str, Any]) -> str:
    """Rows as Markdown, under the machine that they were measured on; a column is what any of them has."""
    rows: Sequence[Row] = measured["rows"]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [
        " | ".join(name.replace("_", " ") for name in columns),
        " | ".join("---:" if _is_number(rows, name) else "---" for name in columns),
        *(" | ".join(cell(row[name]) if name in row else "" for name in columns) for row in rows),
    ]
    return f"{whereabouts(measured['machine'])}\n\n" + "\n".join(f"| {line} |" for line in lines) + "\n"


def cell(value: float | str) -> str:
    """A number with all its digits and its thousands apart; text as it is."""
    return value.replace("|", "\\|") if isinstance(value, str) else f"{value:,.12g}"


def _is_number(rows: Sequence[Row], column: str) -> bool:
    return not any(isinstance(row.get(column, 0), str) for row in rows)


def whereabouts(machine: Mapping[str, Any]) -> str:
    """Date and machine of a measurement."""
    own = {"processor", "cores", "date"}
    libraries = ", ".join(f"{name} {version}" for name, version in machine.items() if name not in own)
    return f"{machine['date']}, {machine['processor']}, {machine['cores']} cores; {libraries}:"


def filled(page: str, results: Mapping[str, Any]) -> str:
    """The page with a table wherever there is one."""

    def put(place: re.Match[str]) -> str:
        return f"{place[1]}\n{table(results[place[2]])}\n{place[3]}" if place[2] in results else place[0]

    return _TABLE.sub(put, page)


def drawing(rows: Sequence[Row]) -> str:
    """A bar for each thing that was profiled, its stages side by side from left to right, as long as they take."""
    unit = "ms_per_image" if "ms_per_image" in rows[0] else "seconds"
    bars: dict[str, list[tuple[str, float]]] = {}
    for row in rows:
        name = ", ".join(cell(row[column]) for column in list(row)[: list(row).index("stage")])
        bars.setdefault(name, []).append((str(row["stage"]), float(row[unit])))
    stages = list(dict.fromkeys(stage for bar in bars.values() for stage, _ in bar))
    longest = max(sum(length for _, length in bar) for bar in bars.values())
    across = Axis(unit.replace("_", " "), 0.0, longest, round_ticks(0.0, longest))
    up = Axis("", 0.0, len(bars) + 1.0, [])
    chart = Chart("Where the time of embedding goes", across, up, 640, 80 + 46 * (len(bars) + 1))
    for number, stage in enumerate(stages):
        place = longest * number / len(stages)
        chart.steps([place, place + longest / 60], [0.25], number, base=len(bars) + 0.3, scale=1.0)
        chart.text(place + longest / 45, len(bars) + 0.34, stage)
    for number, (name, bar) in enumerate(bars.items()):
        base, start = len(bars) - 1.0 - number, 0.0
        for stage, length in bar:
            chart.steps([start, start + length], [_BAR], stages.index(stage), base=base + 0.1, scale=1.0)
            start += length
        chart.text(
            0.0, base + _LABEL, f"{name}: {start:.3g} {unit.replace('_', ' ')}" if name else f"{start:.3g} {unit}"
        )
    inside = chart.svg().replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return inside.replace(">", f"><style>{_STYLE}</style>", 1)


def main() -> None:
    """Rewrites the page and the drawing."""
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    page = PAGE.read_text(encoding="utf-8")
    with atomic_write(PAGE) as temporary:
        temporary.write_text(filled(page, results), encoding="utf-8")
    if "profile" in results:
        with atomic_write(DRAWING) as temporary:
            temporary.write_text(drawing(results["profile"]["rows"]), encoding="utf-8")
    places = {place[2] for place in _TABLE.finditer(page)}
    print(f"{PAGE}: filled {', '.join(sorted(places & results.keys())) or 'nothing'}")
    for why, names in (("not measured", places - results.keys()), ("no place for", results.keys() - places)):
        if names:
            print(f"{why}: {', '.join(sorted(names))}")


if __name__ == "__main__":
    main()
