"""A model's calibration and thresholds from labelled pairs that it has embedded."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bonaface.calibrating.labelled_pairs import LabelledPairs
from bonaface.data.pair_labels import without_deepfake
from bonaface.errors import ConfigError, DataError
from bonaface.metrics import FMRS
from bonaface.verification.calibration import Calibration
from bonaface.verification.embeddings import Embeddings, cosine
from bonaface.verification.fitting import authenticity_threshold, calibrate, fit_logistic, with_own_fake
from bonaface.verification.scoring import similarity
from bonaface.verification.threshold_fitting import fit_llr, impostor_count, thresholds_of_pairs, val_thresholds
from bonaface.verification.thresholds import Validation, pairs_resolving

__all__ = ["EmbeddedPairs", "rates_for"]

_LADDER = tuple(float(f"{step}e{power}") for power in range(-7, 0) for step in (1, 2, 5))
_CLEARLY = 4.0
"""Standard errors by which a mean has to be higher."""
_FAR_MORE = 0.1
"""Share of photos; of photos of the same cameras as many are called deepfakes, whoever is on them."""
_FEWEST = 10
"""Pairs of two people: fewer resolve no false match rate of 10 %."""
_FEWEST_DEEPFAKES = 50
"""Deepfakes that calibrate authenticity. Of LFW and DFDC, the thirty that look most genuine switch nothing off, but twenty do: 91 %
of other people's deepfakes then pass in the place of 42 % (docs/lab/cameras.md)."""
_FEWEST_FORGED = 10
"""People whom these are of: fifty frames of one deepfake are one."""
_LEAST_SLOPE = 1 / 3
"""Of the fitted weight of the log-odds to the model's own: one of 1 / 10 hardly tells deepfakes from photos, of whatever people."""


def rates_for(pairs: int, asked: tuple[float, ...], name: str) -> tuple[float, ...]:
    """False match rates to store thresholds for: from the lowest that the pairs resolve to 10 %, and those asked for.

    Args:
        pairs: of two people.
        asked: rates that must be among them.
        name: of the pairs, for messages.

    Raises:
        ConfigError: if the pairs do not resolve one that was asked for.
        DataError: if there are fewer than 10 pairs.

    Example:
        >>> rates_for(30, (0.25,), "mine")[::2]
        (0.25, 0.05)
    """
    if pairs < _FEWEST:
        raise DataError(
            f"{name}: holds {pairs} pairs of two people; expected at least {_FEWEST}, which resolve a false match rate of 10 %"
        )
    unresolved = [rate for rate in asked if 1 / pairs > rate]
    if unresolved:
        rate = min(unresolved)
        raise ConfigError(
            f"fmr {rate:g}: it would take {pairs_resolving(rate)} pairs of two people, and {name} holds {pairs:,}; "
            f"expected a rate of {1 / pairs:.2g} or more, or more pairs"
        )
    ladder = [rate for rate in _LADDER if 1 / pairs <= rate <= max(FMRS)]
    return tuple(sorted({1 / pairs, *ladder, *asked}, reverse=True))


@dataclass(frozen=True)
class EmbeddedPairs:
    """Labelled pairs and what a model says of their images.

    Args:
        pairs: ``n`` of them, all of whose images could be read.
        photos: embeddings of the distinct images.
        place: rows of both images of each pair in ``photos``, shape ``(2, n)``.
    """

    pairs: LabelledPairs
    photos: Embeddings
    place: NDArray[np.int64]

    @property
    def impostor_pairs(self) -> int:
        """How many pairs of two people thresholds rest on."""
        if not self.pairs.drawn:
            return self.pairs.counts["impostor"]
        _, person, is_fake = self.distinct()
        return impostor_count(person, is_fake)

    @property
    def sides(self) -> tuple[Embeddings, Embeddings]:
        """First and second images of the pairs."""
        return self.photos.take(self.place[0]), self.photos.take(self.place[1])

    def refuse_contradictions(self) -> None:
        """Raise an error where an image is genuine in one pair and a deepfake in another, or may be, by whatever path.

        Raises:
            DataError: if one is.
        """
        if self.pairs.is_fake is None:
            wrong = without_deepfake(self.place, self.pairs.kind)
            if wrong.any():
                row = int(np.argmax(wrong))
                first, second = self.pairs.path[:, row]
                raise DataError(
                    f"{self.pairs.name}: {first} and {second} have kind {self.pairs.kind[row]}, and are genuine in other pairs; "
                    "expected a deepfake"
                )
            return
        image, is_fake = self.place.reshape(-1), self.pairs.is_fake.reshape(-1)
        genuine, forged = np.unique(image[~is_fake]), np.unique(image[is_fake])
        both = np.intersect1d(genuine, forged)
        if both.size:
            path = self.pairs.path.reshape(-1)
            one, other = (path[np.argmax((image == both[0]) & (is_fake == wanted))] for wanted in (False, True))
            raise DataError(
                f"{self.pairs.name}: {other} is a deepfake in one pair and {'' if one == other else f'as {one} '}genuine "
                "in another; expected one of them"
            )

    def refuse_swapped(self) -> None:
        """Raise an error where the model clearly finds two people more alike than one.

        Raises:
            DataError: if the mean cosine of their pairs is higher, by more than chance makes it.
        """
        cosines = cosine(*self.sides)
        one, two = (cosines[self.pairs.kind == name] for name in ("same", "impostor"))
        chance = np.sqrt(one.var() / len(one) + two.var() / len(two))
        if two.mean() - one.mean() > _CLEARLY * chance:
            raise DataError(
                f"{self.pairs.name}: the model finds pairs of two people more alike than those of one person (mean cosine "
                f"{two.mean():.2f} and {one.mean():.2f}); expected label 1 for two photos of one person, and 0 for the others"
            )

    def refuse_unsaid_deepfakes(self, known: Calibration | None) -> None:
        """Raise an error where label 0 seems to stand for deepfakes too: photos under it are far more often called deepfakes.

        Args:
            known: the model's own calibration.

        Raises:
            DataError: if they are, by more than chance makes it, where nothing says of what kind the pairs are.
        """
        log_odds = self.photos.authenticity
        if log_odds is None or known is None or self.pairs.kinds_said:
            return
        rows = [np.unique(self.place[:, self.pairs.kind == name]) for name in ("same", "impostor")]
        called = known.called_fake(log_odds)
        one, two, both = (called[each].mean() for each in (*rows, np.concatenate(rows)))
        chance = np.sqrt(both * (1 - both) * sum(1 / len(each) for each in rows))
        if two - one > max(_FAR_MORE, _CLEARLY * chance):
            raise DataError(
                f"{self.pairs.name}: the model calls {two:.0%} of the photos in pairs of label 0 deepfakes, and {one:.0%} of those "
                "of label 1; expected the column kind, to say which pairs are impostor, own_fake and other_fake"
            )

    def distinct(self) -> tuple[NDArray[np.int64], NDArray[np.str_], NDArray[np.bool_]]:
        """Rows of the images in ``photos``, who is on each and which are deepfakes; of images of which that is known."""
        rows, first = np.unique(self.place.reshape(-1), return_index=True)
        person = self.pairs.person.reshape(-1).astype(str)[first]
        if self.pairs.is_fake is not None:
            return rows, person, self.pairs.is_fake.reshape(-1)[first]
        genuine = np.isin(self.pairs.kind, ("same", "impostor"))
        known = np.isin(rows, self.place[:, genuine])
        return rows[known], person[known], np.zeros(int(known.sum()), dtype=bool)

    def unfit_deepfakes(self, known: Calibration) -> str:
        """Why the deepfakes among the pairs calibrate nothing; empty where they do, or there are none.

        To the few that once got through, or frames of one, the best fit may be to disregard authenticity, and all others then pass.

        Args:
            known: the model's own calibration.
        """
        (genuine, forged), people = self._log_odds()
        if known.genuine is None or not len(forged):
            return ""
        if len(forged) < _FEWEST_DEEPFAKES:
            return (
                f"{len(forged)} deepfake{'s are' if len(forged) > 1 else ' is'} too few, it takes {_FEWEST_DEEPFAKES}"
            )
        if people < _FEWEST_FORGED:
            who = "1 person" if people == 1 else f"{people} people"
            return f"the {len(forged):,} deepfakes are of {who}, it takes {_FEWEST_FORGED}"
        slope = fit_logistic(genuine, forged, noise=False)[0].slope
        if slope < _LEAST_SLOPE * known.genuine.slope:
            return f"the {len(forged):,} deepfakes look hardly less genuine to it than the genuine photos"
        return ""

    def calibrated(self, known: Calibration | None) -> Calibration:
        """A calibration fitted on the pairs.

        Where it is known which images are deepfakes, and enough are, authenticity is calibrated too. Else what the model knows of
        it is kept, and only its threshold moves: to where 1 % of the genuine photos are called deepfakes, at most to even odds.

        Args:
            known: the model's own; a model that judges authenticity has one.
        """
        pairs, (a, b) = self.pairs, self.sides
        genuine = None if known is None else known.genuine
        if known is None or genuine is None or a.authenticity is None or b.authenticity is None:
            return self._fitted(replace(a, authenticity=None), replace(b, authenticity=None))
        unfit = self.unfit_deepfakes(known)
        if pairs.is_fake is not None and pairs.is_fake.any() and not unfit:
            _, _, is_fake = self.distinct()
            said = f"{np.sum(~is_fake):,} genuine photos and {np.sum(is_fake):,} deepfakes that it was calibrated on"
            return replace(self._fitted(a, b), measured_on=said)
        who = self._fitted(replace(a, authenticity=None), replace(b, authenticity=None))
        lowest = authenticity_threshold(genuine, self._genuine_log_odds())
        moved = replace(known, same=who.same, mislabelled=who.mislabelled, forged_below=lowest)
        return moved if unfit else with_own_fake(moved, a, b, pairs.kind, np.zeros(len(pairs), np.int64))

    def _fitted(self, a: Embeddings, b: Embeddings) -> Calibration:
        is_fake = self.pairs.is_fake
        first, second = np.zeros((2, len(self.pairs)), dtype=bool) if is_fake is None else is_fake
        return calibrate(a, b, self.pairs.kind, first, second)

    def _log_odds(self) -> tuple[tuple[NDArray[np.float32], NDArray[np.float32]], int]:
        """Raw log-odds of genuine photos and of deepfakes, each once, and of how many people the deepfakes are.

        Where it isn't known which images are deepfakes, those of the less genuine one of each pair.
        """
        log_odds, pairs = self.photos.authenticity, self.pairs
        if log_odds is None:
            return (np.zeros(0, np.float32), np.zeros(0, np.float32)), 0
        if pairs.is_fake is not None:
            rows, person, is_fake = self.distinct()
            return (log_odds[rows[~is_fake]], log_odds[rows[is_fake]]), len(np.unique(person[is_fake]))
        less = np.where(log_odds[self.place[0]] <= log_odds[self.place[1]], *self.place)
        genuine, forged = (np.unique(less[pairs.kind == kind]) for kind in ("same", "own_fake"))
        return (log_odds[genuine], log_odds[forged]), len(np.unique(pairs.person[0, pairs.kind == "own_fake"]))

    def _genuine_log_odds(self) -> NDArray[np.float32]:
        """Raw log-odds of the genuine photos, each once."""
        rows, _, is_fake = self.distinct()
        log_odds = self.photos.authenticity
        return np.zeros(0, np.float32) if log_odds is None else log_odds[rows[~is_fake]]

    def validation(self, calibration: Calibration, rates: tuple[float, ...], seed: int) -> Validation:
        """Thresholds with intervals, and the map to likelihood ratios.

        Args:
            calibration: that similarities are computed with.
            rates: false match rates of the thresholds, as ``rates_for`` gives them.
            seed: of the bootstrap.
        """
        pairs, rng = self.pairs, np.random.default_rng(seed)
        scores = similarity(*self.sides, calibration)
        if pairs.drawn:
            rows, person, is_fake = self.distinct()
            thresholds = val_thresholds(self.photos.take(rows), person, is_fake, calibration, rng, rates)
        else:
            impostor = pairs.kind == "impostor"
            first, second = pairs.person[:, impostor]
            thresholds = thresholds_of_pairs(scores[impostor], first, second, rng, rates)
        return Validation(thresholds, fit_llr(scores, pairs.kind == "same"), thresholds[0].impostor_pairs)
