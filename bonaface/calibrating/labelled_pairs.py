"""Labelled pairs to calibrate with: what each pair and each image of it is, before any image is opened."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.data.pair_labels import forged_sides
from bonaface.errors import DataError
from bonaface.evaluation.figures import bootstrap_of
from bonaface.evaluation.inputs import PairSource, read_judged
from bonaface.metrics import KINDS
from bonaface.verification.threshold_fitting import impostor_count

__all__ = ["LabelledPairs"]


@dataclass(frozen=True)
class LabelledPairs:
    """Pairs whose truth is known.

    Args:
        name: what messages call them.
        root: folder that paths are relative to.
        path: of both images of each pair, shape ``(2, n)``.
        kind: same, impostor, own_fake or other_fake, shape ``(n,)``.
        is_fake: whether each image is a deepfake, shape ``(2, n)``; None where only the pairs' kinds are known.
        person: who is on each image, shape ``(2, n)``; the pair's number where that is not known.
        drawn: from a folder of people, all of whose photos may then be set against each other.
        kinds_said: whether a kind or methods say what a pair is; else label 0 stands for two people.
    """

    name: str
    root: Path
    path: NDArray[np.object_]
    kind: NDArray[np.str_]
    is_fake: NDArray[np.bool_] | None
    person: NDArray[Any]
    drawn: bool
    kinds_said: bool = True

    @classmethod
    def read(cls, source: PairSource) -> LabelledPairs:
        """Read pairs as ``bonaface evaluate`` does. Pairs without a kind are of one person, or of two.

        Raises:
            ConfigError: if the labels are missing from the call.
            DataError: if they are not what they should be.
        """
        table, labels = read_judged(source)
        kind = _kinds(labels)
        people = bootstrap_of(labels)
        return cls(
            source.name,
            table.root,
            table.frame[["path_0", "path_1"]].to_numpy(dtype=object).T,
            kind,
            _fake_sides(labels, kind),
            np.stack([np.asarray(people.person_0), np.asarray(people.person_1)]),
            source.labels is None and Path(source.pairs or "").is_dir(),
            not {"kind", "method_0", "method_1"}.isdisjoint(labels),
        )

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def files(self) -> list[Path]:
        """The first images of all pairs, then the second ones."""
        return [self.root / path for path in self.path.reshape(-1)]

    @property
    def counts(self) -> dict[str, int]:
        """How many pairs there are of each kind."""
        return {name: int((self.kind == name).sum()) for name in KINDS}

    @property
    def impostor_pairs(self) -> int:
        """How many pairs of two people thresholds can rest on."""
        if not self.drawn or self.is_fake is None:
            return self.counts["impostor"]
        _, first = np.unique(self.path.reshape(-1).astype(str), return_index=True)
        return impostor_count(self.person.reshape(-1)[first], self.is_fake.reshape(-1)[first])

    def take(self, rows: NDArray[np.bool_]) -> LabelledPairs:
        """Some of the pairs."""
        is_fake = None if self.is_fake is None else self.is_fake[:, rows]
        return replace(
            self, path=self.path[:, rows], kind=self.kind[rows], is_fake=is_fake, person=self.person[:, rows]
        )

    def check(self) -> None:
        """Refuse pairs that no model can be calibrated with.

        Raises:
            DataError: if there are none of one person, or none of two.
        """
        counts = self.counts
        if not counts["same"]:
            raise DataError(f"{self.name}: holds no pair of one person (same); expected some, to calibrate with")
        if not counts["impostor"]:
            raise DataError(
                f"{self.name}: holds no pair of two people (impostor); expected some, since thresholds rest on them"
            )


def _kinds(labels: pd.DataFrame) -> NDArray[np.str_]:
    if "kind" in labels:
        return labels["kind"].to_numpy(dtype=str)
    return np.where(labels["label"].to_numpy() == 1, "same", "impostor")


def _fake_sides(labels: pd.DataFrame, kind: NDArray[np.str_]) -> NDArray[np.bool_] | None:
    """Which images are deepfakes, ``(2, n)``; None where the methods do not name one in each pair that has one."""
    sides = forged_sides(labels)
    return sides if bool((sides.any(axis=0) == np.isin(kind, ("own_fake", "other_fake"))).all()) else None
