"""The report's figures: DET, ROC, histograms by kind, reliability. Each is an inline SVG with a legend in HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from bonaface.charts.svg import Axis, Chart
from bonaface.metrics import det_points, roc_points

__all__ = ["KIND_NAMES", "Curve", "det_chart", "histogram_chart", "reliability_chart", "roc_chart", "round_ticks"]

Floats = NDArray[np.float64]
Curve = tuple[str, Floats, Floats]
"""Name, similarities of mated pairs, similarities of non-mated pairs."""

KIND_NAMES = {
    "same": "same person",
    "impostor": "another person",
    "own_fake": "own deepfake",
    "other_fake": "another's deepfake",
    "different": "different",
    "all": "all negatives",
}
"""How the report calls each kind of pair."""

_RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99)
_TALL_RATES = (0.0001, 0.0005, *_RATES)


def det_chart(curves: Sequence[Curve], title: str) -> str:
    """Detection error trade-off, both axes in normal deviates.

    Args:
        curves: one line each, in the order of the legend. One without errors has no line.
        title: for screen readers.

    Source: A. Martin et al., "The DET curve in assessment of detection task performance", Eurospeech 1997.
    """
    points = [det_points(same, different, 300) for _, same, different in curves]
    across, up = (np.concatenate([each[side] for each in points]) for side in (0, 1))
    chart = Chart(title, _probit_axis("false match rate", across), _probit_axis("false non-match rate", up))
    ends = np.array([max(chart.x.low, chart.y.low), min(chart.x.high, chart.y.high)])
    if ends[0] < ends[1]:
        chart.guide(ends, ends)
    for series, (fmr, fnmr) in enumerate(points):
        if len(fmr):
            chart.line(fmr, fnmr, series)
    return chart.svg()


def _probit_axis(label: str, values: Floats) -> Axis:
    shares = ndtr(values) if len(values) else np.array([0.01, 0.5])
    low = max((rate for rate in _TALL_RATES if rate <= shares.min()), default=_TALL_RATES[0])
    high = min((rate for rate in _TALL_RATES if rate >= shares.max() and rate > low), default=_TALL_RATES[-1])
    places = ndtri([rate for rate in _TALL_RATES if low <= rate <= high])
    kept: list[tuple[float, str]] = []
    gap = (places[-1] - places[0]) / 10
    for place in places:
        if not kept or place - kept[-1][0] >= gap:
            kept.append((float(place), f"{100 * ndtr(place):.3g}%"))
    return Axis(label, float(places[0]), float(places[-1]), kept)


def roc_chart(curves: Sequence[Curve], title: str) -> str:
    """ROC with the false match rate on a logarithmic axis.

    Args:
        curves: one line each, in the order of the legend.
        title: for screen readers.
    """
    lowest = -int(np.floor(np.log10(max(10, *(len(different) for _, _, different in curves)))))
    x_ticks = [(float(power), "100%" if power == 0 else f"1e{power}") for power in range(lowest, 1)]
    y_ticks = [(share / 5, f"{20 * share}%") for share in range(6)]
    chart = Chart(
        title, Axis("false match rate", lowest, 0.0, x_ticks), Axis("same person accepted", 0.0, 1.0, y_ticks)
    )
    for series, (_, same, different) in enumerate(curves):
        fmr, tmr = roc_points(same, different, 300)
        with np.errstate(divide="ignore"):
            across = np.maximum(np.log10(fmr), lowest)
        # A stair, since between two points the curve is one of them.
        chart.line(np.repeat(across, 2)[1:], np.repeat(tmr, 2)[:-1], series)
    return chart.svg()


def histogram_chart(
    similarity: Floats, groups: Mapping[str, NDArray[np.bool_]], thresholds: Sequence[tuple[float, str]], title: str
) -> str:
    """Histograms of the similarities of each kind, one above the other, with thresholds through all of them.

    Args:
        similarity: shape ``(n,)``.
        groups: masks of shape ``(n,)``.
        thresholds: where, and what it is called.
        title: for screen readers.
    """
    low, high = _spread(similarity)
    edges = np.linspace(low, high, 61)
    shown = np.clip(similarity, low, high)
    kinds = len(groups)
    x_axis = Axis("similarity", low, high, round_ticks(low, high))
    chart = Chart(title, x_axis, Axis("share of the kind's pairs", 0.0, float(kinds), []), height=90.0 * kinds + 60)
    for series, (kind, mask) in enumerate(groups.items()):
        counts = np.histogram(shown[mask], edges)[0]
        base = float(kinds - 1 - series)
        chart.steps(edges, counts / max(1, counts.max()), series, base, 0.72)
        chart.text(low + 0.01 * (high - low), base + 0.8, f"{KIND_NAMES.get(kind, kind)} ({mask.sum():,})")
    for row, (threshold, text) in enumerate(sorted(thresholds)):
        if low <= threshold <= high:
            chart.upright(threshold, text, row % 4)
    return chart.svg()


def _spread(similarity: Floats) -> tuple[float, float]:
    """The range that is drawn: all but the lowest half percent, whose pairs stand in the first column."""
    low, high = float(np.quantile(similarity, 0.005)), float(similarity.max())
    if high <= low:
        low, high = high - 0.5, high + 0.5
    margin = 0.02 * (high - low)
    return low - margin, high + margin


def round_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Ticks at round numbers, seven at most.

    Example:
        >>> [text for _, text in round_ticks(0.0, 0.5)]
        ['0', '0.1', '0.2', '0.3', '0.4', '0.5']
    """
    raw = (high - low) / 6
    power = 10.0 ** np.floor(np.log10(raw))
    step = float(min(factor for factor in (1, 2, 5, 10) if factor * power >= raw) * power)
    numbers = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
    return [(float(number), f"{number + 0.0:.6g}") for number in np.round(numbers, 10)]


def reliability_chart(rows: Sequence[Mapping[str, Any]], title: str) -> str:
    """Observed against predicted probability of a mated pair; a dot's area is the share of pairs.

    Args:
        rows: as ``reliability`` gives them.
        title: for screen readers.
    """
    ticks = [(share / 5, f"{share / 5:g}") for share in range(6)]
    chart = Chart(title, Axis("predicted P(same)", 0.0, 1.0, ticks), Axis("observed share", 0.0, 1.0, ticks))
    chart.guide([0, 1], [0, 1])
    predicted, observed, weight = (np.array([row[key] for row in rows]) for key in ("predicted", "observed", "weight"))
    chart.line(predicted, observed, 0)
    chart.dots(predicted, observed, 0, 2.5 + 9 * np.sqrt(weight))
    return chart.svg()
