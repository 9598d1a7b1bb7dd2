"""From scores to probabilities: what a model's cosines and log-odds mean, as it is stored beside its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Calibration", "Logistic", "finite"]

Floats = NDArray[np.float64]


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
            KeyError, TypeError, ValueError: if one is missing, or is no number or not finite.
        """
        return cls(finite("slope", values["slope"]), finite("bias", values["bias"]))

    def log_odds(self, score: NDArray[Any]) -> Floats:
        """Calibrated log-odds of scores."""
        return self.slope * np.asarray(score, dtype=np.float64) + self.bias

    def log_probability(self, score: NDArray[Any]) -> Floats:
        """``log P``, finite for any finite score."""
        log_p: Floats = -np.logaddexp(0.0, -self.log_odds(score))
        return log_p


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
    """

    same: Logistic
    genuine: Logistic | None = None
    mislabelled: float = 0.0
    forged_below: float = 0.0
    prior: float = 0.0
    doubt: float = 0.2

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
        same = Logistic.from_dict(values["same"])
        return cls(same, None if genuine is None else Logistic.from_dict(genuine), **numbers)
