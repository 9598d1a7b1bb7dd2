"""Figures in words: percentages with intervals, the verdict, tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

__all__ = [
    "EER_ROWS",
    "comparison_verdict",
    "markdown",
    "percent",
    "rate_name",
    "single_photos",
    "table_of",
    "verdict",
    "with_interval",
]

Figures = Mapping[str, Any]

EER_ROWS = {
    "challenge_eer": "all negatives (challenge)",
    "sv_eer": "another person (SV)",
    "spf_eer": "own deepfake (SPF)",
    "other_fake_eer": "another's deepfake",
    "sasv_eer": "all three kinds (SASV)",
}
"""The equal error rates in the order in which they are shown."""

_VERDICT_FMR = 1e-2


def percent(share: float) -> str:
    """A share as a percentage, with three digits at most.

    Example:
        >>> percent(0.178749), percent(0.00875), percent(0.0), percent(1.0), percent(0.00004)
        ('17.9 %', '0.88 %', '0 %', '100 %', '0.004 %')
    """
    value = 100 * share
    if value in (0.0, 100.0):
        return f"{value:.0f} %"
    if abs(value) >= 1:
        return f"{value:.1f} %"
    return f"{value:.2f} %" if abs(value) >= 0.01 else f"{value:.1g} %"


def with_interval(figure: Mapping[str, float | None] | None) -> str:
    """A share with its interval, as in ``17.9 % [16.1, 19.8]``; a dash where there is none.

    Example:
        >>> with_interval({"estimate": 0.1787, "low": 0.161, "high": 0.198})
        '17.9 % [16.1, 19.8]'
        >>> with_interval({"estimate": 0.5, "low": None, "high": None}), with_interval(None)
        ('50.0 %', '–')
    """
    if figure is None or figure["estimate"] is None:
        return "–"
    low, high = figure["low"], figure["high"]
    said = percent(figure["estimate"])
    return said if low is None or high is None else f"{said} [{percent(low)[:-2]}, {percent(high)[:-2]}]"


def rate_name(fmr: float) -> str:
    """A false match rate as it is spoken of.

    Example:
        >>> rate_name(0.01), rate_name(0.1), rate_name(0.02)
        ('1e-2', '1e-1', '0.02')
    """
    text = f"{fmr:.0e}".replace("e-0", "e-")
    return text if text.startswith("1e") and abs(float(text) / fmr - 1) < 1e-9 else f"{fmr:g}"


def verdict(figures: Figures) -> list[str]:
    """What a reader has to know, in two or three sentences.

    Args:
        figures: as ``judge`` returns them.
    """
    sentences = [_at_threshold(figures), _equal_errors(figures)]
    if any("threshold" in row and row["source"] == "judged" for row in figures["operating_points"]):
        sentences.append(
            "The threshold was chosen on these same pairs, since there are no validation pairs; a deployed one may do worse."
        )
    return sentences


def _at_threshold(figures: Figures) -> str:
    resolved = [row for row in figures["operating_points"] if "threshold" in row]
    if not resolved:
        return "There are too few pairs of two people to set a threshold at any of the usual false match rates."
    row = min(resolved, key=lambda row: abs(row["fmr_target"] - _VERDICT_FMR))
    start = f"At the threshold for a false match rate of {rate_name(row['fmr_target'])} it "
    refused = f"refuses {percent(row['fnmr']['estimate'])} of genuine pairs"
    if "iapar" not in row:
        return f"{start}{refused}."
    return f"{start}accepts {_said(row['iapar'])} of deepfakes of the same person and {refused}."


def _said(figure: Mapping[str, float | None]) -> str:
    share, low, high = (figure[key] for key in ("estimate", "low", "high"))
    said = percent(share or 0.0)
    return said if low is None or high is None else f"{said} (95 % interval {percent(low)[:-2]} to {percent(high)})"


def _equal_errors(figures: Figures) -> str:
    parts = [
        f"{percent(figures[key])} {against}"
        for key, against in (
            ("sv_eer", "against other people"),
            ("spf_eer", "against deepfakes of the same person"),
            ("challenge_eer", f"over all {figures['pairs']:,} pairs"),
        )
        if key in figures
    ]
    return f"Equal error rate: {', '.join(parts)}."


def comparison_verdict(comparison: Sequence[Figures], models: Sequence[Figures]) -> list[str]:
    """A sentence for each further model: better or worse than the first, or not told apart.

    Args:
        comparison: as ``compare`` returns it.
        models: the figures of every model, the first one first.
    """
    sentences = []
    for row, model in zip(comparison, models[1:], strict=True):
        name = "spf_eer" if "spf_eer" in row["differences"] else "challenge_eer"
        if name not in row["differences"]:
            sentences.append(f"There are too few people to tell {row['model']} from {row['against']}.")
            continue
        found = row["differences"][name]
        against = "deepfakes of the same person" if name == "spf_eer" else "all negatives"
        better = "better" if found["estimate"] < 0 else "worse"
        told = f"is {better} than" if found["p_value"] < 0.05 else "is not told apart from"
        sentences.append(
            f"Against {against}, {row['model']} {told} {row['against']}: equal error rate {percent(model[name])} and "
            f"{percent(models[0][name])}, difference {points(found)} (p = {found['p_value']:.2g})."
        )
    return sentences


def points(found: Mapping[str, float]) -> str:
    """A difference in percentage points with its interval.

    Example:
        >>> points({"estimate": -0.18, "low": -0.21, "high": -0.15})
        '-18.0 points [-21.0, -15.0]'
    """
    shown = [f"{100 * found[key]:+.1f}" for key in ("estimate", "low", "high")]
    return f"{shown[0]} points [{shown[1]}, {shown[2]}]"


def table_of(figures: Figures) -> Table:
    """The figures that a person reads first, for the terminal."""
    table = Table(
        title=f"{figures['model']}: {figures['pairs']:,} pairs",
        title_justify="left",
        caption=single_photos(figures) or None,
        caption_justify="left",
    )
    table.add_column("same person against")
    table.add_column("EER", justify="right")
    table.add_column("95 % interval", justify="right")
    for key, name in _eer_rows(figures):
        table.add_row(name, f"{figures[key]:.4f}", _ends(figures["intervals"].get(key)))
    for method, value in figures.get("by_method", {}).items():
        table.add_row(f"  own deepfake by {method}", f"{value:.4f}", _ends(figures["by_method_intervals"][method]))
    return table


def single_photos(figures: Figures) -> str:
    """What the model takes single photos for, in a sentence; empty where it does not judge them."""
    found = figures.get("fake_score")
    if not found:
        return ""
    genuine = f"{percent(found['bpcer'])} of {found['genuine']:,} real ones are called fake (BPCER)"
    if not found["fakes"]:
        return f"Single photos: {genuine}."
    fakes = f"{percent(found['apcer'])} of {found['fakes']:,} deepfakes real (APCER)"
    return f"Single photos: {genuine}, {fakes}; equal at {percent(found['d_eer'])}, AUC {found['auc']:.4f}."


def _eer_rows(figures: Figures) -> list[tuple[str, str]]:
    return [(key, name) for key, name in EER_ROWS.items() if key in figures]


def _ends(found: Mapping[str, float | None] | None) -> str:
    if found is None or found["low"] is None or found["high"] is None:
        return "–"
    return f"{found['low']:.4f} to {found['high']:.4f}"


def markdown(models: Sequence[Figures]) -> str:
    """A table for a README: one row a model, equal error rates and what the threshold at FMR 1e-2 does.

    Args:
        models: the figures of each.
    """
    keys = [(key, name) for key, name in EER_ROWS.items() if any(key in figures for figures in models)]
    head = ["model", *(f"EER, {name}" for _, name in keys), "deepfakes accepted at FMR 1e-2", "genuine refused there"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for figures in models:
        cells = [with_interval(figures["intervals"].get(key)) for key, _ in keys]
        row: Figures = next((row for row in figures["operating_points"] if row["fmr_target"] == _VERDICT_FMR), {})
        cells += [with_interval(row.get("iapar")), with_interval(row.get("fnmr"))]
        lines.append("| " + " | ".join([figures["model"].replace("|", "\\|"), *cells]) + " |")
    first = models[0]
    unit, draws = first["bootstrap"]["unit"], first["bootstrap"]["replicates"]
    lines += ["", f"{first['pairs']:,} pairs; 95 % intervals by bootstrap over {unit}, {draws:,} draws."]
    if any(
        row["source"] == "judged" and "threshold" in row for figures in models for row in figures["operating_points"]
    ):
        lines.append("Where a model has no validation pairs, its threshold was chosen on the judged pairs.")
    return "\n".join(lines) + "\n"
