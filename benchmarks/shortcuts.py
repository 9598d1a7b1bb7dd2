"""Shortcuts: can traces of how files were made tell genuine photos from deepfakes, and does the model follow them?

    python benchmarks/shortcuts.py FACES [FACES ...] [--model MODEL] [--val-fraction 0.1] [--most 400]

For each source, on people held out of training: the AUC of a linear probe on traces of file and camera, and of each trace alone,
cross-validated by person, with a 95 % interval by bootstrap over people (sources with deepfakes of their own); and Spearman's
correlation of each trace with the model's log-odds on genuine photos, beside what chance alone reaches. A trace that tells genuine
from fake and that the log-odds follow is a shortcut.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bonaface.data.splits import split_by_person
from bonaface.data.table import read_faces
from bonaface.inference.embedder import load_embedder

Floats = NDArray[np.float64]

TRACES = (
    *("JPEG luminance table", "JPEG chroma table", "bytes per pixel", "pixels"),
    *("sharpness", "brightness", "contrast", "border brightness", "border contrast", "border sharpness"),
)
BORDER = 0.08
"""Width of the border, as a part of the image's side."""


def traces_of(file: Path) -> Floats:
    """The traces of one image file, in the order of ``TRACES``."""
    with Image.open(file) as image:
        tables = getattr(image, "quantization", None) or {}
        grey = np.asarray(image.convert("L"), np.float64)
    luminance, chroma = (float(np.log1p(np.mean(tables[key]))) if key in tables else 0.0 for key in (0, 1))
    height, width = grey.shape
    edges = np.abs(cv2.Laplacian(grey, cv2.CV_64F))
    inner = np.zeros(grey.shape, bool)
    top, left = max(1, round(BORDER * height)), max(1, round(BORDER * width))
    inner[top:-top, left:-left] = True
    border = ~inner
    return np.array(
        [
            *(luminance, chroma, np.log(file.stat().st_size / grey.size), np.log(grey.size)),
            *(np.log1p(edges[inner].mean()), grey.mean(), grey.std()),
            *(grey[border].mean(), grey[border].std(), np.log1p(edges[border].mean())),
        ]
    )


@dataclass(frozen=True)
class Held:
    """Images of people held out of training.

    Args:
        name: of the source.
        traces: ``(n, len(TRACES))``.
        is_fake: shape ``(n,)``.
        person: number of each image's person, shape ``(n,)``.
        log_odds: the model's, shape ``(n,)``.
    """

    name: str
    traces: Floats
    is_fake: NDArray[np.bool_]
    person: NDArray[np.int64]
    log_odds: Floats


def read(where: Path, model: str | None, val_fraction: float, most: int, seed: int) -> Held:
    """Reads, measures and judges at most ``most`` images of a source's validation people."""
    table = split_by_person(read_faces(where), val_fraction, seed)
    rows = np.flatnonzero(table.frame["split"] == "val")
    rows = np.sort(np.random.default_rng(seed).permutation(rows)[:most])
    embedded = load_embedder(model).embed([table.path(int(row)) for row in rows])
    good = np.flatnonzero(embedded.place >= 0)
    odds = embedded.distinct.authenticity
    if odds is None:
        raise SystemExit("the model does not judge authenticity: there is nothing to probe")
    frame = table.frame.iloc[rows[good]]
    person = np.unique(frame["person"], return_inverse=True)[1]
    traces = np.stack([traces_of(table.path(int(row))) for row in rows[good]])
    name = where.parent.name if where.name in ("train", "val") else where.name
    return Held(name, traces, frame["is_fake"].to_numpy(bool), person, odds[embedded.place[good]].astype(float))


def probed(traces: Floats, is_fake: NDArray[np.bool_], person: NDArray[np.int64]) -> Floats:
    """Log-odds of each image by a linear probe that saw other people, shape ``(n,)``."""
    probe = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
    folds = GroupKFold(min(5, len(np.unique(person))))
    found: Floats = cross_val_predict(probe, traces, is_fake, groups=person, cv=folds, method="decision_function")
    return found


def interval(
    scores: Floats, is_fake: NDArray[np.bool_], person: NDArray[np.int64], rng: np.random.Generator
) -> tuple[float, float, float]:
    """AUC with the bounds of its 95 % interval, by bootstrap over people."""
    rows = [np.flatnonzero(person == each) for each in np.unique(person)]
    draws = []
    for _ in range(1000):
        drawn = np.concatenate([rows[each] for each in rng.integers(len(rows), size=len(rows))])
        if 0 < is_fake[drawn].sum() < len(drawn):
            draws.append(roc_auc_score(is_fake[drawn], scores[drawn]))
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(roc_auc_score(is_fake, scores)), float(low), float(high)


def show_probes(held: list[Held], rng: np.random.Generator) -> None:
    """Prints what the probes tell apart, a column a source with deepfakes."""
    both = [each for each in held if 20 <= each.is_fake.sum() < len(each.is_fake)]
    if not both:
        return
    print("\n| AUC, genuine against fake | " + " | ".join(each.name for each in both) + " |")
    print("|---" * (len(both) + 1) + "|")
    columns: dict[str, list[int]] = {"all traces": list(range(len(TRACES)))}
    columns |= {name: [place] for place, name in enumerate(TRACES)}
    for name, places in columns.items():
        cells = []
        for each in both:
            scores = probed(each.traces[:, places], each.is_fake, each.person)
            cells.append("{:.2f} [{:.2f}, {:.2f}]".format(*interval(scores, each.is_fake, each.person, rng)))
        print(f"| {name} | " + " | ".join(cells) + " |")
    judged = [
        "{:.2f} [{:.2f}, {:.2f}]".format(*interval(-each.log_odds, each.is_fake, each.person, rng)) for each in both
    ]
    print("| *the model* | " + " | ".join(judged) + " |")


def show_correlations(held: list[Held], rng: np.random.Generator) -> None:
    """Prints how far the log-odds of genuine photos follow each trace."""
    print("\n| rank correlation with log-odds, genuine photos | " + " | ".join(each.name for each in held) + " |")
    print("|---" * (len(held) + 1) + "|")
    for place, name in enumerate(TRACES):
        cells = []
        for each in held:
            trace, odds = each.traces[~each.is_fake, place], each.log_odds[~each.is_fake]
            cells.append("constant" if np.ptp(trace) < 1e-9 else f"{spearmanr(trace, odds).statistic:+.2f}")
        print(f"| {name} | " + " | ".join(cells) + " |")
    photos = [int((~each.is_fake).sum()) for each in held]
    print("| *by chance, at most* | " + " | ".join(f"{1.96 / np.sqrt(count - 1):.2f}" for count in photos) + " |")
    print("| *photos* | " + " | ".join(str(count) for count in photos) + " |")


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sources", type=Path, nargs="+", metavar="FACES")
    parser.add_argument("--model", help="run or exported model (default: the one that comes with bonaface)")
    parser.add_argument("--val-fraction", type=float, default=0.1, help="as the training's (default: %(default)s)")
    parser.add_argument("--most", type=int, default=400, help="images of each source (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of split, choice and bootstrap (default: %(default)s)")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    held = [read(where, options.model, options.val_fraction, options.most, options.seed) for where in options.sources]
    show_probes(held, rng)
    show_correlations(held, rng)


if __name__ == "__main__":
    main()
