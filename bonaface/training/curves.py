"""Curves of a run as one HTML page: loss, error rates on the validation pairs, learning rate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike

from bonaface.charts.curves import round_ticks
from bonaface.charts.page import page_template
from bonaface.charts.svg import SERIES, Axis, Chart
from bonaface.config import OptimizerConfig
from bonaface.io import atomic_write
from bonaface.training.optim import Length, learning_rate

__all__ = ["learning_rates", "write_curves"]

Row = Mapping[str, float]
Line = tuple[str, ArrayLike, ArrayLike]
"""Name, steps, values."""

_ALL = "val_challenge_eer"
_KINDS = {
    _ALL: "all pairs",
    "val_sv_eer": "another person",
    "val_spf_eer": "own deepfake",
    "val_other_fake_eer": "another's deepfake",
}


def write_curves(file: Path, title: str, history: Sequence[Row], rates: tuple[ArrayLike, ArrayLike]) -> None:
    """Writes the page; it has no script and fetches nothing.

    Args:
        file: the HTML file.
        title: the run's name.
        history: a row for each validation, as metrics.csv has them, the untrained model first.
        rates: steps and learning rates, as ``learning_rates`` returns them.

    Raises:
        DataError: if it can't be written.
    """
    steps = [row["step"] for row in history]
    kinds = [(name, steps, _column(history, key)) for key, name in _KINDS.items() if key in history[-1]]
    sources = [
        (key.removeprefix(f"{_ALL}/"), steps, _column(history, key))
        for key in history[-1]
        if key.startswith(f"{_ALL}/")
    ]
    best = min(history[1:] or history, key=lambda row: np.float32(row["val_worst_eer"]))[
        "step"
    ]  # as best.ckpt is chosen
    charts = [
        _chart(
            "Training loss", "loss", [("mean since the last validation", steps, _column(history, "train_loss"))], best
        ),
        _chart("Error rates on the validation pairs", "EER", kinds, best),
        *([_chart("Error rate of each source", "EER", sources, best)] if sources else []),
        _chart("Learning rate", "learning rate", [("schedule", *rates)], best),
    ]
    page = page_template(Path(__file__).with_name("curves.html.j2")).render(
        title=title,
        best=f"{best:.0f}",
        last=f"{steps[-1]:.0f}",
        charts=charts,
        heads=["step", "loss", *(f"EER, {name}" for name, _, _ in kinds)],
        rows=[
            [f"{row['step']:.0f}", *(_shown(row, key) for key in ("train_loss", *_KINDS) if key in row)]
            for row in history
        ],
    )
    with atomic_write(file) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")


def learning_rates(
    length: Length, settings: OptimizerConfig, reached: int, points: int = 200
) -> tuple[list[int], list[float]]:
    """The learning rate over the steps up to ``reached``, at so many of them at most.

    Example:
        >>> settings = OptimizerConfig(lr=0.5, warmup=0.5, schedule="constant")
        >>> learning_rates(Length(steps=4, val_every=2), settings, reached=4)
        ([0, 1, 2, 3], [0.25, 0.5, 0.5, 0.5])
    """
    total = length.optimizer_steps(settings.accumulate)
    steps = np.unique(np.linspace(0, max(0, reached - 1), points).astype(int)).tolist()
    a_round = math.ceil(length.val_every / settings.accumulate)  # moves of the optimiser
    moved = [step // length.val_every * a_round + step % length.val_every // settings.accumulate for step in steps]
    return steps, [settings.lr * learning_rate(step, total, settings) for step in moved]


def _column(history: Sequence[Row], key: str) -> list[float]:
    return [row.get(key, math.nan) for row in history]


def _shown(row: Row, key: str) -> str:
    return f"{row[key]:.4f}" if math.isfinite(row[key]) else "-"


def _chart(title: str, label: str, lines: Sequence[Line], best: float) -> dict[str, Any]:
    """One chart with its legend; the step of the best weights is marked."""
    finite = []
    for name, steps, values in lines:
        keep = np.isfinite(np.asarray(values, dtype=float))
        finite.append((name, np.asarray(steps, dtype=float)[keep], np.asarray(values, dtype=float)[keep]))
    longest = max((steps.max() for _, steps, _ in finite if steps.size), default=1.0) or 1.0
    highest = 1.05 * (max((values.max() for _, _, values in finite if values.size), default=1.0) or 1.0)
    lowest = 1.05 * min((values.min() for _, _, values in finite if values.size), default=0.0)
    low = min(0.0, lowest)
    chart = Chart(
        title,
        Axis("step", 0.0, longest, round_ticks(0.0, longest)),
        Axis(label, low, highest, round_ticks(low, highest)),
    )
    for series, (_, steps, values) in enumerate(finite):
        chart.line(steps, values, series)
        if steps.size <= 40:
            chart.dots(steps, values, series, 2.5)
    if best <= longest:
        chart.upright(best, "best", 0)
    legend = [(series % SERIES, name) for series, (name, _, _) in enumerate(finite)]
    return {"title": title, "svg": Markup(chart.svg()), "legend": legend}  # noqa: S704 - escaped by the chart
