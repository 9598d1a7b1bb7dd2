"""Operating points: what thresholds do to the judged pairs, both errors and the deepfakes accepted, with intervals.

A threshold is either known beforehand (from validation pairs), or it has to be found on the judged pairs themselves. In
the second case each draw of the bootstrap finds its own, so that the intervals hold that uncertainty too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bonaface.errors import ConfigError, DataError
from bonaface.metrics import FMRS, Interval, iapar_by_method
from bonaface.metrics.resampling import interval_of, person_weights
from bonaface.verification.threshold_fitting import threshold_at
from bonaface.verification.thresholds import Threshold, Validation, pairs_resolving, select_threshold

__all__ = [
    "Bootstrap",
    "Bounds",
    "add_iapar_by_method",
    "bounds",
    "operating_rows",
    "refuse_unresolved",
    "too_few",
    "with_rule_of_three",
]

Floats = NDArray[np.float64]
Bounds = dict[str, float | None]
"""``estimate``, ``low`` and ``high`` of a share; the ends are None where there are too few people for an interval."""


@dataclass(frozen=True)
class Bootstrap:
    """Bootstrap that intervals come from.

    Args:
        person_0: who is on the first image of each pair, shape ``(n,)``; where people are not known, the pair's number.
        person_1: who is on the second.
        unit: ``people`` or ``pairs``: what is drawn anew.
        replicates: how many draws.
        level: share of draws that an interval holds.
        seed: of the draws; each figure starts from it, so that it does not depend on what else is computed.
    """

    person_0: ArrayLike
    person_1: ArrayLike
    unit: str
    replicates: int = 1000
    level: float = 0.95
    seed: int = 0

    def rng(self) -> np.random.Generator:
        """A new generator from the seed."""
        return np.random.default_rng(self.seed)


def bounds(estimate: float, values: Floats, level: float) -> Bounds:
    """Give an estimate with the ends of its interval; None for both where many draws lack a class (too few people).

    Example:
        >>> bounds(0.5, np.array([0.4, 0.5, 0.6]), 0.95)["high"]
        0.595
        >>> bounds(0.5, np.array([np.nan]), 0.95)
        {'estimate': 0.5, 'low': None, 'high': None}
    """
    try:
        found: Interval = interval_of(estimate, values, level)
    except DataError:
        return {"estimate": estimate, "low": None, "high": None}
    return {"estimate": found.estimate, "low": found.low, "high": found.high}


def with_rule_of_three(found: Bounds, pairs: int) -> Bounds:
    """Widen the interval of a share of which no pair, or every pair, was seen: no draw of the bootstrap differs from that.

    With no error in n independent pairs a rate of up to 3 / n is possible (95 %).

    Args:
        found: estimate and ends.
        pairs: how many the share is of.

    Source: J. A. Hanley and A. Lippman-Hand, "If nothing goes wrong, is everything all right?", JAMA 249, 1983.

    Example:
        >>> with_rule_of_three({"estimate": 0.0, "low": 0.0, "high": 0.0}, 300)
        {'estimate': 0.0, 'low': 0.0, 'high': 0.01}
    """
    possible = min(1.0, 3 / max(1, pairs))
    if found["estimate"] == 0.0:
        return found | {"low": 0.0, "high": max(possible, found["high"] or 0.0)}
    if found["estimate"] == 1.0:
        low = 1.0 if found["low"] is None else found["low"]
        return found | {"low": min(1 - possible, low), "high": 1.0}
    return found


def operating_rows(
    similarity: Floats,
    groups: Mapping[str, NDArray[np.bool_]],
    validation: Validation | None,
    bootstrap: Bootstrap,
    fmrs: Sequence[float] = FMRS,
) -> list[dict[str, Any]]:
    """One row for each false match rate.

    Args:
        similarity: shape ``(n,)``.
        groups: masks of shape ``(n,)``: ``same``, ``impostor``, ``own_fake``, ``other_fake``; or, where kinds are not
            known, ``same`` and ``different``. Rates are of ``impostor`` or else of ``different``.
        validation: thresholds from other pairs; without it they come from the judged pairs, and the rows say so.
        bootstrap: how intervals are found.
        fmrs: wanted rates, as fractions.

    Returns:
        ``fmr_target``, ``source`` (``validation`` or ``judged``); where the rate is resolved ``threshold`` with its
        interval and, for each group, the share accepted (``accepted``) and, for ``same``, refused (``fnmr``), each with
        its interval; ``refused`` says why where it is not.
    """
    against = groups.get("impostor", groups.get("different"))
    judged = int(against.sum()) if against is not None else 0
    rows: list[dict[str, Any]] = []
    able: dict[float, Threshold | None] = {}
    for fmr in fmrs:
        stored = _stored(validation, fmr)
        why = _why_not(fmr, validation, judged) if stored is None else ""
        if why:
            rows.append({"fmr_target": fmr, "source": "judged" if validation is None else "validation", "refused": why})
        else:
            able[fmr] = stored
    if able:
        fixed = [each.threshold for each in able.values() if each is not None]
        found, drawn = _replicated(_Counted(similarity, groups, list(able), fixed), bootstrap)
        for place, (fmr, stored) in enumerate(able.items()):
            row: dict[str, Any] = {"fmr_target": fmr, "source": "judged" if stored is None else "validation"}
            row |= _named(found[place], drawn[:, place], groups, bootstrap.level)
            if stored is not None:
                row["threshold"] = {"estimate": stored.threshold, "low": stored.low, "high": stored.high}
            elif "fmr" in row:  # it is what the threshold was chosen by, so an interval says nothing
                row["fmr"] = {"estimate": row["fmr"]["estimate"], "low": None, "high": None}
            rows.append(row)
    return sorted(rows, key=lambda row: -float(row["fmr_target"]))


def refuse_unresolved(fmrs: Sequence[float], validation: Validation | None, judged: int) -> None:
    """Raise an error where a rate that was asked for can't be stated.

    Args:
        fmrs: that were asked for, in (0, 1).
        validation: as ``operating_rows`` takes it.
        judged: how many pairs of two people are judged.

    Raises:
        ConfigError: naming the rate, and the number of pairs that it would take.
    """
    for fmr in fmrs:
        if _stored(validation, fmr) is None and (why := _why_not(fmr, validation, judged)):
            raise ConfigError(f"fmr {fmr:g}: {why}")


def too_few(fmr: float, pairs: int, whose: str) -> str:
    """Say that pairs of two people are too few for a rate; empty where they are not.

    Example:
        >>> too_few(1e-3, 400, "judged"), too_few(1e-2, 400, "judged")
        ('400 judged impostor pairs cannot resolve it: it takes 1,000', '')
    """
    if pairs and 1 / pairs <= fmr:
        return ""
    return f"{pairs:,} {whose} impostor pairs cannot resolve it: it takes {pairs_resolving(fmr)}"


def _stored(validation: Validation | None, fmr: float) -> Threshold | None:
    """The threshold of the validation pairs for a rate, interpolated between those that are stored; None where there is none."""
    try:
        return None if validation is None else select_threshold(validation, fmr)
    except ConfigError:
        return None


def _why_not(fmr: float, validation: Validation | None, judged: int) -> str:
    """Reason why there is no threshold for a rate; empty where the judged pairs give one."""
    if validation is None:
        return too_few(fmr, judged, "judged")
    known = ", ".join(f"{each.fmr:g}" for each in validation.thresholds)
    return too_few(fmr, validation.impostor_pairs, "validation") or (
        f"the model stores no threshold for it, but for {known or 'no rate'}; give validation pairs"
    )


class _Counted:
    """Weights of the pairs -> a row for each rate: threshold, and the share of each group at or above it."""

    def __init__(
        self,
        similarity: Floats,
        groups: Mapping[str, NDArray[np.bool_]],
        fmrs: Sequence[float],
        fixed: list[float],
    ) -> None:
        order = np.argsort(-similarity, kind="stable")
        self._negated = -similarity[order]
        self._order = order
        self._groups = [mask[order].astype(np.int64) for mask in groups.values()]
        against = groups["impostor"] if "impostor" in groups else groups.get("different", np.zeros(len(order), bool))
        self._against = np.flatnonzero(against[order])
        self._fmrs = fmrs
        self._fixed = fixed

    def __call__(self, weights: NDArray[np.int64]) -> Floats:
        ranked = weights[self._order]
        thresholds = np.array(self._fixed or self._thresholds(ranked))
        rows = np.full((len(thresholds), 1 + len(self._groups)), np.nan)
        if np.isnan(thresholds).any():
            return rows
        rows[:, 0] = thresholds
        accepted = np.searchsorted(self._negated, -thresholds, side="right")  # how many are at or above
        for column, group in enumerate(self._groups, 1):
            cumulated = np.concatenate([[0], np.cumsum(ranked * group)])
            if cumulated[-1]:
                rows[:, column] = cumulated[accepted] / cumulated[-1]
        return rows

    def _thresholds(self, ranked: NDArray[np.int64]) -> list[float]:
        weights = ranked[self._against]
        if not weights.any():
            return [np.nan] * len(self._fmrs)
        scores = -self._negated[self._against]
        return [threshold_at(scores, fmr, weights) for fmr in self._fmrs]


def _replicated(figure: Callable[[NDArray[np.int64]], Floats], bootstrap: Bootstrap) -> tuple[Floats, Floats]:
    """A figure of the pairs as they are, and of each draw: shapes ``(r, c)`` and ``(replicates, r, c)``."""
    estimate = figure(np.ones(np.size(bootstrap.person_0), np.int64))
    draws = person_weights(bootstrap.person_0, bootstrap.person_1, bootstrap.replicates, bootstrap.rng())
    return estimate, np.stack([figure(weights) for weights in draws])


def _named(estimate: Floats, drawn: Floats, groups: Mapping[str, NDArray[np.bool_]], level: float) -> dict[str, Any]:
    row: dict[str, Any] = {"threshold": bounds(float(estimate[0]), drawn[:, 0], level), "accepted": {}}
    for column, (name, mask) in enumerate(groups.items(), 1):
        pairs, share, shares = int(mask.sum()), float(estimate[column]), drawn[:, column]
        row["accepted"][name] = with_rule_of_three(bounds(share, shares, level), pairs)
        if name == "same":
            row["fnmr"] = with_rule_of_three(bounds(1 - share, 1 - shares, level), pairs)
    for short, name in (("fmr", "impostor"), ("fmr", "different"), ("iapar", "own_fake")):
        if name in groups:
            row[short] = row["accepted"][name]
    return row


def add_iapar_by_method(
    rows: list[dict[str, Any]], similarity: Floats, kind: ArrayLike, method_0: ArrayLike, method_1: ArrayLike
) -> None:
    """Put ``iapar_by_method``, worst first, into each row that has a threshold."""
    for row in rows:
        if "threshold" in row:
            threshold = row["threshold"]["estimate"]
            row["iapar_by_method"] = iapar_by_method(similarity, kind, method_0, method_1, threshold)
