"""What is judged, whichever way it is given: pairs and labels, and what a run knows of its validation pairs."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.progress import Progress

from bonaface.data.layouts import images_by_folder, looks_like_pairs
from bonaface.data.pair_lists import read_lfw_pairs, read_pair_list
from bonaface.data.pairs import PairTable, labels_of, read_labels, read_pairs
from bonaface.errors import ConfigError, DataError
from bonaface.evaluation.figures import bootstrap_of, groups_of
from bonaface.evaluation.scores import PairScores, pairs_of_labels, read_scores, told_apart
from bonaface.forgery.evaluation_sets import drawn_pairs
from bonaface.images.alignment import Aligner
from bonaface.images.decoding import decode
from bonaface.verification.threshold_fitting import fit_llr, thresholds_of_pairs
from bonaface.verification.thresholds import Validation

__all__ = ["faceless_images", "read_judged", "scores_of_files", "validation_of_pairs"]


def read_judged(
    pairs: Path | None, labels: Path | None, draw: int = 2000, seed: int = 0
) -> tuple[PairTable, pd.DataFrame]:
    """Pairs and their labels.

    Args:
        pairs: a folder of pairs with ``labels`` a CSV; LFW's folder with ``labels`` its pairs.txt; a CSV of two paths and a
            label; a folder of faces as training reads it, of which pairs are drawn; None where there are scores alone.
        labels: may be left out where ``pairs`` is a CSV or a folder of faces.
        draw: how many pairs are drawn.
        seed: of the draw.

    Raises:
        ConfigError: if a file is missing from the call.
        DataError: if they are not what they should be, or every label is the same.
    """
    table, frame = _read_any(pairs, labels, draw, seed)
    if frame["label"].nunique() < 2:
        raise DataError(
            f"{labels or pairs}: every label is {frame['label'].iloc[0]}; expected pairs of one person (1) and others (0)"
        )
    return table, frame


def _read_any(pairs: Path | None, labels: Path | None, draw: int, seed: int) -> tuple[PairTable, pd.DataFrame]:
    if pairs is not None and pairs.is_file():
        table, own = read_pair_list(pairs)
        return table, own if labels is None or labels.resolve() == pairs.resolve() else read_labels(labels, table)
    if labels is None and pairs is not None and _holds_faces(pairs):
        frame = drawn_pairs(pairs, draw, seed)
        frame.insert(0, "pair_id", [f"{row:08d}" for row in range(len(frame))])
        return PairTable.from_frame(pairs, frame), labels_of(frame.astype(str), pairs)
    if labels is None:
        raise ConfigError("--labels: expected the CSV that says what each pair is (pair_id,label), or LFW's pairs.txt")
    if pairs is None:
        return pairs_of_labels(labels)
    if labels.suffix.lower() == ".txt":
        return read_lfw_pairs(pairs, labels)
    table = read_pairs(pairs)
    return table, read_labels(labels, table)


def _holds_faces(folder: Path) -> bool:
    """Whether a folder is one to train on, by person, and not one of pairs."""
    if not folder.is_dir() or (folder / "meta.json").is_file():
        return folder.is_dir()
    return not any(looks_like_pairs(images_by_folder(each)) for each in (folder, folder / "images") if each.is_dir())


def validation_of_pairs(similarity: NDArray[np.float64], labels: pd.DataFrame, seed: int) -> Validation:
    """Thresholds and likelihood ratios from validation pairs that were scored.

    Args:
        similarity: shape ``(n,)``.
        labels: in the same order; without kinds every non-mated pair counts as an impostor.
        seed: of the bootstrap.

    Raises:
        DataError: if one class is missing.
    """
    groups = groups_of(labels)
    if not groups.get("same", np.zeros(1, bool)).any() or len(groups) < 2 or groups["same"].all():
        raise DataError("validation pairs: expected pairs of one person and of different ones, got only one class")
    against = groups.get("impostor", groups.get("different", np.zeros(len(labels), bool)))
    people = bootstrap_of(labels)
    first, second = (np.asarray(side)[against] for side in (people.person_0, people.person_1))
    thresholds = thresholds_of_pairs(similarity[against], first, second, np.random.default_rng(seed))
    return Validation(thresholds, fit_llr(similarity, labels["label"]), int(against.sum()))


def scores_of_files(
    files: Sequence[Path], pairs: PairTable, labels: Path, val_files: Sequence[Path], val_labels: Path | None, seed: int
) -> list[PairScores]:
    """Scores from anywhere, with thresholds from the scores of other pairs where there are any.

    Args:
        files: CSVs of pair_id,similarity.
        pairs: that each must score.
        labels: what names these pairs, for messages.
        val_files: one for each of ``files``, or none at all.
        val_labels: what the pairs of ``val_files`` are.
        seed: of the bootstrap.

    Raises:
        DataError: as ``read_scores`` does.
    """
    names, ids = told_apart([file.stem for file in files]), pairs.frame["pair_id"].tolist()
    scores = [read_scores(file, ids, str(labels)) for file in files]
    if not val_files or val_labels is None:
        return [PairScores(*each) for each in zip(names, map(str, files), scores, strict=True)]
    other, other_labels = read_judged(None, val_labels)
    other_ids = other.frame["pair_id"].tolist()
    found = [
        validation_of_pairs(read_scores(file, other_ids, str(val_labels)), other_labels, seed) for file in val_files
    ]
    source = [f"other pairs: {val_labels}"] * len(files)
    return [PairScores(*each) for each in zip(names, map(str, files), scores, found, source, strict=True)]


def faceless_images(
    aligner: Aligner, root: Path, files: Sequence[str], progress: Progress | None = None, threads: int = 2
) -> list[str]:
    """Images in which the detector finds no face, sorted; those that can't be read are not among them.

    Args:
        aligner: with a detector.
        root: the folder that the files start from.
        files: paths, repeated or not.
        progress: shows how far it is.
        threads: that decode and look.
    """
    distinct = sorted(set(files))
    task = progress.add_task("looking for images without a face", total=len(distinct)) if progress else None
    missing = []
    with ThreadPoolExecutor(threads) as pool:
        for file, found in zip(distinct, pool.map(lambda file: _found(aligner, root / file), distinct), strict=True):
            if not found:
                missing.append(file)
            if progress is not None and task is not None:
                progress.advance(task)
    return missing


def _found(aligner: Aligner, path: Path) -> bool:
    try:
        return aligner.align(decode(path)).found
    except (DataError, OSError):
        return True
