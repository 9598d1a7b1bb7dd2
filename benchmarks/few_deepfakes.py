"""How many deepfakes calibrate authenticity: what passes of other people's where few are fitted to.

python benchmarks/few_deepfakes.py FOLDER
    FOLDER holds pairs, images/<pair>/0.jpg and 1.jpg, and labels.csv with methods. The shipped model is calibrated on the pairs of
    half of the people, of whose own deepfakes a few pairs are left: those that look most genuine to it, or drawn at random. What is
    printed is the share of the other half's own deepfakes that passes at a false match rate of 1 %, or the lowest that the pairs
    resolve: where the calibration is fitted to however few, and as `bonaface calibrate` does it, which keeps what the model knows
    of deepfakes where they are too few.
"""

from __future__ import annotations

import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from bonaface.calibrating.calibrate import embedded_pairs
from bonaface.calibrating.fit import EmbeddedPairs
from bonaface.calibrating.labelled_pairs import LabelledPairs
from bonaface.evaluation.inputs import PairSource
from bonaface.inference.embedder import Embedder, load_embedder
from bonaface.verification.scoring import passing, similarity
from bonaface.verification.thresholds import select_threshold

_COUNTS = (0, 1, 3, 10, 20, 30, 50, 70, 100)
_DRAWS = 12

Rows = NDArray[np.int64]


def main(folder: Path) -> None:
    """Prints a table for each half."""
    embedder = load_embedder(None, None, "cpu")
    with Progress(disable=True) as progress:
        pairs, _ = embedded_pairs(embedder, LabelledPairs.read(PairSource(folder, folder / "labels.csv")), progress)
    people = np.unique(pairs.pairs.person)
    for half in (0, 1):
        known = np.isin(pairs.pairs.person, people[half::2])  # (2, n)
        Half(embedder, pairs, np.all(known, axis=0), np.all(~known, axis=0)).report()


class Half:
    """Pairs to calibrate with, and pairs of other people."""

    def __init__(
        self, embedder: Embedder, pairs: EmbeddedPairs, here: NDArray[np.bool_], there: NDArray[np.bool_]
    ) -> None:
        self.embedder, self.pairs = embedder, pairs
        self.genuine = np.flatnonzero(here & np.isin(pairs.pairs.kind, ("same", "impostor")))
        self.own = np.flatnonzero(here & (pairs.pairs.kind == "own_fake"))
        self.judged = _chosen(pairs, np.flatnonzero(there))

    def report(self) -> None:
        """One line a number of pairs with a deepfake."""
        assert self.pairs.photos.authenticity is not None
        odds = self.pairs.photos.authenticity[self.pairs.place[:, self.own]].min(axis=0)
        order, rng = self.own[np.argsort(-odds)], np.random.default_rng(0)
        print(
            f"\n{len(self.genuine)} genuine pairs, {len(self.own)} own deepfakes; share of other people's that pass\n"
        )
        print(
            "| pairs | most genuine: fitted | calibrate | at random: fitted, mean and highest | calibrate, mean and highest |"
        )
        print("|---|---|---|---|---|")
        for count in _COUNTS:
            drawn = [rng.choice(self.own, count, replace=False) for _ in range(_DRAWS if count else 1)]
            most, by_chance = self._both(order[:count]), np.array([self._both(each) for each in drawn])
            spread = [f"{mean:.3f}, {top:.3f}" for mean, top in zip(by_chance.mean(0), by_chance.max(0), strict=True)]
            print(f"| {count} | {most[0]:.3f} | {most[1]:.3f} | {spread[0]} | {spread[1]} |", flush=True)

    def _both(self, rows: Rows) -> tuple[float, float]:
        with patch.object(EmbeddedPairs, "unfit_deepfakes", lambda *_: ""):
            fitted = self._passes(rows)
        return fitted, self._passes(rows)

    def _passes(self, rows: Rows) -> float:
        fitted = _chosen(self.pairs, np.concatenate([self.genuine, rows]))
        calibration = fitted.calibrated(self.embedder.calibration)
        rate = max(0.01, 1 / fitted.impostor_pairs)
        threshold = select_threshold(fitted.validation(calibration, (0.1, rate), 0), rate).threshold
        sides = self.judged.sides
        scores = passing(similarity(*sides, calibration), *sides, calibration)
        return float((scores[self.judged.pairs.kind == "own_fake"] >= threshold).mean())


def _chosen(pairs: EmbeddedPairs, rows: Rows) -> EmbeddedPairs:
    mask = np.zeros(len(pairs.pairs), dtype=bool)
    mask[rows] = True
    return EmbeddedPairs(pairs.pairs.take(mask), pairs.photos, pairs.place[:, mask])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
