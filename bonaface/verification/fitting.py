"""Calibrations fitted on labelled pairs, by logistic regression that sees through wrong labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bonaface.verification.calibration import ODDS_RANGE, Calibration, Logistic, OwnFakeRatio
from bonaface.verification.embeddings import Embeddings, cosine

__all__ = [
    "DOUBT",
    "FALSE_ALARMS",
    "PRIOR",
    "TRUST",
    "authenticity_threshold",
    "calibrate",
    "fit_logistic",
    "fit_own_fake",
    "with_own_fake",
]

Floats = NDArray[np.float64]

PRIOR = -1.0
"""Log-odds that two photos show one person before they are seen: chosen with ``DOUBT`` on validation pairs; see docs/results.md."""

DOUBT = 0.05
"""Least probability that neither photo is a deepfake: chosen on validation pairs, where lower values cost errors against
impostors and higher ones let deepfakes pass at thresholds for a false match rate of 1 %."""

TRUST = 0.65
"""Share of the fitted weight of authenticity that is kept: log-odds are worth less on photos of a source that was left out. Chosen
leaving sources out, by the worst regret; see docs/lab/fusion.md."""

FALSE_ALARMS = 0.01
"""Share of the genuine validation photos that are called deepfakes (BPCER of ISO/IEC 30107-3): what the threshold is set by."""


def calibrate(
    a: Embeddings,
    b: Embeddings,
    kind: NDArray[np.str_],
    fake_a: NDArray[Any],
    fake_b: NDArray[Any],
    source: NDArray[Any] | None = None,
) -> Calibration:
    """Fits a calibration on labelled pairs.

    Args:
        a: first photos of the pairs, ``n`` of them.
        b: second photos.
        kind: one of ``KINDS`` for each pair, shape ``(n,)``.
        fake_a: whether the first photo is a deepfake, shape ``(n,)``.
        fake_b: whether the second one is.
        source: where each pair's photos are from, shape ``(n,)``; each source weighs the same. One source where it is left out.

    Raises:
        ValueError: if there is no same pair, or no other pair to set against it.
    """
    same, impostor = kind == "same", kind == "impostor"
    source = np.zeros(len(kind), np.int64) if source is None else np.unique(source, return_inverse=True)[1]
    cosines = cosine(a, b)
    against = impostor if impostor.any() else ~same
    if not same.any() or not against.any():
        raise ValueError("calibration needs pairs of the same person and pairs of different people")
    weights = _by_source(source[same]), _by_source(source[against])
    who, mislabelled = fit_logistic(cosines[same], cosines[against], noise=True, weights=weights)
    if a.authenticity is None or b.authenticity is None:
        return Calibration(who, None, mislabelled)
    odds, whence = np.concatenate([a.authenticity, b.authenticity]), np.concatenate([source, source])
    forged = np.concatenate([fake_a, fake_b]).astype(bool)
    weights = _by_source(whence[~forged]), _by_source(whence[forged])
    genuine = Logistic(1.0, 0.0)
    if forged.any():
        genuine, _ = fit_logistic(odds[~forged], odds[forged], noise=False, weights=weights)
    lowest = authenticity_threshold(genuine, odds[~forged], weights[0])
    return with_own_fake(Calibration(who, genuine, mislabelled, lowest, PRIOR, DOUBT), a, b, kind, source)


def authenticity_threshold(genuine: Logistic, log_odds: NDArray[Any], weights: Floats | None = None) -> float:
    """Calibrated log-odds below which a photo is called a deepfake: 1 % of genuine ones are (BPCER), and none above even odds.

    Args:
        genuine: raw log-odds to calibrated ones.
        log_odds: raw ones of genuine photos, shape ``(n,)``, n >= 1.
        weights: of the photos, shape ``(n,)``; the same for all where they are left out.
    """
    each = np.ones(len(log_odds)) if weights is None else weights
    return min(0.0, _quantile(genuine.log_odds(log_odds), FALSE_ALARMS, each))


def with_own_fake(
    calibration: Calibration, a: Embeddings, b: Embeddings, kind: NDArray[np.str_], source: NDArray[np.int64]
) -> Calibration:
    """A calibration with its evidence against deepfakes of the same person, fitted on those pairs; the same without any.

    Args:
        calibration: of a model that judges authenticity.
        a: first photos of the pairs, ``n`` of them.
        b: second photos.
        kind: one of ``KINDS`` for each pair, shape ``(n,)``.
        source: number of each pair's source, shape ``(n,)``; each weighs the same.
    """
    same, own = kind == "same", kind == "own_fake"
    if not own.any() or a.authenticity is None or b.authenticity is None:
        return calibration
    evidence = np.column_stack([cosine(a, b), calibration.neither_fake(a.authenticity, b.authenticity)])  # (n, 2)
    weights = _by_source(source[same]), _by_source(source[own])
    return replace(calibration, own_fake=fit_own_fake(evidence[same], evidence[own], weights))


def _by_source(source: NDArray[np.int64]) -> Floats:
    """Weights that are the same in sum for each source, shape ``(n,)``."""
    counts = np.bincount(source)
    return 1.0 / counts[source]


def _quantile(values: Floats, share: float, weights: Floats) -> float:
    """The lowest value below or at which lies the given share of the weights."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, share * reached[-1])])


def fit_own_fake(
    same: Floats,
    own: Floats,
    weights: tuple[Floats, Floats] | None = None,
    trust: float = TRUST,
    odds_range: tuple[float, float] = ODDS_RANGE,
) -> OwnFakeRatio:
    """Logistic regression of "two genuine photos of one person" against "one of them a deepfake", both classes weighing the same.

    It aims at Platt's targets, as :func:`fit_logistic` does.

    Args:
        same: cosine and log-odds that neither photo is a deepfake, of the one class, shape ``(n, 2)``.
        own: of the other, shape ``(m, 2)``.
        weights: of the pairs of either class, shapes ``(n,)`` and ``(m,)``; the same for all where they are left out.
        trust: share of the fitted weight of authenticity that is kept, in [0, 1]; the bias is then fitted to it.
        odds_range: what the log-odds are clipped to.

    Returns:
        The ratio, whose two weights are not negative.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> same, own = (rng.normal(middle, (0.1, 1.0), (4000, 2)) for middle in ((0.6, 1.0), (0.5, -1.0)))
        >>> found = fit_own_fake(same, own, trust=1.0)  # normal densities: 0.1 / 0.1^2 and 2 / 1^2
        >>> round(found.cosine), round(found.authenticity)
        (10, 2)
    """
    from scipy.optimize import minimize  # as in fit_logistic

    evidence = np.concatenate([same, own])  # (n + m, 2)
    evidence = np.column_stack([evidence[:, 0], np.clip(evidence[:, 1], *odds_range)])
    truth = np.repeat(_platts_targets(len(same), len(own)), [len(same), len(own)])
    each = (np.ones(len(same)), np.ones(len(own))) if weights is None else weights
    share = np.concatenate([part / part.sum() / 2 for part in each])
    centre, scale = evidence.mean(axis=0), np.maximum(evidence.std(axis=0), 1e-6)
    inputs = np.column_stack([(evidence - centre) / scale, np.ones(len(truth))])  # (n + m, 3)

    def loss(parameters: Floats) -> tuple[float, Floats]:
        log_odds = inputs @ parameters
        wrong = np.exp(-np.logaddexp(0.0, -log_odds)) - truth  # 1 / (1 + exp(-log_odds)), less what it should be
        penalty = np.array([1e-4, 1e-4, 0.0]) * parameters
        value = float(share @ _cross_entropy(log_odds, truth) + 0.5 * penalty @ parameters)
        return value, penalty + inputs.T @ (share * wrong)

    bounds = [(0.0, None), (0.0, None), (None, None)]
    found = minimize(loss, np.array([0.5, 0.5, 0.0]), jac=True, bounds=bounds, method="L-BFGS-B").x
    found[1] *= trust
    kept = [(slope, slope) for slope in found[:2]]
    found = minimize(loss, found, jac=True, bounds=[*kept, (None, None)], method="L-BFGS-B").x
    slopes = found[:2] / scale
    return OwnFakeRatio(float(slopes[0]), float(slopes[1]), float(found[2] - slopes @ centre), *odds_range)


def fit_logistic(
    positive: ArrayLike,
    negative: ArrayLike,
    noise: bool,
    weights: tuple[Floats, Floats] | None = None,
) -> tuple[Logistic, float]:
    """Logistic regression, both classes weighing the same, that sees through wrong labels.

    Face data is never clean: where a share ``e`` of the positives are really negatives, positives have the density
    ``(1 - e) f1 + e f0``, and with the log-likelihood ratio ``l = log f1 / f0`` linear in the score, a score's posterior is
    ``((1 - e) exp(l) + e) / ((1 - e) exp(l) + e + 1)``. Without that term a tenth of wrong labels would flatten the slope and make
    identity count for too little beside authenticity. With ``e = 0`` it is plain logistic regression.

    It aims at Platt's targets ``(n + 1) / (n + 2)`` and ``1 / (m + 2)`` in place of 1 and 0: no score is then believed to say more
    than so many pairs can show. Scores of classes that do not overlap have no finite slope without.

    Args:
        positive: scores of the one class, shape ``(n,)``, n >= 1. Higher is more positive.
        negative: scores of the other, shape ``(m,)``, m >= 1; their labels are right.
        noise: whether some of the positives may be negatives.
        weights: of the positives and of the negatives, shapes ``(n,)`` and ``(m,)``; the same for all where they are left out.

    Returns:
        The score's log-likelihood ratio, its slope positive, and the share ``e`` in [0, 0.5]; 0 without ``noise``.

    Source: J. Platt, "Probabilistic outputs for support vector machines", 1999, section 2.2: the targets.

    Example:
        >>> scores = np.random.default_rng(0).normal(size=(2, 9000)) + [[1], [-1]]  # their ratio is 2 x
        >>> scores[0, :900] -= 2
        >>> found, share = fit_logistic(*scores, noise=True)
        >>> round(found.slope), round(share, 1)
        (2, 0.1)
    """
    from scipy.optimize import minimize  # takes a quarter of a second to import, and most commands fit nothing

    ones, zeros = np.asarray(positive, dtype=np.float64), np.asarray(negative, dtype=np.float64)
    of_ones, of_zeros = (None, None) if weights is None else weights
    scores = np.concatenate([ones, zeros])
    centre, scale = float(scores.mean()), float(scores.std()) or 1.0
    ones, zeros = (ones - centre) / scale, (zeros - centre) / scale
    target_of_ones, target_of_zeros = _platts_targets(len(ones), len(zeros))

    def loss(parameters: Floats) -> float:
        slope, bias, share = np.exp(parameters[0]), parameters[1], _share(parameters[2]) if noise else 0.0
        log_share = np.log(share) if share else -np.inf

        def mixed(x: Floats) -> Floats:  # log of (1 - e) exp(l) + e
            ratio: Floats = np.logaddexp(np.log1p(-share) + slope * x + bias, log_share)
            return ratio

        wrong = np.average(_cross_entropy(mixed(ones), target_of_ones), weights=of_ones) + np.average(
            _cross_entropy(mixed(zeros), target_of_zeros), weights=of_zeros
        )
        return float(0.5 * wrong + 1e-4 * parameters[0] ** 2)

    found = minimize(
        loss, np.array([0.5, 0.0, -3.0]), method="Nelder-Mead", options={"maxiter": 2000, "xatol": 1e-5, "fatol": 1e-9}
    ).x
    slope = float(np.exp(found[0])) / scale
    return Logistic(slope, float(found[1]) - slope * centre), _share(found[2]) if noise else 0.0


def _platts_targets(ones: int, zeros: int) -> tuple[float, float]:
    """What to aim at in place of 1 and 0. Source: J. Platt, see :func:`fit_logistic`."""
    return (ones + 1) / (ones + 2), 1 / (zeros + 2)


def _cross_entropy(log_odds: Floats, target: float | Floats) -> Floats:
    """Of predictions against the probability that they should be."""
    lost: Floats = target * np.logaddexp(0.0, -log_odds) + (1 - target) * np.logaddexp(0.0, log_odds)
    return lost


def _share(parameter: float) -> float:
    """Half a logistic function: any number to a share in [0, 0.5]."""
    return float(0.5 * np.exp(-np.logaddexp(0.0, -parameter)))
