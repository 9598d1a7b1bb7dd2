"""Decision on two photos: the same person, different people, not genuine, or that it can't be told.

The similarity decides, since it is what the thresholds were measured with; only a photo that is called a deepfake, as one in a
hundred genuine validation photos is, passes at no threshold:

1. similarity at or above the threshold, and neither photo is called a deepfake: **same person**;
2. else, if the identity alone would have passed (as it would between two photos that are surely genuine) and a photo is called a
   deepfake: **not genuine**, with the photo named;
3. else, if the identity alone speaks clearly for two people (P(same person) < 0.1): **different people**;
4. else: it **cannot tell**.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from bonaface.errors import ModelError
from bonaface.verification.calibration import Calibration
from bonaface.verification.embeddings import Embeddings, cosine
from bonaface.verification.scoring import similarity, weighed
from bonaface.verification.thresholds import CALIBRATE, Threshold, Validation, select_threshold

__all__ = ["Decision", "Verdict", "judge"]

Decision = Literal["same person", "different people", "not genuine", "cannot tell"]

_DIFFERENT = 0.1


@dataclass(frozen=True)
class Verdict:
    """Decision on a pair of photos.

    Args:
        decision: see the module.
        similarity: as ``bonaface.verification.scoring.similarity`` has it.
        probability: that these are two genuine photos of one person, where that, two people, and a deepfake of the person are
            equally likely before the photos are seen; of a model calibrated by bonaface 0.1 it is P(same person) x P(neither is a
            deepfake), and of one that does not judge authenticity P(same person), whoever made the photos.
        threshold: on the similarity; at or above it the photos are accepted.
        fmr: false match rate: the share of pairs of two people that reach the threshold, measured on validation photos.
        reason: one sentence.
        same: P(same person), by identity alone.
        genuine: P(genuine) of either photo; None where the model does not judge it.
        score: the similarity from 0 to 100, as :meth:`Validation.score` has it; None where the model does not know.
        threshold_score: the threshold on that scale.

    Raises:
        TypeError: where a verdict is taken for true or false: in doubt it would be true.
    """

    decision: Decision
    similarity: float
    probability: float
    threshold: float
    fmr: float
    reason: str
    same: float
    genuine: tuple[float, float] | None
    score: float | None = None
    threshold_score: float | None = None

    def __bool__(self) -> NoReturn:
        raise TypeError(
            "a Verdict is neither true nor false; expected its decision compared: verdict.decision == 'same person'"
        )


def judge(
    a: Embeddings,
    b: Embeddings,
    calibration: Calibration | None,
    validation: Validation | None,
    fmr: float | None = None,
) -> list[Verdict]:
    """A verdict on each pair.

    Args:
        a: one photo of each of ``n`` pairs.
        b: the other.
        calibration: of the model.
        validation: of the model: its thresholds.
        fmr: the false match rate that decides, as :func:`select_threshold` takes it.

    Returns:
        ``n`` verdicts.

    Raises:
        ConfigError: if there is no threshold for that rate.
        ModelError: if the model has no calibration, or a similarity is not finite.
    """
    threshold = select_threshold(validation, fmr)
    if calibration is None:
        raise ModelError(f"the model has no calibration, so what its similarities mean is not known; {CALIBRATE}")
    scores = similarity(a, b, calibration)
    if not np.isfinite(scores).all():
        raise ModelError("a similarity is not finite; the model is damaged")
    cosines = cosine(a, b)
    log_even = calibration.same.log_probability(cosines)
    genuine = _genuine(a, b, calibration)
    forged = {"first": _called_fake(a, calibration), "second": _called_fake(b, calibration)}
    alone = cosines if genuine is None else weighed(calibration, cosines, np.array(np.inf))  # were both surely genuine
    passes = alone >= threshold.threshold
    probability = np.exp(log_even if genuine is None else _log_probability(calibration, scores, cosines))
    return [
        _verdict(
            float(scores[row]),
            float(probability[row]),
            threshold,
            float(np.exp(log_even[row])),
            bool(passes[row]),
            None if genuine is None else genuine[row],
            [side for side, called in forged.items() if called[row]],
            validation,
        )
        for row in range(len(scores))
    ]


def _log_probability(calibration: Calibration, scores: NDArray[Any], cosines: NDArray[Any]) -> NDArray[np.float64]:
    """Log P(two genuine photos of one person) of the similarities of a model that judges authenticity."""
    if calibration.own_fake is not None:
        log_p: NDArray[np.float64] = -np.logaddexp(0.0, -scores)
        return log_p
    older: NDArray[np.float64] = scores - calibration.log_same(cosines) + calibration.same.log_probability(cosines)
    return older


def _genuine(a: Embeddings, b: Embeddings, calibration: Calibration) -> list[tuple[float, float]] | None:
    if a.authenticity is None or b.authenticity is None:
        return None
    first, second = calibration.p_genuine(a.authenticity), calibration.p_genuine(b.authenticity)
    if first is None or second is None:
        return None
    return [(float(x), float(y)) for x, y in zip(first, second, strict=True)]


def _called_fake(photos: Embeddings, calibration: Calibration) -> NDArray[np.bool_]:
    return replace(photos, calibration=calibration).called_fake


def _verdict(
    score: float,
    probability: float,
    threshold: Threshold,
    same: float,
    identity_passes: bool,
    genuine: tuple[float, float] | None,
    forged: Sequence[str],
    validation: Validation | None,
) -> Verdict:
    decision, reason = _decided(score >= threshold.threshold, identity_passes, same, forged)
    if decision == "same person" and genuine is None:
        reason = "The faces are alike enough; the model doesn't judge whether photos are genuine."
    return Verdict(
        decision,
        score,
        probability,
        threshold.threshold,
        threshold.fmr,
        reason,
        same,
        genuine,
        *(None if validation is None else validation.score(x) for x in (score, threshold.threshold)),
    )


def _decided(passes: bool, identity_passes: bool, same: float, forged: Sequence[str]) -> tuple[Decision, str]:
    said = f"The {' and the '.join(forged)} photo look{'s' if len(forged) == 1 else ''} forged" if forged else ""
    if passes and not forged:
        return "same person", "The faces are alike enough and nothing speaks strongly against either photo."
    if identity_passes and forged:
        return "not genuine", f"{said}, though the faces are alike."
    if same < _DIFFERENT:
        return "different people", f"The faces are not alike{'; ' + said[0].lower() + said[1:] if said else ''}."
    if identity_passes:
        return "cannot tell", "The faces are alike, but whether both photos are genuine is not sure enough."
    return (
        "cannot tell",
        f"The faces are neither alike enough nor clearly different{'; ' + said[0].lower() + said[1:] if said else ''}.",
    )
