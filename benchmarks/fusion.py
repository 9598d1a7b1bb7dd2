"""Effect of the similarity's two constants on a run's validation pairs: prior odds of one person, and least belief in a photo.

python benchmarks/fusion.py runs/bonaface --priors 0 -1 -2 --doubts 0.05 0.1 0.2
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from bonaface.training.datamodule import TrainingFaces, clean, prepare, read_sources
from bonaface.training.module import val_embeddings
from bonaface.training.run import Run, load_run
from bonaface.verification.embeddings import Embeddings
from bonaface.verification.scoring import similarity
from bonaface.verification.threshold_fitting import val_thresholds

RATES = (1e-2, 1e-3)


def validation(run: Run, console: Console) -> tuple[TrainingFaces, Embeddings]:
    """The run's validation photos and what its best weights say of them."""
    with Progress(console=console, transient=True) as progress:
        settings, batch = run.config.faces, run.config.batch
        tables, _ = clean(read_sources(settings), settings, batch, console, progress)
        faces = prepare(tables, run.model.views, settings, batch, run.config.seed, console, progress)
    return faces, val_embeddings(run.model, faces)


def main() -> None:
    """Prints one row for each pair of constants."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--priors", type=float, nargs="+", default=[0.0, -1.0, -2.0])
    parser.add_argument("--doubts", type=float, nargs="+", default=[0.05, 0.1, 0.2])
    options = parser.parse_args()
    run = load_run(options.run)
    if run.calibration is None:
        parser.error(f"{options.run}: was stopped before its end and has no calibration")
    faces, photos = validation(run, Console(stderr=True))
    pairs = faces.pairs
    a, b, kind, shown = photos.take(pairs.first), photos.take(pairs.second), pairs.kind, pairs.photos
    for prior in options.priors:
        for doubt in options.doubts:
            calibration = replace(run.calibration, prior=prior, doubt=doubt)
            scores, rng = similarity(a, b, calibration), np.random.default_rng(0)
            errors = pairs.errors(scores)
            row = f"prior {prior:g}, doubt {doubt:g}: EER {errors['challenge_eer']:.4f}, impostor {errors['sv_eer']:.4f}, "
            row += f"own deepfake {errors['spf_eer']:.4f}"
            for each in val_thresholds(photos, shown["person"], shown["is_fake"], calibration, rng, RATES):
                accepted = (scores[kind == "own_fake"] >= each.threshold).mean()
                refused = (scores[kind == "same"] < each.threshold).mean()
                row += f"; FMR {each.fmr:g} at {each.threshold:.2f}: own deepfakes {accepted:.1%}, genuine refused {refused:.1%}"
            print(row)


if __name__ == "__main__":
    main()
