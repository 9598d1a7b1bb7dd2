"""Conditions of enrolment: what is wrong here is wrong in every verification that follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bonaface.errors import DataError
from bonaface.verification.calibration import Calibration
from bonaface.verification.embeddings import Embeddings

__all__ = ["refusals"]


def refusals(
    problems: Sequence[str | None],
    photos: Sequence[Embeddings | None],
    there: Embeddings | None,
    calibration: Calibration,
) -> Mapping[int, str]:
    """Reasons why some photos of one person are refused, by their place among those that are to be enrolled.

    A photo is refused if it has a problem (no face, two faces, poor quality), if it is rather forged than genuine, or if it is
    unlike the person's other photos: if more than half of them are rather of other people, those that are there already included.

    Args:
        problems: of each photo, as reading it says; None where there is none.
        photos: their embeddings, one row each; None where there is a problem.
        there: the person's photos that are enrolled already.
        calibration: of the model.

    Raises:
        DataError: if there are no photos.

    Example:
        >>> from bonaface.verification.calibration import Logistic
        >>> ann, bob = (Embeddings(np.float32([each])) for each in ([1, 0], [0, 1]))
        >>> refusals([None, None, None], [ann, ann, bob], None, Calibration(Logistic(20.0, -8.0)))
        {2: 'is unlike 2 of the 2 other photos'}
    """
    if not problems:
        raise DataError("no photos: expected one or more")
    refused = {place: problem for place, problem in enumerate(problems) if problem is not None}
    for place, photo in enumerate(photos):
        if photo is not None and _looks_forged(photo, calibration):
            refused[place] = "looks forged: genuine photos of a person's face are expected"
    good = [place for place in range(len(photos)) if place not in refused]
    unlike = _unlike([photos[place] for place in good], there, calibration)
    return refused | {good[row]: why for row, why in unlike.items()}


def _looks_forged(photo: Embeddings, calibration: Calibration) -> bool:
    return photo.authenticity is not None and bool(calibration.called_fake(photo.authenticity)[0])


def _unlike(photos: Sequence[Embeddings | None], there: Embeddings | None, calibration: Calibration) -> dict[int, str]:
    parts: list[NDArray[np.float32]] = [photo.identity for photo in photos if photo is not None]
    if not parts:
        return {}
    new = np.concatenate(parts)
    every = new if there is None else np.concatenate([new, there.identity])
    same = calibration.same.log_odds(new @ every.T) >= 0  # (new, every)
    others = len(every) - 1
    wrong = (~same).sum(axis=1)  # a photo is always like itself
    return {
        int(row): f"is unlike {wrong[row]} of the {others} other photos"
        for row in np.flatnonzero(2 * wrong > others)
        if others
    }
