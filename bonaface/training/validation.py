"""Validation pairs, and a model's figures on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.data.splits import draw_pairs
from bonaface.data.table import FaceTable
from bonaface.metrics import eers_by_kind
from bonaface.verification.calibration import Calibration
from bonaface.verification.embeddings import Embeddings
from bonaface.verification.fitting import calibrate
from bonaface.verification.scoring import similarity
from bonaface.verification.threshold_fitting import validation_of
from bonaface.verification.thresholds import Validation

__all__ = ["ValidationPairs"]


@dataclass(frozen=True)
class ValidationPairs:
    """Pairs of the four kinds, of people held out for validation.

    Args:
        photos: the photos that the pairs are made of, each once: rows of the table's frame, ``m`` of them.
        rows: their places in the table, shape ``(m,)``.
        first: of each pair the place of its first photo among them, shape ``(n,)``.
        second: that of its second photo.
        label: 1 for two genuine photos of one person, shape ``(n,)``.
        kind: same, impostor, own_fake or other_fake, shape ``(n,)``.
    """

    photos: pd.DataFrame
    rows: NDArray[np.int64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    label: NDArray[np.int64]
    kind: NDArray[np.str_]

    @classmethod
    def draw(cls, table: FaceTable, count: int, seed: int) -> ValidationPairs:
        """Draws ``count`` pairs from the people whose split is ``val``.

        Raises:
            DataError: if there are not enough photos for a kind.
        """
        drawn = draw_pairs(table, count, seed)
        rows, places = np.unique(drawn[["a", "b"]].to_numpy(dtype=np.int64), return_inverse=True)
        first, second = places.reshape(-1, 2).T
        label, kind = drawn["label"].to_numpy(dtype=np.int64), drawn["kind"].to_numpy(dtype=str)
        return cls(table.frame.iloc[rows], rows, first, second, label, kind)

    def __len__(self) -> int:
        return len(self.label)

    @property
    def is_fake(self) -> NDArray[np.bool_]:
        """Which photos are deepfakes, shape ``(m,)``."""
        return self.photos["is_fake"].to_numpy(dtype=bool)

    def score(self, embeddings: Embeddings) -> tuple[NDArray[np.float64], Calibration]:
        """Similarity of each pair ``(n,)``, and the calibration that it was computed with.

        Args:
            embeddings: of ``photos``, in their order.
        """
        a, b = embeddings.take(self.first), embeddings.take(self.second)
        is_fake = self.is_fake
        calibration = calibrate(a, b, self.label, is_fake[self.first], is_fake[self.second])
        return similarity(a, b, calibration), calibration

    def validate(
        self, embeddings: Embeddings, scores: NDArray[np.float64], calibration: Calibration, seed: int
    ) -> Validation:
        """Thresholds by false match rate, with intervals whose bootstrap is seeded."""
        rng = np.random.default_rng(seed)
        return validation_of(embeddings, self.photos["person"], self.is_fake, calibration, scores, self.label, rng)

    def errors(self, scores: NDArray[np.float64]) -> dict[str, float]:
        """Equal error rates, overall and by kind."""
        return eers_by_kind(scores, self.label, self.kind)

    def errors_by_source(
        self, scores: NDArray[np.float64], source: NDArray[np.int64], names: Sequence[str]
    ) -> dict[str, dict[str, float]]:
        """Equal error rates of the pairs within each source, by its name; empty if there is one source.

        Args:
            scores: similarities, shape ``(n,)``.
            source: source of each row of the table.
            names: of the sources.
        """
        if len(names) == 1:
            return {}
        sides = source[self.rows[np.stack([self.first, self.second])]]  # (2, n)
        within = {name: (sides == number).all(axis=0) for number, name in enumerate(names)}
        return {name: eers_by_kind(scores[rows], self.label[rows], self.kind[rows]) for name, rows in within.items()}
