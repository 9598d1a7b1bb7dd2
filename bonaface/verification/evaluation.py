"""Scores and labels to figures, as a table and as metrics.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.table import Table

from bonaface.files import atomic_write
from bonaface.metrics import eer_by_method, eers_by_kind

__all__ = ["judge", "table_of", "write_metrics"]

_ROWS = {
    "challenge_eer": "all negatives (challenge)",
    "sv_eer": "impostor (SV)",
    "spf_eer": "own deepfake (SPF)",
    "other_fake_eer": "another's deepfake",
    "sasv_eer": "all three kinds (SASV)",
}


def judge(similarity: NDArray[np.float64], labels: pd.DataFrame) -> dict[str, Any]:
    """Error rates of scores.

    Args:
        similarity: shape ``(n,)``, higher is more alike.
        labels: as ``read_labels`` returns them, in the same order.

    Returns:
        ``challenge_eer`` and, where the labels name kinds, ``sv_eer``, ``spf_eer``, ``sasv_eer``, ...; ``by_method``; ``pairs``.
    """
    kind = labels["kind"].to_numpy(dtype=str) if "kind" in labels else None
    label = labels["label"].to_numpy()
    figures: dict[str, Any] = dict(eers_by_kind(similarity, label, kind))
    if kind is not None and {"method_0", "method_1"} <= set(labels):
        figures["by_method"] = eer_by_method(similarity, label, kind, labels["method_0"], labels["method_1"])
    figures["pairs"] = len(labels)
    return figures


def table_of(figures: dict[str, Any]) -> Table:
    """The figures that a person reads first."""
    table = Table(title=f"{figures.get('model', '')}: {figures['pairs']:,} pairs", title_justify="left")
    table.add_column("same person against")
    table.add_column("EER", justify="right")
    for key, name in _ROWS.items():
        if key in figures:
            table.add_row(name, f"{figures[key]:.4f}")
    for method, value in figures.get("by_method", {}).items():
        table.add_row(f"  own deepfake by {method}", f"{value:.4f}")
    return table


def write_metrics(figures: dict[str, Any], file: Path) -> None:
    """Writes every figure as JSON.

    Raises:
        DataError: if it can't be written.
    """
    with atomic_write(file) as temporary:
        temporary.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
