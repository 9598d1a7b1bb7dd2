"""Thresholds by false match rate, as a model stores them.

A threshold that is chosen on the pairs it is judged on flatters. So a run stores those of its validation photos, and everything
that decides takes them from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bonaface.errors import ConfigError
from bonaface.verification.calibration import Logistic

__all__ = ["Threshold", "Validation", "select_threshold"]


@dataclass(frozen=True)
class Threshold:
    """The lowest threshold with a wanted false match rate.

    Args:
        fmr: the wanted rate, a fraction.
        threshold: pairs at or above it are accepted.
        low: lower end of its 95 % interval (bootstrap over people).
        high: upper end.
        impostor_pairs: how many pairs of two people it rests on.
    """

    fmr: float
    threshold: float
    low: float
    high: float
    impostor_pairs: int


@dataclass(frozen=True)
class Validation:
    """Thresholds and the map to log-likelihood ratios, both from pairs that are not judged.

    Args:
        thresholds: for those rates that the pairs resolve.
        llr: similarity to the log-likelihood ratio of "two real photos of one person" against everything else.
        impostor_pairs: how many pairs of two people the thresholds rest on.
    """

    thresholds: tuple[Threshold, ...]
    llr: Logistic | None
    impostor_pairs: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Validation:
        """The inverse of ``as_dict``.

        Raises:
            KeyError, TypeError: if they are of another form.
        """
        llr = values["llr"]
        thresholds = tuple(Threshold(**each) for each in values["thresholds"])
        return cls(thresholds, None if llr is None else Logistic(**llr), int(values["impostor_pairs"]))


def select_threshold(validation: Validation | None, fmr: float) -> Threshold:
    """The threshold that a model stores for a false match rate: the only look-up by rate.

    Args:
        validation: of the model; None where it has no thresholds.
        fmr: false match rate, a fraction.

    Raises:
        ConfigError: if there is no threshold for that rate.

    Example:
        >>> stored = Validation((Threshold(0.01, 0.4, 0.3, 0.5, 1000),), None, 1000)
        >>> select_threshold(stored, 0.01).threshold
        0.4
    """
    known = () if validation is None else validation.thresholds
    for threshold in known:
        if np.isclose(threshold.fmr, fmr, rtol=1e-6, atol=0):
            return threshold
    rates = ", ".join(f"{each.fmr:g}" for each in known)
    raise ConfigError(f"fmr {fmr:g}: the model has thresholds for {rates or 'no rate at all'}; expected one of them")
