"""Validation pairs, and a model's figures on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.data.splits import draw_pairs
from bonaface.data.table import FaceTable
from bonaface.errors import DataError
from bonaface.metrics import eers_by_kind
from bonaface.verification.calibration import Calibration
from bonaface.verification.embeddings import Embeddings, cosine
from bonaface.verification.fitting import calibrate
from bonaface.verification.scoring import similarity
from bonaface.verification.threshold_fitting import validation_of
from bonaface.verification.thresholds import Validation

__all__ = ["ValidationPairs"]

_REGRETS = ("challenge_eer", "sv_eer")


@dataclass(frozen=True)
class ValidationPairs:
    """Pairs of the four kinds, of people held out for validation, each within one source of photos.

    Args:
        photos: the photos that the pairs are made of, each once: rows of the table's frame, ``m`` of them.
        rows: their places in the table, shape ``(m,)``.
        first: of each pair the place of its first photo among them, shape ``(n,)``.
        second: that of its second photo.
        label: 1 for two genuine photos of one person, shape ``(n,)``.
        kind: same, impostor, own_fake or other_fake, shape ``(n,)``.
        source: which of ``names`` each pair is from, shape ``(n,)``.
        names: of the sources.
    """

    photos: pd.DataFrame
    rows: NDArray[np.int64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    label: NDArray[np.int64]
    kind: NDArray[np.str_]
    source: NDArray[np.int64]
    names: tuple[str, ...]

    @classmethod
    def draw(
        cls, table: FaceTable, source: NDArray[np.int64], names: tuple[str, ...], count: int, seed: int
    ) -> ValidationPairs:
        """Draws ``count`` pairs from the people whose split is ``val``, as many within each source.

        A model must be right on each source, not between them: two cameras are told apart more easily than two people. A source
        that has no pair of one person, or none of two, gives none.

        Args:
            table: photos of all sources.
            source: of each row of the table, shape ``(rows,)``.
            names: of the sources.
            count: of pairs.
            seed: of the draw.

        Raises:
            DataError: if no source has pairs of one person and of two.
        """
        drawn, from_source = _drawn(table, source, len(names), count, seed)
        rows, places = np.unique(drawn[["a", "b"]].to_numpy(dtype=np.int64), return_inverse=True)
        first, second = places.reshape(-1, 2).T
        label, kind = drawn["label"].to_numpy(dtype=np.int64), drawn["kind"].to_numpy(dtype=str)
        return cls(table.frame.iloc[rows], rows, first, second, label, kind, from_source, names)

    def __len__(self) -> int:
        return len(self.label)

    @property
    def is_fake(self) -> NDArray[np.bool_]:
        """Mask of the photos that are deepfakes, shape ``(m,)``."""
        return self.photos["is_fake"].to_numpy(dtype=bool)

    def score(self, embeddings: Embeddings) -> tuple[NDArray[np.float64], Calibration]:
        """Similarity of each pair ``(n,)``, and the calibration that it was computed with.

        Args:
            embeddings: of ``photos``, in their order.
        """
        a, b = embeddings.take(self.first), embeddings.take(self.second)
        is_fake = self.is_fake
        calibration = calibrate(a, b, self.kind, is_fake[self.first], is_fake[self.second], self.source)
        return similarity(a, b, calibration), calibration

    def cosines(self, embeddings: Embeddings) -> NDArray[np.float64]:
        """Cosine of each pair, which is what identity alone says, shape ``(n,)``."""
        return cosine(embeddings.take(self.first), embeddings.take(self.second))

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
        self, scores: NDArray[np.float64], cosines: NDArray[np.float64]
    ) -> dict[str, dict[str, float]]:
        """Equal error rates of the pairs of each source, by its name, with the regret; empty if there is one source.

        Args:
            scores: similarities, shape ``(n,)``.
            cosines: of the identity vectors, shape ``(n,)``.

        Returns:
            By source the error rates of the scores and, against all negatives and impostors, ``regret_*``: how far each lies
            above that of the cosines.
        """
        if len(self.names) == 1:
            return {}
        found = {}
        for number in np.unique(self.source):
            rows = self.source == number
            errors, alone = (eers_by_kind(each[rows], self.label[rows], self.kind[rows]) for each in (scores, cosines))
            regrets = {f"regret_{of}": errors[of] - alone[of] for of in _REGRETS if of in errors}
            found[self.names[number]] = errors | regrets
        return found

    def figures(self, embeddings: Embeddings) -> dict[str, float]:
        """Figures of a validation during training.

        Args:
            embeddings: of ``photos``, in their order.

        Returns:
            The error rates over all pairs; ``worst_eer``, that of the source on which it is highest; and of several sources, for
            each, ``challenge_eer/<source>``, ``regret_challenge_eer/<source>`` and ``regret_sv_eer/<source>``.
        """
        scores, _ = self.score(embeddings)
        errors, by_source = self.errors(scores), self.errors_by_source(scores, self.cosines(embeddings))
        worst = max((each["challenge_eer"] for each in by_source.values()), default=errors["challenge_eer"])
        shown = ("challenge_eer", *(f"regret_{name}" for name in _REGRETS))
        each_source = {f"{of}/{name}": found[of] for name, found in by_source.items() for of in shown if of in found}
        return errors | {"worst_eer": worst} | each_source


def _drawn(
    table: FaceTable, source: NDArray[np.int64], sources: int, count: int, seed: int
) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Pairs within each source that has some, and the source of each."""
    in_val = (table.frame["split"] == "val").to_numpy()
    parts: dict[int, pd.DataFrame] = {}
    refused: DataError | None = None
    for number, share in enumerate(np.array_split(np.arange(count), sources)):
        try:
            parts[number] = draw_pairs(table, len(share), seed, in_val & (source == number))
        except DataError as error:
            refused = refused or error
    if not parts and refused is not None:
        raise refused
    of_pair = np.repeat(list(parts), [len(part) for part in parts.values()])
    return pd.concat(parts.values(), ignore_index=True), of_pair
