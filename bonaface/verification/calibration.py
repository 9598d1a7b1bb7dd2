"""From scores to probabilities: what a model's cosines and log-odds mean, as it is stored beside its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ODDS_RANGE", "Calibration", "Logistic", "OwnFakeRatio", "finite"]

Floats = NDArray[np.float64]

ODDS_RANGE = (-5.0, 4.0)
"""Range that the log-odds that neither photo is a deepfake are clipped to as evidence: a network errs also where it is sure, most
of all on photos of cameras that it never saw."""


def finite(name: str, value: Any) -> float:
    """Take a number from a file.

    Raises:
        TypeError: if it is no number.
        ValueError: if it is not finite.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name}: expected a number, got {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{name}: expected a finite number, got {value}")
    return float(value)


@dataclass(frozen=True)
class Logistic:
    """``P = 1 / (1 + exp(-(slope * score + bias)))``, for equally frequent classes."""

    slope: float
    bias: float

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Logistic:
        """Read slope and bias.

        Raises:
            KeyError, TypeError, ValueError: if one is missing, or is no number or not finite, or the slope is not above 0.
        """
        read = cls(finite("slope", values["slope"]), finite("bias", values["bias"]))
        if read.slope <= 0:
            raise ValueError(f"slope: expected a number above 0, got {read.slope:g}")
        return read

    def log_odds(self, score: NDArray[Any]) -> Floats:
        """Calibrated log-odds of scores."""
        return self.slope * np.asarray(score, dtype=np.float64) + self.bias

    def log_probability(self, score: NDArray[Any]) -> Floats:
        """``log P``, finite for any finite score."""
        log_p: Floats = -np.logaddexp(0.0, -self.log_odds(score))
        return log_p


@dataclass(frozen=True)
class OwnFakeRatio:
    """Log-likelihood ratio of two genuine photos of one person against a genuine photo and a deepfake of the same person.

    ``cosine * c + authenticity * clip(g, low, high) + bias`` of the cosine ``c`` and the log-odds ``g`` that neither photo is a
    deepfake. A deepfake that others make is less like the person than the person is, so the cosine is evidence too.

    Args:
        cosine: weight of the cosine, >= 0.
        authenticity: weight of the log-odds, >= 0.
        bias: for equally frequent classes.
        low: lower end of the range that the log-odds are clipped to.
        high: upper end.
    """

    cosine: float
    authenticity: float
    bias: float
    low: float = ODDS_RANGE[0]
    high: float = ODDS_RANGE[1]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> OwnFakeRatio:
        """Read the numbers by name.

        Raises:
            KeyError, TypeError, ValueError: if one is missing, or is no number or not finite, or a weight is negative.
        """
        ratio = cls(*(finite(name, values[name]) for name in ("cosine", "authenticity", "bias", "low", "high")))
        if min(ratio.cosine, ratio.authenticity) < 0:
            raise ValueError(f"weights: expected at least 0, got {ratio.cosine:g} and {ratio.authenticity:g}")
        if ratio.low > ratio.high:
            raise ValueError(f"low: expected at most high, {ratio.high:g}, got {ratio.low:g}")
        return ratio

    def log_odds(self, cosine: NDArray[Any], neither: NDArray[Any]) -> Floats:
        """The ratio, of cosines and log-odds that neither photo is a deepfake, of any shapes that broadcast."""
        ratio: Floats = self.cosine * cosine + self.authenticity * np.clip(neither, self.low, self.high) + self.bias
        return ratio


@dataclass(frozen=True)
class Calibration:
    """Logistic regressions fitted on validation pairs.

    Args:
        same: cosine to the log-odds that two genuine photos show one person, at even prior odds.
        genuine: a photo's raw log-odds to calibrated ones; None for a plain model.
        mislabelled: estimated share of the pairs called same that show two people.
        forged_below: calibrated log-odds below which a photo is called a deepfake; at most 0, even odds.
        prior: log-odds of one person before the photos are seen, in the similarity; 0 where a file does not say.
        doubt: least probability that neither photo is a deepfake, in the similarity; 0.2 where a file does not say.
        own_fake: evidence against a deepfake of the same person; None for a plain model, for one that was calibrated without such
            deepfakes, and for those calibrated by bonaface 0.1, whose similarity is made of ``prior`` and ``doubt``.
        measured_on: what P(genuine) was measured on, in a few words.
    """

    same: Logistic
    genuine: Logistic | None = None
    mislabelled: float = 0.0
    forged_below: float = 0.0
    prior: float = 0.0
    doubt: float = 0.2
    own_fake: OwnFakeRatio | None = None
    measured_on: str = "validation photos of the training"

    def log_same(self, cosine: NDArray[Any]) -> Floats:
        """``log P(same person)`` at the prior odds of the similarity."""
        log_p: Floats = -np.logaddexp(0.0, -(self.same.log_odds(cosine) + self.prior))
        return log_p

    def called_fake(self, log_odds: NDArray[Any]) -> NDArray[np.bool_]:
        """Photos that are classified as deepfakes, by their raw log-odds, of any shape; none where authenticity is not judged."""
        if self.genuine is None:
            return np.zeros(np.shape(log_odds), dtype=bool)
        called: NDArray[np.bool_] = self.genuine.log_odds(log_odds) < self.forged_below
        return called

    def p_genuine(self, log_odds: NDArray[Any]) -> Floats | None:
        """P(genuine) of photos by their raw log-odds, of any shape, at even prior odds; None where authenticity is not judged."""
        return None if self.genuine is None else np.exp(self.genuine.log_probability(log_odds))

    def neither_fake(self, odds_a: NDArray[Any], odds_b: NDArray[Any]) -> Floats:
        """Log-odds that neither photo of a pair is a deepfake, where at most one is, by their raw log-odds.

        Raises:
            ValueError: if the calibration has nothing on authenticity.
        """
        if self.genuine is None:
            raise ValueError("embeddings with authenticity need a calibration of it")
        odds: Floats = -np.logaddexp(-self.genuine.log_odds(odds_a), -self.genuine.log_odds(odds_b))
        return odds

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Read what ``as_dict`` returns.

        Raises:
            KeyError, TypeError, ValueError: if a number is missing, or is none or not finite.
        """
        genuine = values.get("genuine")
        names = ("mislabelled", "forged_below", "prior", "doubt")
        numbers = {name: finite(name, values[name]) for name in names if name in values}
        for name in ("mislabelled", "doubt"):
            if not 0 <= numbers.get(name, 0) <= 1:
                raise ValueError(f"{name}: expected a share from 0 to 1, got {numbers[name]:g}")
        own_fake = values.get("own_fake")
        said = values.get("measured_on", cls.measured_on)
        if not isinstance(said, str):
            raise TypeError(f"measured_on: expected a text, got {said!r}")
        return cls(
            Logistic.from_dict(values["same"]),
            None if genuine is None else Logistic.from_dict(genuine),
            **numbers,
            own_fake=None if own_fake is None else OwnFakeRatio.from_dict(own_fake),
            measured_on=said,
        )
