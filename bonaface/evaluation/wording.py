"""Figures in words: percentages with intervals, the verdict, tables for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

__all__ = [
    "EER_ROWS",
    "comparison_verdict",
    "copies_said",
    "eer_rows",
    "headline",
    "headline_row",
    "markdown",
    "percent",
    "rate_name",
    "rate_percent",
    "single_photos",
    "table_of",
    "verdict",
    "with_interval",
]

Figures = Mapping[str, Any]

EER_ROWS = {
    "challenge_eer": "all negatives (SASV, both together)",
    "sv_eer": "another person (SV, verification)",
    "spf_eer": "own deepfake (SPF, spoofing)",
    "other_fake_eer": "another's deepfake",
}
"""The equal error rates in the order in which they are shown. SASV-EER is that of all negatives, so it has no row of its own."""

_AT_THRESHOLD = {
    "fnmr": "genuine pairs refused (FNMR)",
    "iapar": "own deepfakes accepted (IAPAR)",
    "fmr": "other people accepted (FMR)",
}
_DISTANCES = 0.3
"""Below this AUC against other people similarities are upside down."""


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


def rate_percent(fmr: float) -> str:
    """A false match rate as a percentage.

    Example:
        >>> rate_percent(0.01), rate_percent(0.00001)
        ('1 %', '0.001 %')
    """
    return f"{float(f'{100 * fmr:.6g}'):.10f}".rstrip("0").rstrip(".") + " %"


def eer_rows(models: Sequence[Figures]) -> list[tuple[str, str]]:
    """Key and name of the equal error rates that some model has, each figure once.

    Where there is one kind of negative alone, "all negatives" would only repeat it.
    """
    keys = [key for key in EER_ROWS if any(key in figures for figures in models)]
    if len(keys) == 2:
        keys = keys[1:]
    return [
        (key, EER_ROWS[key] if "sv_eer" in models[0] or key != "challenge_eer" else "all negatives") for key in keys
    ]


def headline(figures: Figures, named: bool = False) -> list[str]:
    """Headline: deepfakes accepted and genuine pairs refused at one false match rate.

    Args:
        figures: as ``judge`` returns them.
        named: whether the sentence begins with the model's name.
    """
    start = f"{figures['model']}: " if named else ""
    sentences = [start + _at_threshold(figures)]
    wanted = figures["headline_fmr"]
    if headline_row(figures) is not None:
        sentences += [
            f"{start}Nothing is said at FMR {rate_percent(wanted)}: {row['refused']}."
            for row in figures["operating_points"]
            if row["fmr_target"] == wanted and "refused" in row
        ]
    against = figures["auc"].get("impostor", figures["auc"].get("different", figures["auc"]["all"]))
    if against < _DISTANCES:
        sentences.append(
            f"{start}Higher must mean more alike; these look like distances (AUC {against:.2f}): give their negatives."
        )
    return sentences


def verdict(figures: Figures) -> list[str]:
    """Summary of the figures in two to four sentences.

    Args:
        figures: as ``judge`` returns them.
    """
    sentences = [*headline(figures), _equal_errors(figures)]
    if any("threshold" in row and row["source"] == "judged" for row in figures["operating_points"]):
        sentences.append(
            "The threshold was chosen on these same pairs, since there are no validation pairs; a deployed one may do worse."
        )
    return sentences


def headline_row(figures: Figures) -> Figures | None:
    """The operating point that the headline is about: the wanted rate, or the nearest that is resolved."""
    resolved = [row for row in figures["operating_points"] if "threshold" in row]
    wanted = figures["headline_fmr"]
    return min(resolved, key=lambda row: abs(math.log(row["fmr_target"] / wanted)), default=None)


def _at_threshold(figures: Figures) -> str:
    row = headline_row(figures)
    if row is None:
        return "There are too few pairs of two people to set a threshold at any of the usual false match rates."
    at = f"at FMR {rate_percent(row['fmr_target'])}"
    refused = f"{percent(row['fnmr']['estimate'])} of genuine pairs are refused"
    if "iapar" not in row:
        return f"{refused} {at}{_interval(row['fnmr'])}."
    return (
        f"{percent(row['iapar']['estimate'])} of own deepfakes are accepted {at}{_interval(row['iapar'])}; {refused}."
    )


def _interval(figure: Mapping[str, float | None]) -> str:
    low, high = figure["low"], figure["high"]
    return "" if low is None or high is None else f" (95 % interval {percent(low)[:-2]} to {percent(high)})"


def _equal_errors(figures: Figures) -> str:
    named = {
        "sv_eer": "against other people",
        "spf_eer": "against deepfakes of the same person",
        "challenge_eer": f"over all {figures['pairs']:,} pairs",
    }
    shown = {key for key, _ in eer_rows([figures])}
    parts = [f"{percent(figures[key])} {against}" for key, against in named.items() if key in shown]
    return f"Equal error rate: {', '.join(parts)}."


def copies_said(figures: Figures) -> str:
    """Number of pairs that are two copies of one photo, in a sentence; empty where there is none, or no image was looked at."""
    found = figures.get("copied_pairs", {})
    counts = [
        f"{len(ids):,} {'the same file twice' if how == 'same file' else 'one photo re-encoded'}"
        for how, ids in found.items()
        if ids
    ]
    if not counts:
        return ""
    total = sum(map(len, found.values()))
    return f"{total:,} pairs of genuine photos are two copies of one photo ({', '.join(counts)}): they prove nothing."


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


def table_of(models: Sequence[Figures]) -> Table:
    """The figures that a person reads first, for the terminal: a row a figure, a column a model."""
    first = models[0]
    people = f" of {first['people']:,} people" if first["people"] else ""
    notes = [
        f"{each['model']}: {said}" if len(models) > 1 else said for each in models if (said := single_photos(each))
    ]
    notes += [copies_said(first)] if copies_said(first) else []
    table = Table(
        title=f"{first['pairs']:,} pairs{people}; in brackets 95 % intervals",
        title_justify="left",
        caption="\n".join(notes) or None,
        caption_justify="left",
    )
    table.add_column("equal error rate against")
    for figures in models:
        table.add_column(Text(figures["model"]), justify="right")
    for key, name in eer_rows(models):
        table.add_row(name, *(_rate(figures["intervals"].get(key)) for figures in models))
    for method in first.get("by_method", {}):
        table.add_row(
            Text(f"  own deepfake by {method}"),
            *(_rate(figures.get("by_method_intervals", {}).get(method)) for figures in models),
        )
    rows = [headline_row(figures) for figures in models]
    rates = dict.fromkeys(rate_percent(row["fmr_target"]) for row in rows if row is not None)
    if rates:
        table.add_section()
        table.add_row(Text(f"at FMR {' and '.join(rates)}", style="italic"))
    for key, name in _AT_THRESHOLD.items():
        if any(row is not None and key in row for row in rows):
            table.add_row(name, *(_rate(None if row is None else row.get(key)) for row in rows))
    return table


def _rate(found: Mapping[str, float | None] | None) -> str:
    if found is None or found["estimate"] is None:
        return "–"
    low, high = found["low"], found["high"]
    said = f"{found['estimate']:.4f}"
    return said if low is None or high is None else f"{said} [{low:.4f}, {high:.4f}]"


def single_photos(figures: Figures) -> str:
    """Classification of single photos, in a sentence; empty where the model does not judge them."""
    found = figures.get("fake_score")
    if not found:
        return ""
    genuine = f"{percent(found['bpcer'])} of {found['genuine']:,} genuine ones are classified as fake (BPCER)"
    if not found["fakes"]:
        return f"Single photos: {genuine}."
    fakes = f"{percent(found['apcer'])} of {found['fakes']:,} deepfakes as genuine (APCER)"
    return f"Single photos: {genuine}, {fakes}; equal at {percent(found['d_eer'])}, AUC {found['auc']:.4f}."


def markdown(models: Sequence[Figures]) -> str:
    """Make a table for a README: one row a model, equal error rates and what the threshold of the headline does.

    Args:
        models: the figures of each.
    """
    keys = eer_rows(models)
    rate = rate_percent(models[0]["headline_fmr"])
    head = [
        "model",
        *(f"EER, {name}" for _, name in keys),
        f"own deepfakes accepted at FMR {rate}",
        "genuine refused there",
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for figures in models:
        cells = [with_interval(figures["intervals"].get(key)) for key, _ in keys]
        wanted = figures["headline_fmr"]
        row: Figures = next((row for row in figures["operating_points"] if row["fmr_target"] == wanted), {})
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
