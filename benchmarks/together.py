"""Several runs together on validation pairs, by the mean of their log-odds, and two recognisers by that of cosines.

python benchmarks/together.py runs/bonaface runs/residual
python benchmarks/together.py runs/bonaface --recogniser ../shared/weights/sface_2021dec.onnx
"""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from bonaface.inference.embedder import load_embedder
from bonaface.metrics.operating_points import auc
from bonaface.training.datamodule import TrainingFaces, prepare
from bonaface.training.module import val_embeddings
from bonaface.training.run import Run, load_run
from bonaface.training.sources import clean, read_sources
from bonaface.verification.embeddings import Embeddings


def validation(run: Run, console: Console) -> tuple[TrainingFaces, Embeddings]:
    """The run's validation photos and their embeddings by its best weights."""
    with Progress(console=console, transient=True) as progress:
        settings, batch = run.config.faces, run.config.batch
        tables, _, _ = clean(read_sources(settings), settings, batch, console, progress)
        faces = prepare(tables, run.model.views, settings, batch, run.config.seed, console, progress)
    return faces, val_embeddings(run.model, faces)


def identities(file: Path, detector: Path | None, faces: TrainingFaces) -> NDArray[np.float32]:
    """Unit vectors ``(n, dim)`` of the validation photos by an ONNX recogniser."""
    said = load_embedder(str(file), detector).embed([faces.table.path(int(row)) for row in faces.pairs.rows])
    return said.distinct.take(said.place).identity


def row(name: str, photos: Embeddings, faces: TrainingFaces) -> str:
    """One line of figures."""
    errors = faces.pairs.errors(faces.pairs.score(photos)[0])
    odds = np.asarray(photos.authenticity)
    is_fake = faces.pairs.is_fake
    kinds = "challenge_eer", "challenge_eer_rocch", "sv_eer", "sv_eer_rocch", "spf_eer", "spf_eer_rocch"
    return f"{name}: AUC {auc(odds[~is_fake], odds[is_fake]):.4f}; " + ", ".join(
        f"{kind} {errors[kind]:.4f}" for kind in kinds
    )


def main() -> None:
    """Prints a row for each run, for each two of them, and for all with another recogniser's vectors beside the first's."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--recogniser", type=Path)
    options = parser.parse_args()
    first = load_run(options.runs[0])
    faces, photos = validation(first, Console(stderr=True))
    said = {options.runs[0].name: np.asarray(photos.authenticity)}
    for folder in options.runs[1:]:
        said[folder.name] = np.asarray(val_embeddings(load_run(folder).model, faces).authenticity)
    sets = {name: [odds] for name, odds in said.items()}
    sets |= {f"{a} + {b}": [said[a], said[b]] for a, b in combinations(said, 2)}
    other = options.recogniser and identities(options.recogniser, first.detector, faces)
    for name, odds in sets.items():
        together = np.mean(odds, axis=0)
        print(row(name, Embeddings(photos.identity, together), faces))
        if other is not None:
            both = np.concatenate([photos.identity, other], axis=1) / np.sqrt(2)  # its products are the cosines' mean
            print(row(f"{name}, two recognisers", Embeddings(both, together), faces))


if __name__ == "__main__":
    main()
