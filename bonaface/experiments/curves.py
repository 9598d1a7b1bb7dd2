"""How the runs of a file of experiments learned, and what their settings have to do with how they ended, as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.config_io import settings_by_name
from bonaface.evaluation.charts import round_ticks
from bonaface.evaluation.svg import SERIES, Axis, Chart
from bonaface.experiments.results import RowResult, TableResult

__all__ = ["THIRDS", "learning_chart", "parallel_chart", "series_of"]

THIRDS = ((4, "lowest third"), (0, "middle third"), (3, "highest third"))
"""Colours of the parallel coordinates, and what they say of a row's error rate."""

_WIDTH, _AXIS_WIDTH, _MOST_AXES, _MOST_TEXTS, _LONGEST = 880.0, 130.0, 8, 8, 24
_OWN = ("name", "out", "seed", "tracking")


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


def parallel_chart(tables: Sequence[TableResult], title: str) -> str | None:
    """Parallel coordinates: an upright axis for each setting in which trained rows differ, the last one for their error rate.

    Args:
        tables: as ``collect`` gives them.
        title: for screen readers.

    Returns:
        None where fewer than two rows have an error rate, or no setting differs.
    """
    rows = [result for table in tables for result in table.rows if result.row.way == "train" and not result.row.same]
    measure = "test" if any(result.spread("test") for result in rows) else "val"
    ended = [(result, spread.mean) for result in rows if (spread := result.spread(measure)) is not None]
    varied = _varied([result for result, _ in ended])
    if len(ended) < 2 or not varied:
        return None
    rates = np.round([rate for _, rate in ended], 4)  # (rows,), as they are shown
    names = [*(".".join(name.split(".")[-2:]) for name in varied), f"EER on {measure}"]
    ticks = [(float(place), name) for place, name in enumerate(names)]
    chart = Chart(
        title, Axis("", -0.2, len(names) - 0.4, ticks), Axis("", -0.1, 1.1, []), max(_WIDTH, _AXIS_WIDTH * len(names))
    )
    columns = [_heights(values) for values in varied.values()]
    low, high = float(rates.min()), float(rates.max())
    columns.append((rates - low) / (high - low) if high > low else np.full(len(rates), 0.5))
    # Rows of one value would lie on one another: each is drawn a little beside it.
    aside = np.linspace(-0.025, 0.025, len(rates))
    thirds = np.searchsorted(np.quantile(rates, [1 / 3, 2 / 3]), rates)
    for row in np.argsort(-rates):
        across = np.arange(len(names), dtype=float)
        up = [float(column[row]) + (aside[row] if place < len(varied) else 0.0) for place, column in enumerate(columns)]
        chart.line(across, up, THIRDS[thirds[row]][0])
        chart.dots(across, up, THIRDS[thirds[row]][0], 2.5)
    _mark(chart, [*varied.values(), [f"{rate:.4f}" for rate in rates]], columns)
    return chart.svg()


def _varied(results: Sequence[RowResult]) -> dict[str, list[Any]]:
    """The values of the rows by setting, of the settings in which they differ."""
    flat = [settings_by_name(result.trials[0].config) for result in results]
    names = dict.fromkeys(name for settings in flat for name in settings if not name.startswith(_OWN))
    columns = {name: [settings.get(name) for settings in flat] for name in names}
    differing = {name: values for name, values in columns.items() if len({str(value) for value in values}) > 1}
    return dict(list(differing.items())[:_MOST_AXES])


def _heights(values: Sequence[Any]) -> NDArray[np.float64]:
    """Where each value stands on its axis, 0 to 1: numbers in their order, then words in theirs."""
    order = sorted({str(value): value for value in values}.items(), key=_rank)
    place = {text: number for number, (text, _) in enumerate(order)}
    return np.array([place[str(value)] / max(1, len(place) - 1) for value in values])


def _rank(named: tuple[str, Any]) -> tuple[bool, float, str]:
    text, value = named
    is_number = isinstance(value, int | float)
    return (not is_number, float(value) if is_number else 0.0, text)


def _mark(chart: Chart, columns: Sequence[Sequence[Any]], heights: Sequence[NDArray[np.float64]]) -> None:
    """Writes the values beside their axes; where they are many, the lowest and the highest."""
    for across, (values, places) in enumerate(zip(columns, heights, strict=True)):
        texts = {float(place): _text(value) for value, place in zip(values, places, strict=True)}
        shown = sorted(texts) if len(texts) <= _MOST_TEXTS else [min(texts), max(texts)]
        for place in shown:
            chart.text(across + 0.04, place + 0.035, texts[place])


def _text(value: Any) -> str:
    """A setting as it stands in a YAML file, cut where it is long."""
    text = "null" if value is None else str(value)
    return text if len(text) <= _LONGEST else f"...{text[-_LONGEST:]}"
