"""From embeddings to similarities: the one place that says how alike two photos are.

For a plain model similarity is the cosine. For a model that also judges authenticity it is
``log P(same person) + log P(a genuine) + log P(b genuine)``, each probability by logistic regression on validation pairs
(Platt 1999; fused probabilities rather than raw scores, as the SASV challenge of 2022 found they must be).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

__all__ = ["Calibration", "Embeddings", "Logistic", "calibrate", "similarity"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Embeddings:
    """What a model says of ``n`` photos.

    Args:
        identity: unit vectors, shape ``(n, dim)``.
        authenticity: log-odds that each photo is genuine, shape ``(n,)``; None where the model does not judge it.
    """

    identity: NDArray[np.float32]
    authenticity: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.identity)

    def take(self, rows: NDArray[np.int64]) -> Embeddings:
        """The photos of some rows, in that order."""
        return Embeddings(self.identity[rows], None if self.authenticity is None else self.authenticity[rows])


@dataclass(frozen=True)
class Logistic:
    """``P = 1 / (1 + exp(-(slope * score + bias)))``, for equally frequent classes."""

    slope: float
    bias: float

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
        same: cosine to the log-odds that two genuine photos show one person.
        genuine: a photo's raw log-odds to calibrated ones; None for a plain model.
    """

    same: Logistic
    genuine: Logistic | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """The inverse of ``as_dict``."""
        genuine = values.get("genuine")
        return cls(Logistic(**values["same"]), None if genuine is None else Logistic(**genuine))


def similarity(a: Embeddings, b: Embeddings, calibration: Calibration | None) -> Floats:
    """How alike the photos of ``a`` are to those of ``b``, row by row, shape ``(n,)``. Higher is more alike.

    Args:
        a: one photo of each pair.
        b: the other.
        calibration: needed where the embeddings judge authenticity.

    Raises:
        ValueError: if they do, and there is none.

    Example:
        >>> a = Embeddings(np.float32([[1, 0], [0, 1]]))
        >>> similarity(a, Embeddings(np.float32([[1, 0], [1, 0]])), None)
        array([1., 0.])
    """
    cosine: Floats = np.einsum("nd,nd->n", a.identity, b.identity, dtype=np.float64)  # (n,)
    if a.authenticity is None or b.authenticity is None:
        return cosine
    if calibration is None or calibration.genuine is None:
        raise ValueError("embeddings with authenticity need a calibration of it")
    genuine = calibration.genuine
    return (
        calibration.same.log_probability(cosine)
        + genuine.log_probability(a.authenticity)
        + genuine.log_probability(b.authenticity)
    )


def calibrate(a: Embeddings, b: Embeddings, kind: NDArray[np.str_]) -> Calibration:
    """Fits a calibration on labelled pairs.

    Args:
        a: first photos of the pairs, always real where the pair is same or impostor.
        b: second photos.
        kind: ``same``, ``impostor``, ``own_fake`` or ``other_fake`` (then ``b`` is the deepfake), shape ``(n,)``.

    Raises:
        ValueError: if there is no same pair, or no other pair to set against it.
    """
    same, impostor = kind == "same", kind == "impostor"
    fake = (kind == "own_fake") | (kind == "other_fake")
    cosine = similarity(Embeddings(a.identity), Embeddings(b.identity), None)
    against = impostor if impostor.any() else fake
    if not same.any() or not against.any():
        raise ValueError("calibration needs pairs of the same person and pairs of different people")
    genuine = None
    if a.authenticity is not None and b.authenticity is not None and fake.any():
        genuine = _logistic(np.concatenate([a.authenticity, b.authenticity[~fake]]), b.authenticity[fake])
    elif a.authenticity is not None:
        genuine = Logistic(1.0, 0.0)
    return Calibration(_logistic(cosine[same], cosine[against]), genuine)


def _logistic(positive: NDArray[Any], negative: NDArray[Any]) -> Logistic:
    """Logistic regression of one score, both classes weighing the same; the slope is never negative."""
    scores = np.concatenate([positive, negative]).astype(np.float64)
    scale = float(scores.std()) or 1.0
    target = np.concatenate([np.ones(len(positive)), np.zeros(len(negative))])
    model = LogisticRegression(C=100.0, class_weight="balanced").fit(scores[:, None] / scale, target)
    slope = max(float(model.coef_[0, 0]), 1e-6) / scale
    return Logistic(slope, float(model.intercept_[0]))
