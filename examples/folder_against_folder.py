"""Compares every photo of one folder with every photo of another, and prints pairs that show one person.

python examples/folder_against_folder.py new/ known/
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import bonaface

FMR = 1e-3
"""Of one comparison: with n x m of them expect FMR * n * m matches by chance."""
SUFFIXES = {".avif", ".heic", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


def main(first: str, second: str) -> int:
    """Prints one line a pair of two genuine photos of one person, and how many pairs could not be judged."""
    new, known = (
        sorted(each for each in Path(folder).iterdir() if each.suffix.lower() in SUFFIXES) for folder in (first, second)
    )
    if not new or not known:
        print(f"{second if new else first}: no photos in it", file=sys.stderr)
        return 2
    pairs = list(product(new, known))
    unclear = 0
    for (one, other), verdict in zip(pairs, bonaface.load().verify_many(pairs, FMR), strict=True):
        if verdict.decision == "same person":
            print(f"{one}\t{other}\t{verdict.similarity:.3f}")
        unclear += verdict.decision == "cannot tell"
    print(f"{len(pairs)} pairs, of which {unclear} can't be told", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
