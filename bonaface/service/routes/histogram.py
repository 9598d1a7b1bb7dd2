"""Histogram behind the page's scale: how similar this model finds pairs of people who do not exist.

A model's own validation pairs would be nearer to the truth, but a model does not carry them; the demo pack is in the package.
"""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

import numpy as np

from bonaface.assets import unpack_demo
from bonaface.inference.verifier import Verifier
from bonaface.service.schemas import HistogramResponse
from bonaface.verification.scoring import similarity

__all__ = ["of_demo_pack"]

_PAIRS = 40
_BINS = 24
_KINDS = ("same", "impostor", "own_fake")


def of_demo_pack(verifier: Verifier) -> HistogramResponse:
    """Similarities of the pack's pairs, of each kind as many."""
    with tempfile.TemporaryDirectory() as folder:
        test = unpack_demo(Path(folder)) / "test"
        with (test / "labels.csv").open(encoding="utf-8", newline="") as file:
            pairs = [(row["kind"], test / "images" / row["pair_id"]) for row in csv.DictReader(file)]
        chosen = [pair for kind in _KINDS for pair in [each for each in pairs if each[0] == kind][:_PAIRS]]
        files = [folder / f"{side}.jpg" for side in "01" for _, folder in chosen]
        embedded = verifier.embedder.embed(files, threads=1)
    a, b = (embedded.distinct.take(side) for side in embedded.place.reshape(2, len(chosen)))
    scores = similarity(a, b, verifier.embedder.calibration)
    edges = np.linspace(scores.min(), scores.max() + 1e-9, _BINS + 1)
    same = np.array([kind == "same" for kind, _ in chosen])
    return HistogramResponse(
        pairs=f"{same.sum()} pairs of one person and {(~same).sum()} others, half of them deepfakes, of people who do not exist",
        edges=edges.round(4).tolist(),
        same=np.histogram(scores[same], edges)[0].tolist(),
        others=np.histogram(scores[~same], edges)[0].tolist(),
    )
