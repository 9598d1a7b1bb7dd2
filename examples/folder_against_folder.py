"""Compares every photo of one folder with every photo of another, and prints pairs that show one person.

python examples/folder_against_folder.py new/ known/
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import bonaface

FMR = 1e-3
"""Of one comparison: with n x m of them expect FMR * n * m matches by chance."""


def main(first: str, second: str) -> int:
    """Prints one line a pair at or above the threshold."""
    verifier = bonaface.load()
    names = [sorted(Path(folder).glob("*.jpg")) for folder in (first, second)]
    new, known = (verifier.embed(photos) for photos in names)
    threshold = verifier.threshold(FMR).threshold
    for row, name in enumerate(names[0]):
        one = new.take(np.full(len(known), row))  # similarity is row by row
        scores = bonaface.similarity(one, known)
        for match in np.flatnonzero(scores >= threshold):
            print(f"{name}\t{names[1][match]}\t{scores[match]:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
