"""One HTML file that holds everything: verdict, figures, the worst pairs. It has no script and fetches nothing."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from bonaface.charts.curves import (
    KIND_NAMES,
    Curve,
    det_chart,
    histogram_chart,
    reliability_chart,
    roc_chart,
)
from bonaface.charts.page import page_template
from bonaface.charts.svg import SERIES
from bonaface.data.pairs import PairTable
from bonaface.evaluation.figures import groups_of
from bonaface.evaluation.scores import PairScores
from bonaface.evaluation.wording import (
    comparison_verdict,
    copies_said,
    eer_rows,
    percent,
    points,
    rate_name,
    single_photos,
    verdict,
    with_interval,
)
from bonaface.images.thumbnails import thumbnail
from bonaface.io import atomic_write
from bonaface.metrics.scores import NEGATIVES
from bonaface.version import __version__

__all__ = ["ReportInput", "versions", "worst_rows", "write_report"]

_LISTED = 50


@dataclass(frozen=True)
class ReportInput:
    """Content of a report.

    Args:
        models: the figures of each, as ``judge`` returns them.
        scores: of each, in the same order.
        comparison: as ``compare`` returns it.
        pairs: the judged pairs.
        labels: in the same order.
        settings: name and value of each setting, as it is to be shown.
        worst: how many of the worst pairs of each kind are shown; 0 where there are no images.
    """

    models: Sequence[dict[str, Any]]
    scores: Sequence[PairScores]
    comparison: Sequence[dict[str, Any]]
    pairs: PairTable
    labels: pd.DataFrame
    settings: Mapping[str, str]
    worst: int = 24


def versions() -> dict[str, str]:
    """Versions of what made the figures, as far as it is installed."""
    found = {"bonaface": __version__, "Python": platform.python_version()}
    for name in ("numpy", "onnxruntime", "torch", "opencv-python-headless", "scikit-learn", "scipy"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def write_report(material: ReportInput, file: Path) -> None:
    """Write the report.

    Args:
        material: what it is made of.
        file: the HTML file.

    Raises:
        DataError: if it can't be written.
    """
    template = page_template(
        Path(__file__).with_name("report.html.j2"),
        percent=percent,
        interval=_interval_html,
        rate=rate_name,
        points=points,
    )
    html = template.render(**_context(material))
    with atomic_write(file, private=True) as temporary:
        temporary.write_text(html, encoding="utf-8", errors="backslashreplace")


def _interval_html(figure: Mapping[str, float | None] | None) -> Markup:
    """A share, and its interval in an element of its own, which a narrow page puts on a second line."""
    said, _, ends = with_interval(figure).partition(" [")
    return Markup('{} <span class="ci">[{}</span>').format(said, ends) if ends else Markup("{}").format(said)


def _context(material: ReportInput) -> dict[str, Any]:
    groups = groups_of(material.labels)
    return {
        "title": " and ".join(figures["model"] for figures in material.models),
        "models": [
            _model_view(figures, scores, groups, material)
            for figures, scores in zip(material.models, material.scores, strict=True)
        ],
        "comparison": list(material.comparison),
        "comparison_verdict": comparison_verdict(material.comparison, material.models),
        "comparison_charts": _comparison_charts(material.scores, groups) if len(material.scores) > 1 else [],
        "eer_rows": eer_rows(material.models),
        "eer_kinds": {key: names[0] for key, names in NEGATIVES.items() if len(names) == 1} | {"challenge_eer": "all"},
        "copies": copies_said(material.models[0]),
        "copied": _copied(material.models[0]),
        "kind_names": KIND_NAMES,
        "settings": dict(material.settings),
        "versions": versions(),
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "first": material.models[0],
    }


def _model_view(
    figures: dict[str, Any], scores: PairScores, groups: dict[str, NDArray[np.bool_]], material: ReportInput
) -> dict[str, Any]:
    """Everything that the template shows of one model."""
    curves = _curves(scores.similarity, groups)
    worst = _worst_pairs(scores.similarity, material.pairs, material.labels, groups, material.worst)
    unreadable = list(scores.unreadable.values())
    return {
        "figures": figures,
        "verdict": verdict(figures),
        "photos": single_photos(figures),
        "det": Markup(det_chart(curves, f"{scores.name}: detection error trade-off by kind of pair")),  # noqa: S704
        "roc": Markup(roc_chart(curves, f"{scores.name}: ROC by kind of pair")),  # noqa: S704
        "histogram": Markup(_histogram(figures, scores, groups)),  # noqa: S704
        "reliability": Markup(  # noqa: S704
            reliability_chart(figures["calibration"]["reliability"], f"{scores.name}: reliability")
        ),
        "legend": _legend(curves),
        "worst": worst if material.worst else {},
        "unreadable": unreadable[:_LISTED],
        "more_unreadable": max(0, len(unreadable) - _LISTED),
        "faceless": list(scores.faceless or [])[:_LISTED],
        "more_faceless": max(0, len(scores.faceless or []) - _LISTED),
    }


def _copied(figures: Mapping[str, Any]) -> list[str]:
    """The first pairs that are two copies of one photo, each with how it is known."""
    named = [f"{pair_id}: {how}" for how, ids in figures.get("copied_pairs", {}).items() for pair_id in ids]
    more = len(named) - _LISTED
    return named[:_LISTED] + ([f"and {more} more"] if more > 0 else [])


def _curves(similarity: NDArray[np.float64], groups: Mapping[str, NDArray[np.bool_]]) -> list[Curve]:
    same = similarity[groups["same"]]
    negatives = [name for name in groups if name != "same"]
    curves = [(KIND_NAMES[name], same, similarity[groups[name]]) for name in negatives]
    return [*curves, (KIND_NAMES["all"], same, similarity[~groups["same"]])] if len(negatives) > 1 else curves


def _legend(curves: Sequence[Curve]) -> list[tuple[int, str]]:
    return [(series % SERIES, name) for series, (name, _, _) in enumerate(curves)]


def _histogram(figures: dict[str, Any], scores: PairScores, groups: dict[str, NDArray[np.bool_]]) -> str:
    thresholds = [
        (row["threshold"]["estimate"], rate_name(row["fmr_target"]))
        for row in figures["operating_points"]
        if "threshold" in row
    ]
    return histogram_chart(
        scores.similarity, groups, thresholds, f"{scores.name}: histograms of similarity by kind of pair"
    )


def _comparison_charts(scores: Sequence[PairScores], groups: dict[str, NDArray[np.bool_]]) -> list[dict[str, Any]]:
    """A DET chart for each kind of negative that matters, one line a model."""
    wanted = {"all": ~groups["same"]} | {name: groups[name] for name in ("impostor", "own_fake") if name in groups}
    charts = []
    for name, mask in wanted.items():
        curves: list[Curve] = [(each.name, each.similarity[groups["same"]], each.similarity[mask]) for each in scores]
        title = f"Same person against {KIND_NAMES[name]}"
        charts.append({"title": title, "svg": Markup(det_chart(curves, title)), "legend": _legend(curves)})  # noqa: S704
    return charts


def worst_rows(similarity: NDArray[np.float64], mask: NDArray[np.bool_], mated: bool, count: int) -> NDArray[np.int64]:
    """Rows of the pairs of one kind that are furthest on the wrong side, worst first; ties in the order of the pairs.

    Args:
        similarity: shape ``(n,)``.
        mask: the kind's pairs, shape ``(n,)``.
        mated: whether high similarities are right for them.
        count: how many at most.

    Example:
        >>> worst_rows(np.array([0.9, 0.2, 0.5]), np.array([True, True, False]), True, 1).tolist()
        [1]
    """
    rows = np.flatnonzero(mask)
    key = similarity[rows] if mated else -similarity[rows]
    return rows[np.argsort(key, kind="stable")[:count]]


def _worst_pairs(
    similarity: NDArray[np.float64],
    pairs: PairTable,
    labels: pd.DataFrame,
    groups: Mapping[str, NDArray[np.bool_]],
    count: int = 24,
) -> dict[str, list[dict[str, Any]]]:
    """The worst pairs of each kind.

    Args:
        similarity: shape ``(n,)``.
        pairs: with the paths of their images.
        labels: in the same order; methods of forgery are shown where they are known.
        groups: masks of shape ``(n,)``.
        count: how many of each kind.

    Returns:
        By kind: ``pair_id``, ``similarity``, ``images`` (two data URIs), ``methods`` (two texts).
    """
    made: dict[str, list[dict[str, Any]]] = {}
    for kind, mask in groups.items():
        made[kind] = []
        for row in worst_rows(similarity, mask, kind == "same", count):
            pair = pairs.frame.iloc[row]
            methods = [str(labels[name].iloc[row]) if name in labels else "" for name in ("method_0", "method_1")]
            made[kind].append(
                {
                    "pair_id": str(pair["pair_id"]),
                    "similarity": float(similarity[row]),
                    "images": [thumbnail(pairs.root / pair[side]) for side in ("path_0", "path_1")],
                    "methods": ["" if method == "real" else method for method in methods],
                }
            )
    return made
