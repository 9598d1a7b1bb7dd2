"""Thresholds by false match rate, as a model stores them.

A threshold that is chosen on the pairs it is judged on flatters. So a run stores those of its validation photos, and everything
that decides takes them from there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from numbers import Real
from typing import Any

import numpy as np

from bonaface.errors import ConfigError
from bonaface.verification.calibration import Logistic, finite

__all__ = ["CALIBRATE", "DEFAULT_FMR", "Threshold", "Validation", "pairs_resolving", "rates_of", "select_threshold"]

CALIBRATE = "bonaface calibrate writes one that has thresholds for photos of your own, which --fmr chooses among"
"""What to do about a model that has no calibration."""
DEFAULT_FMR = 1e-3
"""False match rate that decides where none is asked for, and the model's pairs resolve it."""
_NO_ONE_MEASURES = 1e-15


@dataclass(frozen=True)
class Threshold:
    """The lowest threshold with a wanted false match rate.

    Args:
        fmr: the wanted rate, a fraction.
        threshold: pairs at or above it are accepted.
        low: lower end of its 95 % interval (bootstrap over people); None where there are too few people.
        high: upper end, or None.
        impostor_pairs: how many pairs of two people it rests on.
    """

    fmr: float
    threshold: float
    low: float | None
    high: float | None
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

    def score(self, similarity: float) -> float | None:
        """The similarity from 0 to 100, to show to people; None where the map is not known.

        It is 100 times the probability that a pair so alike is two genuine photos of one person, where such pairs and all others
        are equally frequent.

        Example:
            >>> Validation((), Logistic(2.0, 0.0), 0).score(0.0)
            50.0
        """
        return None if self.llr is None else 100 * float(np.exp(self.llr.log_probability(np.array(similarity))))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Validation:
        """Read what ``as_dict`` returns.

        Raises:
            KeyError, TypeError, ValueError: if they are of another form, a number is not finite, or the thresholds are in disorder.
        """
        llr = values["llr"]
        thresholds = tuple(
            Threshold(
                finite("fmr", each["fmr"]),
                finite("threshold", each["threshold"]),
                None if each["low"] is None else finite("low", each["low"]),
                None if each["high"] is None else finite("high", each["high"]),
                int(each["impostor_pairs"]),
            )
            for each in values["thresholds"]
        )
        _refuse_disorder(thresholds)
        return cls(thresholds, None if llr is None else Logistic.from_dict(llr), int(values["impostor_pairs"]))


def _refuse_disorder(thresholds: Sequence[Threshold]) -> None:
    """Refuse rates that are none, and a lower rate with a lower threshold, which would let more pairs pass."""
    falling = sorted(thresholds, key=lambda each: -each.fmr)
    for each in falling:
        if not 0 < each.fmr <= 1:
            raise ValueError(f"fmr: expected a rate above 0 and at most 1, got {each.fmr:g}")
        if each.impostor_pairs < 0:
            raise ValueError(f"impostor_pairs: expected a number of pairs, got {each.impostor_pairs}")
    for one, stricter in pairwise(falling):
        if stricter.threshold < one.threshold:
            raise ValueError(f"the threshold of fmr {stricter.fmr:g} is below that of {one.fmr:g}")


def rates_of(fmr: float | Iterable[float]) -> tuple[float, ...]:
    """One false match rate or several as floats, numpy's numbers among them.

    Example:
        >>> rates_of(0.01), rates_of([1, 0.5])
        ((0.01,), (1.0, 0.5))
    """
    return tuple(map(float, fmr)) if isinstance(fmr, Iterable) else (float(fmr),)


def select_threshold(validation: Validation | None, fmr: float | None) -> Threshold:
    """The threshold of a model for a false match rate: the only look-up by rate.

    Between two rates that the model stores, the threshold and its interval are interpolated in the rate's logarithm.

    Args:
        validation: of the model; None where it has no thresholds.
        fmr: false match rate, a fraction, between the lowest and the highest that the model stores; None is 0.1 %, or the lowest
            of the model where that is higher.

    Raises:
        ConfigError: if the model's validation pairs do not resolve that rate.

    Example:
        >>> stored = Validation((Threshold(0.01, 0.4, 0.3, 0.5, 1000), Threshold(0.001, 0.6, 0.5, 0.8, 1000)), None, 1000)
        >>> select_threshold(stored, 0.01).threshold, round(select_threshold(stored, 10**-2.5).threshold, 3)
        (0.4, 0.5)
        >>> select_threshold(stored, None).fmr, select_threshold(Validation(stored.thresholds[:1], None, 1000), None).fmr
        (0.001, 0.01)
    """
    if fmr is None:
        stored = () if validation is None else validation.thresholds
        fmr = max(DEFAULT_FMR, min((each.fmr for each in stored), default=DEFAULT_FMR))
    if not isinstance(fmr, Real):
        raise TypeError(f"fmr: expected a number such as 0.001, got {fmr!r:.40}")
    known = sorted(() if validation is None else validation.thresholds, key=lambda each: each.fmr)
    for threshold in known:
        if math.isclose(threshold.fmr, fmr, rel_tol=1e-6):
            return threshold
    if not known:
        raise ConfigError(f"fmr {fmr:g}: the model stores no thresholds; {CALIBRATE}")
    if not known[0].fmr < fmr < known[-1].fmr:
        raise ConfigError(f"fmr {fmr:g}: {_unresolved(known, fmr)}")
    return _between(known, fmr)


def pairs_resolving(fmr: float) -> str:
    """How many impostor pairs it takes to see a rate once, in words.

    Example:
        >>> pairs_resolving(1e-6), pairs_resolving(1e-300)
        ('1,000,000', '1 / 1e-300')
    """
    return f"{math.ceil(1 / fmr - 1e-9):,}" if fmr > _NO_ONE_MEASURES else f"1 / {fmr:g}"


def _unresolved(known: Sequence[Threshold], fmr: float) -> str:
    low, high = known[0].fmr, known[-1].fmr
    if 0 < fmr < low:
        there = known[0].impostor_pairs
        pairs = pairs_resolving(fmr)
        return f"the model's thresholds reach down to {low:g}: it would take {pairs} impostor pairs, and they rest on {there:,}"
    return f"expected a rate from {low:g} to {high:g}, which the model has thresholds for"


def _between(known: Sequence[Threshold], fmr: float) -> Threshold:
    above = next(place for place, each in enumerate(known) if each.fmr > fmr)
    a, b = known[above - 1], known[above]
    share = math.log(fmr / a.fmr) / math.log(b.fmr / a.fmr)
    low, high = (
        None if x is None or y is None else (1 - share) * x + share * y for x, y in ((a.low, b.low), (a.high, b.high))
    )
    threshold = (1 - share) * a.threshold + share * b.threshold
    return Threshold(fmr, threshold, low, high, min(a.impostor_pairs, b.impostor_pairs))
