"""Embeddings of a folder of images in one file, by one process and with the core install alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.progress import Progress

from bonaface.data.layouts import images_below
from bonaface.data.videos import IN_PYTHON, told_videos, videos_below
from bonaface.errors import DataError
from bonaface.inference.embedder import Embedder
from bonaface.io import atomic_write
from bonaface.outputs import refuse_foreign_file

__all__ = ["embed_folder"]


def embed_folder(embedder: Embedder, folder: Path, out: Path, progress: Progress | None = None) -> tuple[int, int]:
    """Embeds the images of a folder, and of all folders below it, and writes them as NumPy's ``.npz``.

    The file holds ``path`` (n,), relative to the folder and sorted; ``embedding`` (n, d), unit vectors in float32;
    ``authenticity`` (n,), the log-odds that the photo is genuine, where the model judges it; ``fault`` (n,), why an image could not
    be used, else empty: its embedding is NaN then; and ``model``, the model's fingerprint. ``numpy.load(out)`` reads it.

    Args:
        embedder: the model.
        folder: of images; names that begin with a dot or an underscore are passed over.
        out: the file.
        progress: shows how far it is.

    Returns:
        How many images there are, and how many of them could not be used.

    Raises:
        DataError: if there is no such folder, it holds no images, or the file can't be written.
    """
    if folder.is_file():
        raise DataError(
            f"{folder}: is a file; expected a folder of images; a table of paths goes into an --out that is a folder"
        )
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected a folder of images")
    names = _below(folder)
    if not names:
        videos = videos_below([folder], "._")
        told = f" ({told_videos(videos, IN_PYTHON)})" if videos else ""
        raise DataError(f"{folder}: holds no images{told}; expected a folder of images")
    refuse_foreign_file(out, b"embedding.npy")
    embedded = embedder.embed([folder / name for name in names], progress)
    good = embedded.place >= 0
    vectors = np.full((len(names), embedder.network.dim), np.nan, np.float32)  # (n, d)
    vectors[good] = embedded.distinct.identity[embedded.place[good]]
    columns = {
        "path": np.array(names),
        "embedding": vectors,
        "fault": np.array([embedded.faults.get(row, "") for row in range(len(names))]),
        "model": np.array(embedder.fingerprint),
    }
    if embedded.distinct.authenticity is not None:
        columns["authenticity"] = np.full(len(names), np.nan, np.float32)
        columns["authenticity"][good] = embedded.distinct.authenticity[embedded.place[good]]
    with atomic_write(out, private=True) as temporary:
        np.savez(temporary, **columns)  # type: ignore[arg-type]  # numpy's stubs take the names for allow_pickle
    return len(names), len(embedded.faults)


def _below(folder: Path) -> list[str]:
    """Images at any depth, relative to the folder, in posix form, sorted."""
    names = (path.relative_to(folder) for path in images_below(folder))
    return sorted(name.as_posix() for name in names if not any(part[0] in "._" for part in name.parts[:-1]))
