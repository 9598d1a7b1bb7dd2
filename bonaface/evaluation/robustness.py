"""The robustness card: the same figures when images are degraded, and when deepfakes are changed on purpose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from rich.progress import Progress, TaskID

from bonaface.data.pairs import PairTable
from bonaface.errors import DataError
from bonaface.evaluation.corruptions import CORRUPTIONS
from bonaface.evaluation.figures import groups_of
from bonaface.images.decoding import decode
from bonaface.images.preprocessing import Preprocessor
from bonaface.inference.backends.torch import TorchNetwork, as_torch
from bonaface.inference.embedder import Embedder
from bonaface.metrics.scores import checked_two, count_scores, roc_errors
from bonaface.verification.calibration import Calibration
from bonaface.verification.embeddings import Embeddings
from bonaface.verification.scoring import passing, similarity

__all__ = ["Subject", "add_robustness", "chosen_pairs", "subject_of", "whole_eer"]

COLUMNS = {
    "eer": "EER, all",
    "eer_impostor": "EER, another person",
    "eer_own_fake": "EER, own deepfake",
    "fnmr": "genuine refused",
    "iapar": "own deepfakes accepted",
    "called_fake": "genuine photos classified as fake",
    "mean_similarity": "own deepfakes' mean similarity",
}
_EPSILONS = (1, 2, 4, 8)
_PGD_STEPS = 10
_ATTACKS = (
    f"FGSM and PGD ({_PGD_STEPS} steps) change the deepfake alone, by at most that much a value, knowing the network. "
)
_NO_ATTACKS = "Attacks were left out: they follow gradients, which an exported model does not have. "


@dataclass(frozen=True)
class Subject:
    """A model under test.

    Args:
        embed: from decoded images to embeddings.
        calibration: of its scores, where it has one.
        network: whose gradients attacks follow; None for an exported model, which has none.
        preprocess: from a decoded image to what the networks see.
    """

    embed: Callable[[Sequence[NDArray[np.uint8]]], Embeddings]
    calibration: Calibration | None
    network: TorchNetwork | None
    preprocess: Preprocessor


def subject_of(embedder: Embedder) -> Subject:
    """Take of a model what the card needs."""
    return Subject(embedder.embed_images, embedder.calibration, as_torch(embedder.network), embedder.preprocess)


def chosen_pairs(labels: pd.DataFrame, count: int, seed: int) -> NDArray[np.int64]:
    """Rows of at most ``count`` pairs, as many of each kind as there are in all, in their order.

    Example:
        >>> chosen_pairs(pd.DataFrame({"label": [1, 1, 0, 0, 0, 0]}), 3, 0).shape
        (3,)
    """
    rng = np.random.default_rng(seed)
    share = min(1.0, count / len(labels))
    parts = [
        rng.choice(rows, max(1, round(share * len(rows))), replace=False)
        for rows in (np.flatnonzero(mask) for mask in groups_of(labels).values())
        if len(rows)
    ]
    return np.sort(np.concatenate(parts))


def whole_eer(same: ArrayLike, different: ArrayLike) -> float:
    """Mean of both error rates where they are closest, no point of the ROC left out.

    The challenge's rule looks at the corners of the ROC alone, and gives 0 where many fakes score above every genuine pair.

    Args:
        same: similarities of mated pairs, shape ``(n,)``.
        different: similarities of non-mated pairs, shape ``(m,)``.

    Raises:
        DataError: if a class is empty, or a score is not finite.

    Example:
        >>> whole_eer([0.5, 0.4], [0.9, 0.8]), whole_eer([0.9, 0.8], [0.5, 0.4]), whole_eer([2, 4], [5, 3, 1, 0])
        (1.0, 0.0, 0.5)
    """
    _, same_counts, different_counts = count_scores(*checked_two(same, different))
    fnr, fpr = roc_errors(same_counts, different_counts)
    at = int(np.argmin(np.abs(fnr - fpr)))
    return float(fnr[at] + fpr[at]) / 2


def add_robustness(
    figures: dict[str, Any],
    subject: Subject,
    pairs: PairTable,
    labels: pd.DataFrame,
    count: int,
    seed: int,
    progress: Progress | None = None,
) -> None:
    """Judge some pairs under every corruption and attack, and put the card into the figures as ``robustness``.

    The threshold is the one that is stated for the pairs as they are (FMR 1e-2, or the nearest that is resolved).

    Args:
        figures: of the model, as ``judge`` returns them.
        subject: the model; without gradients only the corruptions are tried.
        pairs: the judged pairs.
        labels: in the same order.
        count: how many pairs at most.
        seed: of their choice and of the noise.
        progress: shows how far it is.

    Raises:
        DataError: if the chosen pairs hold only one class.
    """
    rows = chosen_pairs(labels, count, seed)
    images, readable = _read(pairs, rows)
    rows, images = rows[readable], [side[readable] for side in images]
    labels = labels.iloc[rows].reset_index(drop=True)
    resolved = [row for row in figures["operating_points"] if "threshold" in row]
    point = min(resolved, key=lambda row: abs(row["fmr_target"] - 1e-2), default=None)
    card = _Card(subject, labels, None if point is None else point["threshold"]["estimate"], seed)
    known = "kind" in labels and "method_0" in labels
    fakes = np.count_nonzero(labels["kind"] == "own_fake") if known else 0
    network = subject.network if fakes else None
    attacks = _ATTACKS if network is not None else _NO_ATTACKS if fakes else ""
    total = len(CORRUPTIONS) + (2 * len(_EPSILONS) if network is not None else 0)
    task = progress.add_task("robustness", total=total) if progress else None
    made = [card.degraded(name, images, progress, task) for name in CORRUPTIONS]
    if network is not None:
        made += card.attacked(images, network, progress, task)
    at = (
        "" if point is None else f" at the threshold {point['threshold']['estimate']:.4f} (FMR {point['fmr_target']:g})"
    )
    called = (
        "" if made[0]["called_fake"] is None else ", classified as fake below the model's threshold for single photos"
    )
    figures["robustness"] = {
        "pairs": len(rows),
        "note": f"{len(rows):,} of the pairs; both images of each are degraded; accepted and refused{at}{called}. "
        f"{attacks}EER is the mean of both rates where they are closest on the whole ROC: the challenge's rule jumps where fakes "
        "overtake genuine pairs.",
        "columns": {key: name for key, name in COLUMNS.items() if any(row[key] is not None for row in made)},
        "rows": made,
    }


def _read(pairs: PairTable, rows: NDArray[np.int64]) -> tuple[list[NDArray[Any]], NDArray[np.bool_]]:
    """Decoded images of both sides (object arrays), and which pairs can be read."""
    sides = [np.empty(len(rows), dtype=object) for _ in range(2)]
    readable = np.ones(len(rows), dtype=bool)
    for place, row in enumerate(rows):
        for side, column in zip(sides, ("path_0", "path_1"), strict=True):
            try:
                side[place] = decode(pairs.root / pairs.frame[column].iloc[row])
            except (DataError, OSError):
                readable[place] = False
    return sides, readable


class _Card:
    """Makes the rows of the card."""

    def __init__(self, subject: Subject, labels: pd.DataFrame, threshold: float | None, seed: int) -> None:
        self._subject = subject
        self._labels = labels
        self._threshold = threshold
        self._seed = seed

    def degraded(
        self, name: str, images: list[NDArray[Any]], progress: Progress | None, task: TaskID | None
    ) -> dict[str, Any]:
        """All images under one corruption."""
        rng = np.random.default_rng(self._seed)
        corrupt = CORRUPTIONS[name]
        a, b = (self._subject.embed([corrupt(image, rng) for image in side]) for side in images)
        _advance(progress, task)
        row = self._row(name, *self._scored(a, b))
        return row | {"called_fake": self._called_fake(a, b)}

    def _scored(self, a: Embeddings, b: Embeddings) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Similarities, and those that the threshold is asked about."""
        scores = similarity(a, b, self._subject.calibration)
        return scores, passing(scores, a, b, self._subject.calibration)

    def _called_fake(self, a: Embeddings, b: Embeddings) -> float | None:
        """Share of the photos of genuine pairs that are classified as deepfakes; None where the model does not judge it."""
        calibration = self._subject.calibration
        if a.authenticity is None or b.authenticity is None or calibration is None or calibration.genuine is None:
            return None
        same = groups_of(self._labels)["same"]
        photos = np.concatenate([a.authenticity[same], b.authenticity[same]])
        return float(np.mean(calibration.called_fake(photos)))

    def attacked(
        self, images: list[NDArray[Any]], network: TorchNetwork, progress: Progress | None, task: TaskID | None
    ) -> list[dict[str, Any]]:
        """The fakes of own_fake pairs under FGSM and PGD; the other pairs as they are."""
        from bonaface.evaluation.attacks import attacked_embeddings  # torch, which nothing else of an evaluation needs

        subject = self._subject
        a, b = (subject.embed(list(side)) for side in images)
        clean, clean_passing = self._scored(a, b)
        rows = np.flatnonzero(self._labels["kind"] == "own_fake")
        first = self._labels["method_0"].to_numpy(dtype=str)[rows] != "real"
        fakes = [images[0][row] if is_first else images[1][row] for row, is_first in zip(rows, first, strict=True)]
        others = [images[1][row] if is_first else images[0][row] for row, is_first in zip(rows, first, strict=True)]
        genuine = subject.embed(others)
        prepared = [subject.preprocess(fake) for fake in fakes]
        made = []
        for name, steps in (("FGSM", 1), (f"PGD {_PGD_STEPS}", _PGD_STEPS)):
            for epsilon in _EPSILONS:
                scores, asked = clean.copy(), clean_passing.copy()
                moved = attacked_embeddings(network, prepared, genuine.identity, subject.calibration, epsilon, steps)
                scores[rows], asked[rows] = self._scored(moved, genuine)
                made.append(self._row(f"{name}, {epsilon}/255", scores, asked))
                _advance(progress, task)
        return made

    def _row(self, name: str, scores: NDArray[np.float64], asked: NDArray[np.float64]) -> dict[str, Any]:
        """Figures of one condition: error rates of the similarities, and shares of what the threshold is asked about."""
        groups = groups_of(self._labels)
        same = scores[groups["same"]]
        row: dict[str, Any] = {"condition": name} | dict.fromkeys(COLUMNS)
        row["eer"] = whole_eer(same, scores[~groups["same"]])
        for kind in {"impostor", "own_fake"} & set(groups):
            row[f"eer_{kind}"] = whole_eer(same, scores[groups[kind]])
        if self._threshold is not None:
            row["fnmr"] = float(np.mean(asked[groups["same"]] < self._threshold))
        if "own_fake" in groups:
            fakes = scores[groups["own_fake"]]
            row["mean_similarity"] = float(fakes.mean())
            row["iapar"] = (
                None if self._threshold is None else float(np.mean(asked[groups["own_fake"]] >= self._threshold))
            )
        return row


def _advance(progress: Progress | None, task: TaskID | None) -> None:
    if progress is not None and task is not None:
        progress.advance(task)
