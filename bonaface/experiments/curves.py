"""Charts of a file of experiments as inline SVG: the error rates of its rows, and how the runs learned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bonaface.charts.curves import round_ticks
from bonaface.charts.svg import SERIES, Axis, Chart
from bonaface.experiments.results import RowResult

__all__ = ["MEASURED", "REPORTED", "learning_chart", "rates_chart", "series_of"]

MEASURED, REPORTED = 0, 1
"""Series of the chart of error rates."""


def series_of(rows: Sequence[RowResult]) -> list[tuple[int, RowResult]]:
    """The rows that have a history, each with the colour of its lines."""
    learned = [result for result in rows if any(_history(trial.folder) is not None for trial in result.trials)]
    return [(number % SERIES, result) for number, result in enumerate(learned)]


def learning_chart(rows: Sequence[RowResult], column: str, label: str, title: str) -> str:
    """A line for each run over its steps; runs of one row share a colour.

    Args:
        rows: of one table.
        column: of metrics.csv.
        label: of the upright axis.
        title: for screen readers.
    """
    curves = [
        (series, history["step"].to_numpy(float)[keep], history[column].to_numpy(float)[keep])
        for series, result in series_of(rows)
        for trial in result.trials
        if (history := _history(trial.folder)) is not None
        if (keep := np.isfinite(history[column].to_numpy(float))).any()
    ]
    longest = max((steps.max() for _, steps, _ in curves), default=1.0) or 1.0
    highest = max((values.max() for _, _, values in curves), default=1.0) or 1.0
    chart = Chart(
        title,
        Axis("step", 0.0, longest, round_ticks(0.0, longest)),
        Axis(label, 0.0, 1.05 * highest, round_ticks(0.0, 1.05 * highest)),
    )
    for series, steps, values in curves:
        chart.line(steps, values, series)
        chart.dots(steps, values, series, 2.5)
    return chart.svg()


def _history(folder: Path) -> pd.DataFrame | None:
    file = folder / "metrics.csv"
    return pd.read_csv(file) if file.is_file() else None


def rates_chart(rows: Sequence[RowResult], title: str) -> str | None:
    """A line of dots for each row: the error rate of every seed, their mean, and what was reported.

    Args:
        rows: of one table.
        title: for screen readers.

    Returns:
        None where no row has an error rate.
    """
    measure = "test" if any(result.spread("test") or "test" in result.row.reported for result in rows) else "val"
    found = [(result, result.values(measure), result.row.reported.get(measure)) for result in rows]
    shown = [each for each in found if each[1] or each[2] is not None]
    if not shown:
        return None
    highest = 1.1 * max(max([*values, reported or 0.0]) for _, values, reported in shown) or 1.0
    x_axis = Axis(f"EER on {measure}", 0.0, highest, round_ticks(0.0, highest))
    chart = Chart(title, x_axis, Axis("", 0.0, float(len(shown)), []), width=880.0, height=34.0 * len(shown) + 58)
    for place, (result, values, reported) in enumerate(shown):
        up = len(shown) - place - 0.7
        chart.guide([0, highest], [up, up])
        chart.text(0.004 * highest, up + 0.36, result.row.name)
        if values:
            chart.line([min(values), max(values)], [up, up], MEASURED)
            chart.dots(values, [up] * len(values), MEASURED, 3.0)
            chart.dots([float(np.mean(values))], [up], MEASURED, 6.0)
        if reported is not None:
            chart.dots([reported], [up], REPORTED, 5.0)
    return chart.svg()
