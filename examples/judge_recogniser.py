"""SV-EER and SPF-EER of any ONNX face network, from Python, on a folder of labelled pairs.

python examples/judge_recogniser.py recogniser.onnx demo/test

`bonaface evaluate --model` does the same with intervals and a report.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import bonaface
from bonaface.metrics import challenge_eer


def main(model: str, pairs: str) -> int:
    """Prints the EER of same person against each other kind of pair."""
    folder = Path(pairs)
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    verifier = bonaface.load(model)
    first, second = (verifier.embed([folder / "images" / row["pair_id"] / f"{n}.jpg" for row in rows]) for n in (0, 1))
    scores = bonaface.similarity(first, second)
    by_kind: dict[str, list[float]] = {}
    for row, score in zip(rows, scores, strict=True):
        by_kind.setdefault(row["kind"], []).append(float(score))
    same = by_kind.pop("same")
    for kind, others in sorted(by_kind.items()):
        print(f"{kind:10}  EER {challenge_eer(same, others):.4f} on {len(same)} and {len(others)} pairs")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
