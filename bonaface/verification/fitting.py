"""Calibrations fitted on labelled pairs, by logistic regression that sees through wrong labels, and moved to other cameras."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bonaface.verification.calibration import Calibration, Logistic
from bonaface.verification.embeddings import Embeddings, cosine

__all__ = ["DOUBT", "FALSE_ALARMS", "PRIOR", "adapted", "calibrate", "fit_logistic"]

Floats = NDArray[np.float64]

PRIOR = -1.0
"""Log-odds that two photos show one person before they are seen: chosen with ``DOUBT`` on validation pairs; see docs/results.md."""

DOUBT = 0.05
"""Least probability that neither photo is a deepfake: chosen on validation pairs, where lower values cost errors against
impostors and higher ones let deepfakes pass at thresholds for a false match rate of 1 %."""

FALSE_ALARMS = 0.01
"""Share of the genuine validation photos that are called deepfakes (BPCER of ISO/IEC 30107-3): what the threshold is set by."""

_BELIEVED = 0.95
"""Share of a user's own genuine photos that an adapted calibration believes, and the probability at which it does."""


def calibrate(
    a: Embeddings, b: Embeddings, label: NDArray[Any], fake_a: NDArray[Any], fake_b: NDArray[Any]
) -> Calibration:
    """Fits a calibration on labelled pairs.

    Args:
        a: first photos of the pairs, ``n`` of them.
        b: second photos.
        label: 1 for two real photos of one person, shape ``(n,)``.
        fake_a: whether the first photo is a deepfake, shape ``(n,)``.
        fake_b: whether the second one is.

    Raises:
        ValueError: if there is no same pair, or no other pair to set against it.
    """
    same, fake = np.asarray(label) == 1, np.asarray(fake_a, dtype=bool) | np.asarray(fake_b, dtype=bool)
    cosines = cosine(a, b)
    impostor = ~same & ~fake
    against = impostor if impostor.any() else ~same
    if not same.any() or not against.any():
        raise ValueError("calibration needs pairs of the same person and pairs of different people")
    who, mislabelled = fit_logistic(cosines[same], cosines[against], noise=True)
    if a.authenticity is None or b.authenticity is None:
        return Calibration(who, None, mislabelled)
    log_odds = np.concatenate([a.authenticity, b.authenticity])
    forged = np.concatenate([fake_a, fake_b]).astype(bool)
    genuine = Logistic(1.0, 0.0)
    if forged.any():
        genuine, _ = fit_logistic(log_odds[~forged], log_odds[forged], noise=False)
    lowest = float(np.quantile(genuine.log_odds(log_odds[~forged]), FALSE_ALARMS))
    return Calibration(who, genuine, mislabelled, min(0.0, lowest), PRIOR, DOUBT)


def adapted(calibration: Calibration, log_odds: NDArray[Any]) -> Calibration:
    """A calibration for cameras that the model does not know, from genuine photos of theirs.

    A network that judges authenticity takes another camera's photos for deepfakes. Calibrated log-odds are moved up until 19 of 20
    of these photos have P(genuine) >= 0.95, so that identity decides between them; never down.

    Args:
        calibration: of a model that judges authenticity.
        log_odds: raw ones of genuine photos, finite, shape ``(n,)``, n >= 1.

    Raises:
        ValueError: if the calibration has nothing on authenticity.

    Example:
        >>> strange = np.linspace(-2.0, 4.0, 100)
        >>> moved = adapted(Calibration(Logistic(10.0, 0.0), Logistic(1.0, 0.0)), strange).genuine
        >>> round(float(np.mean(1 / (1 + np.exp(-moved.log_odds(strange))) >= 0.95)), 2)
        0.95
    """
    if calibration.genuine is None:
        raise ValueError("only a calibration of authenticity can be adapted")
    lowest = float(np.quantile(calibration.genuine.log_odds(log_odds), 1 - _BELIEVED))
    shift = max(0.0, float(np.log(_BELIEVED / (1 - _BELIEVED))) - lowest)
    return replace(calibration, genuine=replace(calibration.genuine, bias=calibration.genuine.bias + shift))


def fit_logistic(positive: ArrayLike, negative: ArrayLike, noise: bool) -> tuple[Logistic, float]:
    """Logistic regression by maximum likelihood, both classes weighing the same, that sees through wrong labels.

    Face data is never clean: where a share ``e`` of the positives are really negatives, positives have the density
    ``(1 - e) f1 + e f0``, and with the log-likelihood ratio ``l = log f1 / f0`` linear in the score, a score's posterior is
    ``((1 - e) exp(l) + e) / ((1 - e) exp(l) + e + 1)``. Without that term a tenth of wrong labels would flatten the slope and make
    identity count for too little beside authenticity. With ``e = 0`` it is plain logistic regression.

    Args:
        positive: scores of the one class, shape ``(n,)``, n >= 1. Higher is more positive.
        negative: scores of the other, shape ``(m,)``, m >= 1; their labels are right.
        noise: whether some of the positives may be negatives.

    Returns:
        The score's log-likelihood ratio, its slope positive, and the share ``e`` in [0, 0.5]; 0 without ``noise``.

    Example:
        >>> scores = np.random.default_rng(0).normal(size=(2, 9000)) + [[1], [-1]]  # their ratio is 2 x
        >>> scores[0, :900] -= 2
        >>> found, share = fit_logistic(*scores, noise=True)
        >>> round(found.slope), round(share, 1)
        (2, 0.1)
    """
    from scipy.optimize import minimize  # takes a quarter of a second to import, and most commands fit nothing

    ones, zeros = np.asarray(positive, dtype=np.float64), np.asarray(negative, dtype=np.float64)
    scores = np.concatenate([ones, zeros])
    centre, scale = float(scores.mean()), float(scores.std()) or 1.0
    ones, zeros = (ones - centre) / scale, (zeros - centre) / scale

    def loss(parameters: Floats) -> float:
        slope, bias, share = np.exp(parameters[0]), parameters[1], _share(parameters[2]) if noise else 0.0
        log_share = np.log(share) if share else -np.inf

        def mixed(x: Floats) -> Floats:  # log of (1 - e) exp(l) + e
            ratio: Floats = np.logaddexp(np.log1p(-share) + slope * x + bias, log_share)
            return ratio

        wrong = np.logaddexp(0.0, -mixed(ones)).mean() + np.logaddexp(0.0, mixed(zeros)).mean()
        return float(0.5 * wrong + 1e-4 * parameters[0] ** 2)

    found = minimize(
        loss, np.array([0.5, 0.0, -3.0]), method="Nelder-Mead", options={"maxiter": 2000, "xatol": 1e-5, "fatol": 1e-9}
    ).x
    slope = float(np.exp(found[0])) / scale
    return Logistic(slope, float(found[1]) - slope * centre), _share(found[2]) if noise else 0.0


def _share(parameter: float) -> float:
    """Half a logistic function: any number to a share in [0, 0.5]."""
    return float(0.5 * np.exp(-np.logaddexp(0.0, -parameter)))
