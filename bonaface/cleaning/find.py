"""All checks of a folder of faces: files are read, photos embedded, and what was found is judged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.progress import Progress

from bonaface.cleaning.checks import Observations, collect_issues
from bonaface.cleaning.duplicates import HeldOutSet, leak_candidates
from bonaface.cleaning.label_noise import judge_labels
from bonaface.data import layouts
from bonaface.data.inspection import FaceCounter, Inspection, inspect
from bonaface.data.table import FaceTable
from bonaface.errors import DataError
from bonaface.inference.embedder import Embedder
from bonaface.inference.embedding_cache import EmbeddingCache, embed_cached

__all__ = ["check_faces"]

_WORKERS = 2


def check_faces(
    table: FaceTable,
    embedder: Embedder | None,
    counter: FaceCounter | None,
    against: Path | None,
    cache: Path,
    progress: Progress,
) -> pd.DataFrame:
    """Run every check of photos; see :func:`bonaface.cleaning.checks.collect_issues`.

    Args:
        table: photos.
        embedder: the model; None leaves out what needs embeddings.
        counter: counts faces; None leaves that out.
        against: folder of a test set, or None.
        cache: folder where embeddings are kept.
        progress: shows each stage.

    Returns:
        The list of issues: ``path``, ``issue``, ``evidence``, ``suggestion``, ``confidence``, sorted by path.

    Raises:
        DataError: if the test set holds no images, or the photos.
    """
    test_names = [] if against is None else _images(against, table)
    paths = [table.path(row) for row in range(len(table))]
    inspection = inspect(paths, _WORKERS, progress, counter=counter)
    test = None
    if against is not None:
        progress.console.log(f"{len(test_names):,} images of the test set are looked for")
        seen = inspect([against / name for name in test_names], _WORKERS, progress)
        test = HeldOutSet(test_names, seen, root=against)
    if embedder is None:
        return collect_issues(table, Observations(inspection, test=test))
    photos = _Photos(embedder, EmbeddingCache(cache, embedder.fingerprint), progress)
    embeddings, odds = photos.embedded(paths, inspection, _to_embed(table, inspection, photos, paths))
    if test is not None and against is not None:
        wanted = np.unique(leak_candidates(inspection, test.inspection)[0][:, 1])
        vectors, _ = photos.embedded([against / name for name in test.names], test.inspection, wanted)
        test = replace(test, embeddings=vectors)
    observed = Observations(inspection, embeddings, _genuine(embedder, odds), test)
    task = progress.add_task("comparing people", total=None)
    return collect_issues(table, observed, advance=lambda count: progress.advance(task, count))


@dataclass(frozen=True)
class _Photos:
    """A model and what it has embedded before."""

    embedder: Embedder
    cache: EmbeddingCache
    progress: Progress

    def embedded(
        self, paths: list[Path], inspection: Inspection, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64] | None]:
        """Embed some rows: vectors, NaN in the others, and the log-odds of being genuine."""
        chosen, digests = [paths[row] for row in rows], [inspection.digest[row] for row in rows]
        made, judged = embed_cached(self.embedder, chosen, digests, self.cache, self.progress, _WORKERS)
        vectors = np.full((len(paths), made.shape[1]), np.nan, np.float32)
        vectors[rows] = made
        if judged is None:
            return vectors, None
        odds = np.full(len(paths), np.nan)
        odds[rows] = judged
        return vectors, odds


def _to_embed(table: FaceTable, inspection: Inspection, photos: _Photos, paths: list[Path]) -> NDArray[np.int64]:
    """Choose real photos, and the deepfakes of people whose photos contradict each other: they show whose folder it is."""
    is_fake = table.frame["is_fake"].to_numpy(dtype=bool)
    real = np.flatnonzero(~is_fake & inspection.readable)
    if not is_fake.any():
        return real
    person = np.unique(table.frame["person"].to_numpy(dtype=object), return_inverse=True)[1].astype(np.int64)
    contested = judge_labels(photos.embedded(paths, inspection, real)[0], person, is_fake).contested
    return np.flatnonzero(inspection.readable & (~is_fake | contested[person]))


def _genuine(embedder: Embedder, odds: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """Calibrated log probability of being genuine, where the model judges it."""
    if odds is None or embedder.calibration is None or embedder.calibration.genuine is None:
        return None
    known = np.isfinite(odds)
    genuine = np.full(len(odds), np.nan)
    genuine[known] = embedder.calibration.genuine.log_probability(odds[known])
    return genuine


def _images(folder: Path, faces: FaceTable) -> list[str]:
    """List all images of a test set, however deep, relative to its folder.

    Raises:
        DataError: if there are none, or the photos to check are among them.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected a test set: a folder of images")
    if faces.root.resolve().is_relative_to(folder.resolve()):
        raise DataError(
            f"{folder}: holds {faces.root}, whose photos would all be found in it; expected a test set apart"
        )
    names = [path.relative_to(folder).as_posix() for path in layouts.images_below(folder)]
    if not names:
        raise DataError(f"{folder}: holds no images; expected a test set: a folder of images")
    return names
