"""Whether a model's log-likelihood ratios mean what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from bonaface.metrics import cllr, min_cllr
from bonaface.verification.calibration import Logistic
from bonaface.verification.thresholds import fit_llr

__all__ = ["calibration_figures", "reliability"]

_BINS = 10


def reliability(log_ratio: ArrayLike, mated: ArrayLike, bins: int = _BINS) -> list[dict[str, float]]:
    """Predicted against observed share of mated pairs, in bins of equal width of the predicted probability.

    Both classes weigh the same, so a probability is that of equal priors: 1 / (1 + exp(-log_ratio)).

    Args:
        log_ratio: natural log-likelihood ratios, shape ``(n,)``.
        mated: whether each pair is mated, shape ``(n,)``; both occur.
        bins: how many.

    Returns:
        For each bin that holds a pair: mean ``predicted`` and ``observed`` share, ``weight`` (of all), ``pairs``.

    Source: A. Niculescu-Mizil and R. Caruana, "Predicting good probabilities with supervised learning", ICML 2005.

    Example:
        >>> reliability([-2.0, -2.0, 2.0, 2.0], [False, False, True, True], bins=2)[1]["observed"]
        1.0
    """
    truth = np.asarray(mated, dtype=bool)
    predicted: NDArray[np.float64] = expit(np.asarray(log_ratio, dtype=np.float64))
    weights = np.where(truth, 0.5 / truth.sum(), 0.5 / (~truth).sum())
    place = np.minimum((predicted * bins).astype(np.int64), bins - 1)
    rows = []
    for number in np.unique(place):
        inside = place == number
        total = float(weights[inside].sum())
        rows.append(
            {
                "predicted": float(predicted[inside] @ weights[inside] / total),
                "observed": float(weights[inside & truth].sum() / total),
                "weight": total,
                "pairs": int(inside.sum()),
            }
        )
    return rows


def calibration_figures(
    similarity: NDArray[np.float64], mated: NDArray[np.bool_], llr: Logistic | None
) -> dict[str, Any]:
    """Cllr, its minimum, and the reliability diagram of same against all other pairs.

    Args:
        similarity: shape ``(n,)``.
        mated: whether each pair is mated, shape ``(n,)``; both occur.
        llr: similarity to log-likelihood ratio, from other pairs; without it one is fitted on the judged pairs, and
            ``source`` says so.

    Returns:
        ``source`` (``validation`` or ``judged``), ``slope``, ``bias``, ``cllr``, ``min_cllr`` (bits), ``reliability``.
    """
    used = fit_llr(similarity, mated) if llr is None else llr
    ratio = used.log_odds(similarity)
    return {
        "source": "judged" if llr is None else "validation",
        "slope": used.slope,
        "bias": used.bias,
        "cllr": cllr(ratio[mated], ratio[~mated]),
        "min_cllr": min_cllr(similarity[mated], similarity[~mated]),
        "reliability": reliability(ratio, mated),
    }
