"""Thresholds and likelihood ratios measured on labelled photos or pairs, with intervals by bootstrap over people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bonaface.errors import DataError
from bonaface.metrics import FMRS
from bonaface.metrics.operating_points import allowed_matches
from bonaface.metrics.resampling import interval_of, person_weights
from bonaface.verification.calibration import Calibration, Logistic
from bonaface.verification.embeddings import Embeddings
from bonaface.verification.fitting import fit_logistic
from bonaface.verification.scoring import fused
from bonaface.verification.thresholds import Threshold, Validation

__all__ = ["fit_llr", "impostor_count", "threshold_at", "thresholds_of_pairs", "val_thresholds", "validation_of"]

Floats = NDArray[np.float64]

_PHOTOS = 2000
_REPLICATES = 200
_LEVEL = 0.95


def fit_llr(similarity: ArrayLike, label: ArrayLike) -> Logistic:
    """Similarity to log-likelihood ratio, by logistic regression with both classes weighing the same.

    Pairs called 1 may in part be none, where photos lie in the wrong person's folder, and a few pairs may not overlap at all:
    the ratio then stays within what so many pairs can show. See :func:`fit_logistic`.

    Args:
        similarity: shape ``(n,)``. Higher is more alike.
        label: 1 for two real photos of one person, 0 otherwise, shape ``(n,)``; both occur.

    Returns:
        A map whose slope is positive.

    Source: N. Brümmer and J. du Preez, "Application-independent evaluation of speaker detection", 2006.

    Example:
        >>> llr = fit_llr([0.9, 0.8, 0.2, 0.1], [1, 1, 0, 0])
        >>> bool(llr.log_odds([0.9])[0] > 0 > llr.log_odds([0.1])[0])
        True
    """
    scores, mated = np.asarray(similarity, dtype=np.float64), np.asarray(label) == 1
    return fit_logistic(scores[mated], scores[~mated], noise=True)[0]


def threshold_at(impostor: Floats, fmr: float, weights: NDArray[np.int64] | None = None, total: float = 0.0) -> float:
    """The lowest threshold whose false match rate is at most ``fmr``.

    Args:
        impostor: similarities of pairs of two people from the highest to the lowest, shape ``(n,)``.
        fmr: in (0, 1].
        weights: how often each counts, shape ``(n,)``; once each where None.
        total: sum of the weights of all pairs, where ``impostor`` are the highest of more.

    Example:
        >>> round(threshold_at(np.array([0.8, 0.6, 0.4, 0.2]), 0.25), 6)
        0.6
    """
    counts = np.ones(len(impostor), np.int64) if weights is None else weights
    accepted = np.cumsum(counts)
    refused = np.flatnonzero(accepted / (total or accepted[-1]) > fmr)
    return float(np.nextafter(impostor[refused[0]], np.inf)) if len(refused) else float(impostor[-1])


def val_thresholds(
    embeddings: Embeddings,
    person: ArrayLike,
    is_fake: ArrayLike,
    calibration: Calibration | None,
    rng: np.random.Generator,
    fmrs: Sequence[float] = FMRS,
) -> tuple[Threshold, ...]:
    """Thresholds at false match rates, from all pairs of two different people among validation photos.

    All against all resolve far lower rates than a list of drawn pairs. Of more than 2,000 real photos every k-th is
    taken, sorted by person.

    Args:
        embeddings: of the photos, ``n`` of them.
        person: who each shows, shape ``(n,)``.
        is_fake: whether each is a deepfake, shape ``(n,)``; those are left out.
        calibration: as ``similarity`` needs it.
        rng: where the bootstrap's chance comes from.
        fmrs: wanted rates; those that the pairs can't resolve are left out.

    Returns:
        A threshold for each rate that is resolved.
    """
    rows, codes, people = _chosen(person, is_fake)
    similarities, first, second = _impostors(embeddings.take(rows), codes, calibration)
    resolved = [fmr for fmr in fmrs if 1 / max(1, len(similarities)) <= fmr]
    if not resolved or not len(similarities):
        return ()
    kept = min(len(similarities), int(2.5 * max(resolved) * len(similarities)) + 1)
    top = np.argpartition(-similarities, kept - 1)[:kept]
    top = top[np.argsort(-similarities[top], kind="stable")]
    ranked, first, second = similarities[top], first[top], second[top]
    photos = np.bincount(codes, minlength=people)
    drawn = np.empty((_REPLICATES, len(resolved)))
    for replicate in range(_REPLICATES):
        times = np.bincount(rng.integers(0, people, people), minlength=people)
        shown = times * photos
        total = (int(shown.sum()) ** 2 - int((shown**2).sum())) / 2
        weights = times[first] * times[second]
        drawn[replicate] = [threshold_at(ranked, fmr, weights, total) if total else np.nan for fmr in resolved]
    return _stated(resolved, [_point(ranked, fmr, len(similarities)) for fmr in resolved], drawn, len(similarities))


def impostor_count(person: ArrayLike, is_fake: ArrayLike) -> int:
    """How many pairs of two people :func:`val_thresholds` finds among photos.

    Args:
        person: who each shows, shape ``(n,)``.
        is_fake: whether each is a deepfake, shape ``(n,)``.

    Example:
        >>> impostor_count(["ann", "ann", "bob", "bob"], [0, 0, 0, 1])
        2
    """
    photos = np.bincount(_chosen(person, is_fake)[1])
    return (int(photos.sum()) ** 2 - int((photos**2).sum())) // 2


def _chosen(person: ArrayLike, is_fake: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Rows of the real photos that are set against each other, sorted by person; who is on each, by number; how many people."""
    real = np.flatnonzero(~np.asarray(is_fake, dtype=bool))
    names, codes = np.unique(np.asarray(person).astype(str)[real], return_inverse=True)
    order = np.argsort(codes, kind="stable")
    order = order[:: -(-len(order) // _PHOTOS)] if len(order) else order
    return real[order], codes[order], len(names)


def validation_of(
    embeddings: Embeddings,
    person: ArrayLike,
    is_fake: ArrayLike,
    calibration: Calibration | None,
    similarity: ArrayLike,
    label: ArrayLike,
    rng: np.random.Generator,
) -> Validation:
    """Thresholds and rates that a run stores of its validation photos, under ``validation`` in calibration.json.

    Args:
        embeddings: of the photos.
        person: who each shows, shape ``(n,)``.
        is_fake: whether each is a deepfake, shape ``(n,)``.
        calibration: as ``similarity`` needs it.
        similarity: of the labelled validation pairs of all kinds, shape ``(m,)``.
        label: 1 for two real photos of one person, 0 otherwise, shape ``(m,)``.
        rng: where the bootstrap's chance comes from.
    """
    thresholds = val_thresholds(embeddings, person, is_fake, calibration, rng)
    return Validation(thresholds, fit_llr(similarity, label), thresholds[0].impostor_pairs if thresholds else 0)


def _impostors(
    photos: Embeddings, codes: NDArray[np.int64], calibration: Calibration | None
) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Similarities of all pairs of two people, and who they are."""
    cosine = photos.identity @ photos.identity.T  # (n, n)
    scores: NDArray[Any] = cosine.astype(np.float64)
    if photos.authenticity is not None:
        scores = fused(calibration, cosine, photos.authenticity[:, None], photos.authenticity[None, :])
    first, second = np.nonzero(np.triu(codes[:, None] != codes[None, :], 1))
    return scores[first, second], codes[first], codes[second]


def _point(ranked: Floats, fmr: float, pairs: int) -> float:
    allowed = allowed_matches(pairs, fmr)
    return float(np.nextafter(ranked[allowed], np.inf)) if allowed < len(ranked) else float(ranked[-1])


def _stated(fmrs: Sequence[float], points: Sequence[float], drawn: Floats, pairs: int) -> tuple[Threshold, ...]:
    return tuple(
        _threshold(fmr, point, values, pairs) for fmr, point, values in zip(fmrs, points, drawn.T, strict=True)
    )


def _threshold(fmr: float, point: float, values: Floats, pairs: int) -> Threshold:
    try:
        found = interval_of(point, values, _LEVEL)
    except DataError:  # too few people
        return Threshold(fmr, point, None, None, pairs)
    return Threshold(fmr, point, found.low, found.high, pairs)


def thresholds_of_pairs(
    impostor: ArrayLike,
    person_0: ArrayLike,
    person_1: ArrayLike,
    rng: np.random.Generator,
    fmrs: Sequence[float] = FMRS,
) -> tuple[Threshold, ...]:
    """Thresholds at false match rates from a list of scored pairs of two people.

    Args:
        impostor: their similarities, shape ``(n,)``.
        person_0: who is on the first image of each, shape ``(n,)``; any names that differ where they are unknown.
        person_1: who is on the second.
        rng: where the bootstrap's chance comes from.
        fmrs: wanted rates; those that the pairs can't resolve are left out.

    Raises:
        DataError: if shapes differ or a person is missing.
    """
    scores = np.asarray(impostor, dtype=np.float64)
    if scores.shape != np.shape(person_0):
        raise DataError(f"person: expected one an image of each of {len(scores)} pairs, got {np.shape(person_0)}")
    resolved = [fmr for fmr in fmrs if 1 / max(1, len(scores)) <= fmr]
    if not resolved:
        return ()
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    drawn = np.array(
        [
            [threshold_at(ranked, fmr, weights[order]) if weights.any() else np.nan for fmr in resolved]
            for weights in person_weights(person_0, person_1, _REPLICATES, rng)
        ]
    )
    return _stated(resolved, [_point(ranked, fmr, len(scores)) for fmr in resolved], drawn, len(scores))
