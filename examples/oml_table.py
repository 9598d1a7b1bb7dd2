"""An OML data frame (label, path, split) judged by bonaface: how many of its photos look forged, and how far its people are apart.

python examples/oml_table.py df.csv

The table goes to `bonaface train --faces.train df.csv` and `bonaface evaluate --pairs df.csv` as it is. Needs bonaface[evaluate].
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

import bonaface


def main(table: str) -> int:
    """Prints the share of photos classified as fake, and the mean cosine within and between people."""
    frame = pd.read_csv(table)
    photos = bonaface.load().embed([Path(table).parent / path for path in frame["path"]])
    print(f"classified as fake: {photos.called_fake.mean():.1%} of {len(photos)}")
    cosine = photos.identity @ photos.identity.T  # (n, n)
    label = frame["label"].to_numpy()
    first, second = np.triu_indices(len(photos), 1)
    same = label[first] == label[second]
    print(
        f"mean cosine of one person {cosine[first, second][same].mean():.2f}, of two {cosine[first, second][~same].mean():.2f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
