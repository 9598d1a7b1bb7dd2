"""From embeddings to similarities: the one place that says how alike two photos are.

For a plain model similarity is the cosine. For a model that also judges authenticity it is the log-odds of "two genuine photos
of one person" against its two rivals, "two people" and "a photo and a deepfake of the same person", each as likely as the other
before the photos are seen:

    similarity = -log(exp(-L_impostor) + exp(-L_own))

``L_impostor`` is the log-likelihood ratio against two people, by the cosine; ``L_own`` that against a deepfake, by the cosine and
the log-odds that neither photo is one, which are clipped. So where authenticity says nothing, pairs are ranked as by identity
alone. Both are logistic regressions on validation pairs (Platt 1999), with each source of photos weighing the same.

Models calibrated by bonaface 0.1, or without deepfakes, have no ``L_own``; for them it is
``log P(same person) + log P(neither photo is a deepfake)``.
At most one photo of a pair is taken to be a deepfake, so "neither", "the first" and "the second" exclude one another, and with
calibrated log-odds ``g`` of being genuine ``P(neither) = 1 / (1 + exp(-g_a) + exp(-g_b))``. It is never believed to be below
``DOUBT``: a network that judges authenticity errs, also where it is sure, and with a product of two such probabilities a few real
photos that it takes for fakes fall below other people, so that the error rate against impostors triples. For the same reason
two photos show one person less often than not before they are seen, ``PRIOR``: else P(same person) is near 1 for a look-alike
as for the very person, and a doubted photo of the latter falls below the former.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonaface.verification.calibration import Calibration
from bonaface.verification.embeddings import Embeddings, cosine

__all__ = ["fused", "passing", "similarity", "weighed"]

Floats = NDArray[np.float64]


def similarity(a: Embeddings, b: Embeddings, calibration: Calibration | None) -> Floats:
    """Similarity of the photos of ``a`` to those of ``b``, row by row, shape ``(n,)``. Higher is more alike.

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
    cosines = cosine(a, b)
    if a.authenticity is None or b.authenticity is None:
        return cosines
    return fused(calibration, cosines, a.authenticity, b.authenticity)


def passing(scores: NDArray[Any], a: Embeddings, b: Embeddings, calibration: Calibration | None) -> Floats:
    """The similarities that thresholds are asked about: minus infinity where a photo is called a deepfake, as it passes at none.

    Args:
        scores: of the photos of ``a`` to those of ``b``, shape ``(n,)``.
        a: one photo of each pair.
        b: the other.
        calibration: says which photos are called deepfakes.
    """
    called = [replace(side, calibration=calibration).called_fake for side in (a, b)]
    return np.where(called[0] | called[1], -np.inf, scores)


def fused(calibration: Calibration | None, cosine: NDArray[Any], odds_a: NDArray[Any], odds_b: NDArray[Any]) -> Floats:
    """The similarity of cosines and raw log-odds, of any shapes that broadcast.

    Raises:
        ValueError: if the calibration has nothing on authenticity.

    Example:
        >>> from bonaface.verification.calibration import Logistic
        >>> sure = Calibration(Logistic(10.0, 0.0), Logistic(1.0, 0.0))
        >>> float(fused(sure, np.array(1.0), np.array(9.0), np.array(-90.0)).round(3)), round(float(np.log(sure.doubt)), 3)
        (-1.609, -1.609)
    """
    if calibration is None:
        raise ValueError("embeddings with authenticity need a calibration of it")
    with np.errstate(invalid="ignore"):  # the NaN of a photo that was not judged stays one, and needs no warning
        return weighed(calibration, cosine, calibration.neither_fake(odds_a, odds_b))


def weighed(calibration: Calibration, cosine: NDArray[Any], neither: NDArray[Any]) -> Floats:
    """The similarity of cosines and of log-odds that neither photo is a deepfake; infinite ones: surely genuine.

    Example:
        >>> from bonaface.verification.calibration import Logistic, OwnFakeRatio
        >>> known = Calibration(Logistic(10.0, 0.0), Logistic(1.0, 0.0), own_fake=OwnFakeRatio(4.0, 0.5, 0.0))
        >>> weighed(known, np.array(1.0), np.array([np.inf, -9.0])).round(3)  # -log(e^-10 + e^-6), -log(e^-10 + e^-1.5)
        array([5.982, 1.5  ])
    """
    if calibration.own_fake is not None:
        impostor = calibration.same.log_odds(cosine)
        scores: Floats = -np.logaddexp(-impostor, -calibration.own_fake.log_odds(cosine, neither))
        return scores
    believed = np.logaddexp(np.log1p(-calibration.doubt) - np.logaddexp(0.0, -neither), np.log(calibration.doubt))
    older: Floats = calibration.log_same(cosine) + believed
    return older
