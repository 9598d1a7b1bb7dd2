"""What lies behind the page's scale: how similar this model finds pairs of people who do not exist.

A model's own validation pairs would be nearer to the truth, but a model does not carry them; the demo pack is in the package.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from bonaface.assets import unpack_demo
from bonaface.data.pairs import read_pairs
from bonaface.inference.verifier import Verifier
from bonaface.service.schemas import HistogramSeen
from bonaface.verification.scoring import similarity

__all__ = ["of_demo_pack"]

_PAIRS = 40
_BINS = 24
_KINDS = ("same", "impostor", "own_fake")


def of_demo_pack(verifier: Verifier) -> HistogramSeen:
    """Similarities of the pack's pairs, of each kind as many."""
    with tempfile.TemporaryDirectory() as folder:
        test = unpack_demo(Path(folder)) / "test"
        pairs = read_pairs(test)
        labels = pd.read_csv(test / "labels.csv", dtype=str).set_index("pair_id")["kind"]
        kinds = labels.loc[pairs.frame["pair_id"].astype(str)].to_numpy()
        rows = np.concatenate([np.flatnonzero(kinds == kind)[:_PAIRS] for kind in _KINDS])
        frame = pairs.frame.iloc[rows]
        embedded = verifier.embedder.embed([test / name for name in [*frame["path_0"], *frame["path_1"]]], threads=1)
    a, b = (embedded.distinct.take(side) for side in embedded.place.reshape(2, len(rows)))
    scores = similarity(a, b, verifier.embedder.calibration)
    edges = np.linspace(scores.min(), scores.max() + 1e-9, _BINS + 1)
    same = kinds[rows] == "same"
    return HistogramSeen(
        pairs=f"{same.sum()} pairs of one person and {(~same).sum()} others, half of them deepfakes, of people who do not exist",
        edges=edges.round(4).tolist(),
        same=np.histogram(scores[same], edges)[0].tolist(),
        others=np.histogram(scores[~same], edges)[0].tolist(),
    )
