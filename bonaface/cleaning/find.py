"""All checks of a folder of faces, put together: files are read, photos embedded, and what was seen is judged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.progress import Progress

from bonaface.cleaning.checks import Seen, find_doubts
from bonaface.cleaning.duplicates import Leak, leak_candidates
from bonaface.cleaning.label_noise import judge_labels
from bonaface.data import layouts
from bonaface.data.inspection import FaceCounter, Inspection, inspect
from bonaface.data.table import FaceTable
from bonaface.errors import DataError
from bonaface.inference.embedding_cache import EmbeddingCache, embed_cached

if TYPE_CHECKING:
    from bonaface.inference.embedder import Embedder

__all__ = ["look_for_doubts"]

_WORKERS = 2


def look_for_doubts(
    table: FaceTable,
    model: str | None,
    detector: Path | None,
    device: str,
    against: Path | None,
    cache: Path,
    progress: Progress,
) -> pd.DataFrame:
    """Find everything that is wrong with photos; see :func:`bonaface.cleaning.checks.find_doubts`.

    Args:
        table: photos.
        model: folder of a run or ONNX file; None leaves out what needs embeddings.
        detector: YuNet file; None leaves out the counting of faces.
        device: auto, cpu or cuda.
        against: folder of a test set, or None.
        cache: folder that keeps embeddings.
        progress: shows each stage.

    Raises:
        DataError: if the test set holds no images.
        ModelError: if the model or the detector can't be read.
    """
    embedder = None if model is None else _load(model, detector, device)
    counter = None if detector is None else FaceCounter(detector)
    tests = None if against is None else _images(against)
    paths = [table.path(row) for row in range(len(table))]
    inspection = inspect(paths, _WORKERS, progress, counter=counter)
    leak = None if against is None or tests is None else Leak(*_inspected(against, tests, progress))
    if embedder is None:
        return find_doubts(table, Seen(inspection, leak=leak))
    photos = _Photos(embedder, EmbeddingCache(cache, embedder.fingerprint), progress)
    embeddings, odds = photos.embedded(paths, inspection, _to_embed(table, inspection, photos, paths))
    if leak is not None and against is not None:
        wanted = np.unique(leak_candidates(inspection, leak.inspection)[0][:, 1])
        vectors, _ = photos.embedded([against / name for name in leak.names], leak.inspection, wanted)
        leak = Leak(leak.names, leak.inspection, vectors)
    genuine = _genuine(embedder, odds)
    task = progress.add_task("comparing people", total=None)
    return find_doubts(
        table, Seen(inspection, embeddings, genuine, leak), advance=lambda count: progress.advance(task, count)
    )


def _load(model: str, detector: Path | None, device: str) -> Embedder:
    from bonaface.inference.embedder import load_embedder  # costs seconds, which checks without a model don't need

    return load_embedder(model, detector, device)


class _Photos:
    """A model and what it has embedded before."""

    def __init__(self, embedder: Embedder, cache: EmbeddingCache, progress: Progress) -> None:
        self.embedder, self.cache, self.progress = embedder, cache, progress

    def embedded(
        self, paths: list[Path], inspection: Inspection, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64] | None]:
        """Embeddings of some rows, NaN in the others, and their log-odds of being genuine."""
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
    """Real photos, and the deepfakes of people whose photos contradict each other: they show whose folder it is."""
    is_fake = table.frame["is_fake"].to_numpy(dtype=bool)
    real = np.flatnonzero(~is_fake & inspection.readable)
    if not is_fake.any():
        return real
    person = np.unique(table.frame["person"].to_numpy(dtype=object), return_inverse=True)[1].astype(np.int64)
    contested = judge_labels(photos.embedded(paths, inspection, real)[0], person, is_fake).contested
    return np.flatnonzero(inspection.readable & (~is_fake | contested[person]))


def _genuine(embedder: Embedder, odds: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """Calibrated log probability of being genuine, where the model has it."""
    if odds is None or embedder.calibration is None or embedder.calibration.genuine is None:
        return None
    return embedder.calibration.genuine.log_probability(odds)


def _images(folder: Path) -> list[str]:
    """Images of a test set, in any of the layouts, relative to its folder.

    Raises:
        DataError: if there are none.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected a test set: folders of images")
    for root in (folder, folder / "images"):
        tree = layouts.images_by_folder(root) if root.is_dir() else {}
        names = [(root / inner / name).relative_to(folder).as_posix() for inner in tree for name in tree[inner]]
        if names:
            return names
    raise DataError(f"{folder}: holds no folders of images; expected a test set: folders of images")


def _inspected(folder: Path, names: list[str], progress: Progress) -> tuple[list[str], Inspection]:
    return names, inspect([folder / name for name in names], _WORKERS, progress)
