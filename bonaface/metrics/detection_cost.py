"""Detection costs and the information in scores: minDCF, a-DCF, Cllr, reliability diagrams."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bonaface.metrics.scores import checked_scores, checked_two, count_scores, roc_errors

__all__ = ["a_dcf", "cllr", "min_cllr", "min_dcf", "reliability"]


def min_dcf(
    same: ArrayLike, different: ArrayLike, prior: float = 0.01, cost_miss: float = 1.0, cost_false_alarm: float = 1.0
) -> float:
    """Lowest normalised detection cost over all thresholds.

    DCF(t) = cost_miss * prior * FNMR(t) + cost_false_alarm * (1 - prior) * FMR(t), divided by the cost of the better
    of accepting all and refusing all.

    Args:
        same: similarities of mated pairs, shape ``(n,)``. Higher is more alike.
        different: similarities of non-mated pairs, shape ``(m,)``.
        prior: probability of a mated pair in use, in (0, 1).
        cost_miss: cost of refusing a mated pair, above 0.
        cost_false_alarm: cost of accepting a non-mated pair, above 0.

    Returns:
        A cost in [0, 1]; 1 is what no scores at all reach.

    Raises:
        ValueError: if the prior is not in (0, 1) or a cost is not above 0.
        DataError: if a class is empty, or a score is NaN or infinite.

    Source: NIST Speaker Recognition Evaluation plans (2008 and 2016).

    Example:
        By hand, prior 1/2: at 0.8 FNMR is 1/3 and FMR 0, the cost 1/6; at 0.4 it is 0 and 1/4, the cost 1/8. Refusing
        all costs 1/2.

        >>> min_dcf([0.9, 0.8, 0.4], [0.7, 0.3, 0.2, 0.1], prior=0.5)
        0.25
    """
    if not 0 < prior < 1 or cost_miss <= 0 or cost_false_alarm <= 0:
        raise ValueError(f"expected a prior in (0, 1) and costs above 0, got {prior}, {cost_miss}, {cost_false_alarm}")
    _, same_counts, different_counts = count_scores(*checked_two(same, different))
    fnr, fpr = roc_errors(same_counts, different_counts)
    miss, false_alarm = cost_miss * prior, cost_false_alarm * (1 - prior)
    return float(np.min(miss * fnr + false_alarm * fpr) / min(miss, false_alarm))


def a_dcf(
    same: ArrayLike,
    impostor: ArrayLike,
    spoof: ArrayLike,
    priors: tuple[float, float, float] = (0.9, 0.05, 0.05),
    costs: tuple[float, float, float] = (1.0, 10.0, 20.0),
) -> float:
    """Lowest normalised architecture-agnostic detection cost over all thresholds, deepfakes being a class of their own.

    a-DCF(t) = C_miss p_same FNMR(t) + C_impostor p_impostor FMR(t) + C_spoof p_spoof IAPAR(t), divided by the cost of
    the better of refusing all, C_miss p_same, and accepting all, C_impostor p_impostor + C_spoof p_spoof.

    Args:
        same: similarities of mated pairs, shape ``(n,)``. Higher is more alike.
        impostor: similarities of pairs of two people, shape ``(m,)``.
        spoof: similarities of pairs with a deepfake, shape ``(k,)``.
        priors: probabilities of the three in use; they add up to 1.
        costs: of refusing ``same``, accepting ``impostor``, accepting ``spoof``; above 0.

    Returns:
        A cost in [0, 1]; 1 is what no scores at all reach.

    Raises:
        ValueError: if priors or costs are not as described.
        DataError: if a class is empty, or a score is NaN or infinite.

    Source: H.-j. Shim et al., "a-DCF: an architecture agnostic metric with application to spoofing-robust speaker
        verification", Odyssey 2024, arXiv:2403.01355.

    Example:
        By hand: at 0.9 half of ``same`` is refused and nothing else accepted, 0.45; at 0.4 the fake is accepted, 1.0;
        so 0.45 of the 0.9 that refusing all costs.

        >>> a_dcf([0.9, 0.4], [0.3, 0.1], [0.7])
        0.5
    """
    if min(priors) < 0 or abs(sum(priors) - 1) > 1e-9 or min(costs) <= 0 or priors[0] in (0, 1):
        raise ValueError(f"expected priors that add up to 1 and costs above 0, got {priors} and {costs}")
    mated, impostors = checked_two(same, impostor)
    spoofs = checked_scores(spoof, "spoof")
    thresholds = np.unique(np.concatenate([mated, impostors, spoofs]).astype(np.float64))
    fnmr = _share_below(mated, thresholds)  # (t,)
    accepted = [1 - _share_below(scores, thresholds) for scores in (impostors, spoofs)]  # (t,), (t,)
    miss, false_alarm, false_fake = (cost * prior for cost, prior in zip(costs, priors, strict=True))
    default = min(miss, false_alarm + false_fake)
    lowest = np.min(miss * fnmr + false_alarm * accepted[0] + false_fake * accepted[1])
    return float(min(lowest, miss) / default)


def _share_below(scores: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.searchsorted(np.sort(scores), thresholds, side="left") / len(scores)


def cllr(same: ArrayLike, different: ArrayLike) -> float:
    """Cost of log-likelihood ratios: how good scores are as evidence, calibration included, in bits.

    Cllr = 1/2 (mean over mated of log2(1 + exp(-s)) + mean over non-mated of log2(1 + exp(s))).

    Args:
        same: natural log-likelihood ratios of mated pairs, shape ``(n,)``: calibrated scores, not cosines.
        different: the same of non-mated pairs, shape ``(m,)``.

    Returns:
        0 for perfect evidence, 1 for ratios that are always 1, more for misleading ones.

    Raises:
        DataError: if a class is empty, or a score is NaN or infinite.

    Source: N. Brümmer and J. du Preez, "Application-independent evaluation of speaker detection", Computer Speech &
        Language 20, 2006.

    Example:
        >>> cllr([0.0], [0.0, 0.0])
        1.0
    """
    mated, non_mated = (scores.astype(np.float64) for scores in checked_two(same, different))
    return float((np.logaddexp(0, -mated).mean() + np.logaddexp(0, non_mated).mean()) / 2 / np.log(2))


def min_cllr(same: ArrayLike, different: ArrayLike) -> float:
    """Cllr after the best monotone calibration: what the order of the scores alone is worth, in bits.

    The calibration is the isotonic regression of "is mated" on the score (pool adjacent violators), its odds divided
    by the odds of a mated pair in the data. Any monotone map of the scores leaves it as it is.

    Args:
        same: similarities of mated pairs, shape ``(n,)``. Higher is more alike.
        different: similarities of non-mated pairs, shape ``(m,)``.

    Returns:
        A cost in [0, 1], at most ``cllr`` of the same scores.

    Raises:
        DataError: if a class is empty, or a score is NaN or infinite.

    Source: N. Brümmer and J. du Preez, "Application-independent evaluation of speaker detection", Computer Speech &
        Language 20, 2006.

    Example:
        >>> min_cllr([0.9, 0.8], [0.1, 0.2]), min_cllr([0.5], [0.5])
        (0.0, 1.0)
    """
    _, same_counts, different_counts = count_scores(*checked_two(same, different))
    weights = (same_counts + different_counts).astype(np.float64)
    from scipy.optimize import isotonic_regression  # slow to import, and thresholds alone don't need it

    blocks = isotonic_regression(same_counts / weights, weights=weights, increasing=False).blocks[:-1]
    mated = np.add.reduceat(same_counts, blocks) / same_counts.sum()  # P(block | mated)
    non_mated = np.add.reduceat(different_counts, blocks) / different_counts.sum()
    total = mated + non_mated
    # -P log2(P / total) is the cost log2(1 + exp(-llr)) of a block, with 0 log 0 = 0: pure blocks cost nothing.
    bits = [p[p > 0] @ np.log2((total / np.where(p > 0, p, 1))[p > 0]) for p in (mated, non_mated)]
    return float((bits[0] + bits[1]) / 2)


def reliability(log_ratio: ArrayLike, mated: ArrayLike, bins: int = 10) -> list[dict[str, float]]:
    """Compare predicted and observed share of mated pairs, in bins of equal width of the predicted probability.

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
    predicted = np.exp(-np.logaddexp(0.0, -np.asarray(log_ratio, dtype=np.float64)))
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
