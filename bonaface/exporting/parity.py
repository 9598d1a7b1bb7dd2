"""Parity of an exported model with the original, measured on faces that it was not fitted to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from bonaface.metrics import challenge_eer
from bonaface.verification.calibration import Calibration, Logistic
from bonaface.verification.embeddings import Embeddings
from bonaface.verification.scoring import fused

__all__ = ["Parity", "compare", "refusal"]

_SAME_PAIRS = 500
"""With fewer pairs of one person a single one of them moves an equal error rate by more than is allowed."""
_EXACT_COSINE = 0.9999
_ROUNDED_COSINE = 0.99
_LOG_ODDS = 0.02
_GENUINE = 0.02
_EER = 0.002


@dataclass(frozen=True)
class Parity:
    """Differences that an export made.

    Args:
        photos: it was measured on.
        lowest_cosine: of a photo's two identity vectors, the lowest of all photos.
        mean_cosine: their mean.
        log_odds: largest change of a calibrated log-odds of being genuine; None where the model does not judge it.
        genuine: mean change of the probability of being genuine, likewise.
        eer: equal error rate of all pairs of the photos, the original's and the exported one's; None where they hold fewer
            than 500 pairs of one person.
        pairs: of one person among them.
    """

    photos: int
    lowest_cosine: float
    mean_cosine: float
    log_odds: float | None
    genuine: float | None
    eer: tuple[float, float] | None
    pairs: int

    def told(self) -> str:
        """One line of figures."""
        said = (
            f"{self.photos:,} photos: cosine to the original {self.mean_cosine:.5f} (lowest {self.lowest_cosine:.5f})"
        )
        if self.log_odds is not None and self.genuine is not None:
            said += f", log-odds within {self.log_odds:.3f}, P(genuine) within {self.genuine:.4f} on average"
        if self.eer is not None:
            said += f", EER {self.eer[0]:.4f} before and {self.eer[1]:.4f} after ({self.pairs:,} pairs of one person)"
        return said


def compare(
    original: Embeddings,
    exported: Embeddings,
    calibration: Calibration | None,
    person: NDArray[np.object_],
    is_fake: NDArray[np.bool_],
) -> Parity:
    """Hold what two models say of the same photos against each other.

    Args:
        original: of ``n`` photos.
        exported: of the same ones.
        calibration: of the original.
        person: who each shows, shape ``(n,)``.
        is_fake: whether each is a deepfake, shape ``(n,)``.
    """
    cosine = np.einsum("nd,nd->n", original.identity, exported.identity, dtype=np.float64)
    log_odds = genuine = None
    if original.authenticity is not None and exported.authenticity is not None:
        logistic = (
            calibration.genuine if calibration is not None and calibration.genuine is not None else Logistic(1.0, 0.0)
        )
        before, after = logistic.log_odds(original.authenticity), logistic.log_odds(exported.authenticity)
        log_odds, genuine = float(np.abs(before - after).max()), float(np.abs(expit(before) - expit(after)).mean())
    first, second = np.triu_indices(len(person), 1)
    judged = ~(is_fake[first] & is_fake[second])
    first, second = first[judged], second[judged]
    same = (person[first] == person[second]) & ~is_fake[first] & ~is_fake[second]
    eer = None
    if same.sum() >= _SAME_PAIRS and not same.all():
        before, after = (_all_pairs(each, calibration)[first, second] for each in (original, exported))
        eer = _eer(before, same), _eer(after, same)
    return Parity(len(person), float(cosine.min()), float(cosine.mean()), log_odds, genuine, eer, int(same.sum()))


def _eer(scores: NDArray[np.float64], same: NDArray[np.bool_]) -> float:
    return float(challenge_eer(scores[same], scores[~same])) if np.isfinite(scores).all() else float("nan")


def _all_pairs(photos: Embeddings, calibration: Calibration | None) -> NDArray[np.float64]:
    cosine: NDArray[np.float64] = photos.identity.astype(np.float64) @ photos.identity.T  # (n, n)
    if photos.authenticity is None:
        return cosine
    return fused(calibration, cosine, photos.authenticity[:, None], photos.authenticity[None, :])


def refusal(parity: Parity, exact: bool) -> str | None:
    """Reason why an exported model must not be used; None where it may be.

    Args:
        parity: what was measured.
        exact: whether it computes in 32 bits: then every photo's cosine is at least 0.9999 and its log-odds within 0.02. Else
            the cosines' mean is at least 0.99, and P(genuine) is within 0.02 on average. The equal error rate rises by at most
            0.002.
    """
    checks = {
        "lowest cosine": (parity.lowest_cosine if exact else None, _EXACT_COSINE, 1),
        "mean cosine": (None if exact else parity.mean_cosine, _ROUNDED_COSINE, 1),
        "change of log-odds": (parity.log_odds if exact else None, _LOG_ODDS, -1),
        "mean change of P(genuine)": (None if exact else parity.genuine, _GENUINE, -1),
        "rise of the EER": (None if parity.eer is None else parity.eer[1] - parity.eer[0], _EER, -1),
    }
    for name, (value, limit, sign) in checks.items():
        if value is not None and not sign * value >= sign * limit:  # so that NaN is refused
            return f"{name} {value:.5f}, expected at {'least' if sign > 0 else 'most'} {limit}"
    return None
