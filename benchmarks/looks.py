"""What fewer looks at a photo would cost: the shipped model's mirrored looks left out, or taken of doubtful photos alone.

    python benchmarks/looks.py ../shared/lfw-deepfakes/test_public ../shared/dfdc-faces/test_public

Each set is ``images/<pair_id>/0.jpg`` and ``1.jpg`` with a ``labels.csv`` of ``pair_id,label,kind``. A photo is doubtful if the
first look's calibrated log-odds of being genuine lie between minus and plus a limit. Some five minutes a set on one core.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from results import Row, rounded, say

from bonaface.assets import SHIPPED_MODEL
from bonaface.images.decoding import decode
from bonaface.inference.embedder import Embedder, load_embedder
from bonaface.metrics.eer import eers_by_kind
from bonaface.verification.scoring import fused

FIGURES = ("challenge_eer", "sv_eer", "spf_eer", "other_fake_eer")
LIMITS = (0.0, 1.0, 2.0, 3.0, np.inf)


class Looks:
    """The shipped model's two networks, look by look."""

    def __init__(self) -> None:
        model = onnx.load(SHIPPED_MODEL)
        self.names = [node.input[0] for node in model.graph.node if node.op_type == "ReduceMean"]
        if len(self.names) != 2:
            raise SystemExit("expected a model whose two networks average their looks")
        model.graph.output.extend(onnx.helper.make_tensor_value_info(name, 1, None) for name in self.names)
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def __call__(self, images: dict[str, NDArray[np.uint8]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Identity vectors ``(2, dim)`` and log-odds ``(2,)`` of one photo's two looks."""
        given = {"identity_pictures": images["aligned"][None], "authenticity_pictures": images["face_crop"][None]}
        identity, odds = self.session.run(self.names, given)
        return identity[:, 0], odds[:, 0, 0]


def measured(folder: Path, looks: Looks, embedder: Embedder) -> list[Row]:
    """One row for each way to look."""
    with (folder / "labels.csv").open(encoding="utf-8") as stream:
        pairs = list(csv.DictReader(stream))
    known: dict[bytes, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
    sides: tuple[list[bytes], list[bytes]] = ([], [])
    for pair in pairs:
        for number, side in enumerate(sides):
            data = next((folder / "images" / pair["pair_id"]).glob(f"{number}.*")).read_bytes()
            if data not in known:
                known[data] = looks(embedder.preprocess(decode(data)))
            side.append(data)
    vectors, odds = (np.stack([each[at] for each in known.values()]) for at in (0, 1))  # (photos, 2, dim), (photos, 2)
    row = {data: place for place, data in enumerate(known)}
    first, second = (np.array([row[data] for data in side]) for side in sides)
    same, kinds = np.array([pair["label"] == "1" for pair in pairs]), np.array([pair["kind"] for pair in pairs])
    calibration = embedder.calibration
    if calibration is None or calibration.genuine is None:
        raise SystemExit("expected a model that is calibrated and judges authenticity")
    sure = np.abs(calibration.genuine.log_odds(odds[:, 0]))
    rows: list[Row] = []
    for count in (2, 1):
        identity = vectors[:, :count].mean(axis=1)
        identity /= np.linalg.norm(identity, axis=1, keepdims=True)
        cosines = (identity[first] * identity[second]).sum(axis=1)
        for limit in reversed(LIMITS):
            doubtful = sure < limit
            judged = np.where(doubtful, odds.mean(axis=1), odds[:, 0])
            scores = fused(calibration, cosines, judged[first], judged[second])
            found: Row = {"set": folder.parent.name, "identity looks": count, "second look below": str(limit)}
            found["share of photos"] = float(doubtful.mean())
            errors = eers_by_kind(scores, same, kinds)
            found |= {name: errors[name] for name in FIGURES if name in errors}
            rows.append(rounded(found))
    return rows


def main() -> None:
    """Reads the command line, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="SET", help="folder with images and labels.csv")
    looks, embedder = Looks(), load_embedder(None)
    for folder in parser.parse_args().folders:
        for row in measured(folder, looks, embedder):
            say(row)


if __name__ == "__main__":
    main()
