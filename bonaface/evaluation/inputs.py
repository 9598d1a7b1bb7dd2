"""Pairs, labels and scores, whichever way they are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from bonaface.data.doubled_pairs import refuse_doubled, shared_pair
from bonaface.data.layouts import images_by_folder, looks_like_pairs
from bonaface.data.pair_labels import labels_of
from bonaface.data.pair_lists import read_lfw_pairs, read_pair_list
from bonaface.data.pairs import PairTable, read_labels, read_pairs
from bonaface.data.text_tables import read_numbered_table
from bonaface.errors import ConfigError, DataError
from bonaface.evaluation.figures import bootstrap_of, groups_of
from bonaface.evaluation.scores import PairScores, read_scores, told_apart
from bonaface.forgery.evaluation_sets import drawn_pairs
from bonaface.images.copied_files import CopiedFiles
from bonaface.images.copies import perceptual_hash
from bonaface.images.decoding import decode
from bonaface.metrics import FMRS
from bonaface.metrics.scores import checked_scores
from bonaface.verification.threshold_fitting import fit_llr, thresholds_of_pairs
from bonaface.verification.thresholds import Validation

__all__ = [
    "SAME_PAIRS",
    "Labels",
    "PairSource",
    "Scores",
    "copied_pairs",
    "read_all_scores",
    "read_judged",
    "refuse_judged",
    "validation_of_pairs",
]

Labels = Path | str | pd.DataFrame | Sequence[int] | NDArray[Any]
Scores = Path | str | Sequence[Path | str] | Mapping[str, ArrayLike]

OTHERS = "thresholds have to come from other pairs"
SAME_PAIRS = f"are the judged ones; {OTHERS}"

_COPY_BITS = 2
"""Bits of 64 in which the hashes of one photo, re-encoded or resized, may differ; then the faces are looked at."""


@dataclass(frozen=True)
class PairSource:
    """Labelled pairs, as a caller names them.

    Args:
        pairs: a folder of pairs with ``labels`` a CSV; LFW's folder with ``labels`` its pairs.txt; a CSV of two paths and a
            label; a folder of faces as training reads it, of which pairs are drawn; None where there are scores alone.
        labels: a CSV of ``pair_id``, ``label`` and, as far as known, ``kind``, ``person_0``, ``person_1``, ``method_0`` and
            ``method_1``; where there are scores alone also a DataFrame with these columns or an array of 0 and 1. May be left
            out where ``pairs`` is a CSV or a folder of faces.
        scores: CSVs of ``pair_id,similarity``; or by name arrays of shape ``(n,)`` in the order of the labels. A Series with the
            index or the pair ids of the labels may have any order.
        draw: how many pairs are drawn of a folder of faces.
        seed: of the draw.
    """

    pairs: Path | str | None = None
    labels: Labels | None = None
    scores: Scores | None = None
    draw: int = 2000
    seed: int = 0

    @property
    def name(self) -> str:
        """Name of the pairs in messages."""
        named = self.labels if isinstance(self.labels, Path | str) else self.pairs
        return "the labels" if named is None else str(named)

    @property
    def files(self) -> set[Path]:
        """The files that it reads, resolved."""
        scores = [] if isinstance(self.scores, Mapping) else _listed(self.scores)
        return {Path(each).resolve() for each in (self.labels, *scores) if isinstance(each, Path | str)}


def read_judged(source: PairSource) -> tuple[PairTable, pd.DataFrame]:
    """Read pairs and their labels.

    Raises:
        ConfigError: if a file is missing from the call.
        DataError: if they are not what they should be, or every label is the same.
    """
    table, labels = _read_any(source)
    if labels["label"].nunique() < 2:
        raise DataError(
            f"{source.name}: every label is {labels['label'].iloc[0]}; expected pairs of one person (1) and others (0)"
        )
    return table, labels


def _read_any(source: PairSource) -> tuple[PairTable, pd.DataFrame]:
    pairs = None if source.pairs is None else Path(source.pairs)
    given = source.labels
    if given is not None and not isinstance(given, Path | str):
        if pairs is not None:
            raise ConfigError("labels: beside pairs expected a file that names them, got values")
        return _of_values(given)
    labels = None if given is None else Path(given)
    if labels is None and pairs is not None and not pairs.exists():
        raise DataError(f"{pairs}: no such file or folder; expected pairs, or a folder of faces")
    if pairs is not None and pairs.is_file():
        table, own = read_pair_list(pairs)
        return table, own if labels is None or labels.resolve() == pairs.resolve() else read_labels(labels, table)
    if labels is None and pairs is not None and _holds_faces(pairs):
        drawn = drawn_pairs(pairs, source.draw, source.seed)
        drawn.insert(0, "pair_id", _numbered(len(drawn)))
        return PairTable.from_frame(pairs, drawn), labels_of(drawn.astype(str), pairs)
    if labels is None:
        raise ConfigError("labels: expected the CSV that says what each pair is (pair_id,label), or LFW's pairs.txt")
    if pairs is None:
        return _of_labels(labels)
    if labels.suffix.lower() == ".txt":
        return read_lfw_pairs(pairs, labels)
    table = read_pairs(pairs)
    read = read_labels(labels, table)
    refuse_doubled(table, read["label"].tolist(), [f"pair {each}" for each in table.pair_id], pairs, contents=True)
    return table, read


def _of_values(given: Any) -> tuple[PairTable, pd.DataFrame]:
    """Pairs without images from labels in memory."""
    frame = given.copy() if isinstance(given, pd.DataFrame) else pd.DataFrame({"label": np.asarray(given)})
    if "label" not in frame or frame.empty:
        raise DataError("labels: expected a column label with a value for each pair")
    wrong = frame["label"][~frame["label"].isin([0, 1])]
    if len(wrong):
        raise DataError(f"labels: expected the numbers 0 or 1, got {wrong.tolist()[0]!r}")
    frame["label"] = frame["label"].astype(int)
    if "pair_id" not in frame:
        frame["pair_id"] = _numbered(len(frame))
    doubled = frame["pair_id"][frame["pair_id"].duplicated()]
    if len(doubled):
        raise DataError(f"labels: pair {doubled.iloc[0]} occurs twice; expected each once")
    frame = frame.astype(object).where(frame.notna(), "").astype(str).reset_index(drop=True)
    pairs = _without_images(Path(), frame["pair_id"].tolist())
    return pairs, labels_of(frame, Path("labels"))


def _of_labels(labels: Path) -> tuple[PairTable, pd.DataFrame]:
    """Pairs without images from a CSV of labels, in its order."""
    table, _ = read_numbered_table(
        labels, "a table of labels", "expected a CSV with pair_id and label", ["pair_id", "label"]
    )
    pairs = _without_images(labels.parent, list(dict.fromkeys(table["pair_id"])))
    return pairs, read_labels(labels, pairs)


def _without_images(root: Path, pair_ids: list[str]) -> PairTable:
    return PairTable(root, pair_ids, [""] * len(pair_ids), [""] * len(pair_ids))


def _numbered(count: int) -> list[str]:
    return [f"{row:08d}" for row in range(count)]


def _holds_faces(folder: Path) -> bool:
    """Tell whether a folder is one to train on, by person, and not one of pairs."""
    if not folder.is_dir() or (folder / "meta.json").is_file():
        return folder.is_dir()
    return not any(looks_like_pairs(images_by_folder(each)) for each in (folder, folder / "images") if each.is_dir())


def read_all_scores(
    source: PairSource, pairs: PairTable, validation: PairSource | None, fmrs: Sequence[float] = FMRS
) -> list[PairScores]:
    """Read scores from anywhere, with thresholds from the scores of other pairs where there are any.

    Args:
        source: with scores.
        pairs: of the source, each of which must be scored.
        validation: other pairs with as many scores.
        fmrs: false match rates of their thresholds.

    Raises:
        ConfigError: if the other pairs' scores are those of the source.
        DataError: as ``read_scores`` does, or if an array has another length.
    """
    scores = _named_scores(source, pairs)
    if validation is None:
        return [PairScores(*each) for each in scores]
    other, labels = read_judged(validation)
    known = _named_scores(validation, other)
    judged = [_by_id(pairs, values) for _, _, values in scores]
    if any(_by_id(other, values) in judged for _, _, values in known):
        raise ConfigError(f"validation scores: {SAME_PAIRS}")
    found = [validation_of_pairs(values, labels, source.seed, fmrs) for _, _, values in known]
    whence = f"other pairs: {validation.name}"
    return [PairScores(*each, known, whence) for each, known in zip(scores, found, strict=True)]


def _by_id(pairs: PairTable, values: NDArray[np.float64]) -> list[tuple[str, float]]:
    """Scores in the order of their pairs' ids, whichever order they came in."""
    return sorted(zip(pairs.pair_id, values.tolist(), strict=True))


def refuse_judged(validation: PairTable, pairs: PairTable) -> None:
    """Refuse validation pairs of images of which any is judged as well, whatever its path and name.

    Raises:
        ConfigError: if one is.
    """
    shared = shared_pair(pairs, validation)
    if shared:
        raise ConfigError(f"validation pairs: {shared[1]} has the same two images as the judged {shared[0]}; {OTHERS}")


def _named_scores(source: PairSource, pairs: PairTable) -> list[tuple[str, str, NDArray[np.float64]]]:
    """Name, source and similarities of each model."""
    if isinstance(source.scores, Mapping):
        ordered = {name: _in_order_of(source.labels, values, name) for name, values in source.scores.items()}
        return [(name, "", _array(values, name, len(pairs))) for name, values in ordered.items()]
    files = [Path(file) for file in _listed(source.scores)]
    ids = pairs.frame["pair_id"].tolist()
    names = told_apart([file.stem for file in files])
    return [(name, str(file), read_scores(file, ids, source.name)) for name, file in zip(names, files, strict=True)]


def _listed(scores: Any) -> list[Path | str]:
    if scores is None:
        return []
    return [scores] if isinstance(scores, Path | str) else list(scores)


def _in_order_of(labels: Any, values: Any, name: str) -> Any:
    """Scores as a Series in the order of the labels, by their index or their pair ids; others by their place.

    Raises:
        DataError: if a Series has another index, or it can't be told whether it goes by it or by its place.
    """
    if not (isinstance(values, pd.Series) and isinstance(labels, pd.Series | pd.DataFrame)) or len(values) != len(
        labels
    ):
        return values
    given, numbered = values.index, pd.RangeIndex(len(values))
    keys = [
        labels.index,
        *([pd.Index(labels["pair_id"])] if isinstance(labels, pd.DataFrame) and "pair_id" in labels else []),
    ]
    if given.equals(keys[0]):
        return values
    fitting = [key for key in keys if key.is_unique and given.is_unique and given.isin(key).all()]
    if given.equals(numbered):
        if not fitting:
            return values
        raise DataError(
            f"scores of {name}: are numbered in order, and the labels in another; pass them .to_numpy(), or by .reindex()"
        )
    if not fitting:
        raise DataError(
            f"scores of {name}: have another index than the labels; expected theirs, or pass them .to_numpy()"
        )
    return values.reindex(fitting[0])


def _array(values: ArrayLike, name: str, pairs: int) -> NDArray[np.float64]:
    scores: NDArray[np.float64] = checked_scores(values, f"scores of {name}").astype(np.float64)
    if len(scores) != pairs:
        raise DataError(f"scores of {name}: expected one for each of {pairs} labels, got {len(scores)}")
    return scores


def validation_of_pairs(
    similarity: NDArray[np.float64], labels: pd.DataFrame, seed: int, fmrs: Sequence[float] = FMRS
) -> Validation:
    """Find thresholds and likelihood ratios from validation pairs that were scored.

    Args:
        similarity: shape ``(n,)``.
        labels: in the same order; without kinds every non-mated pair counts as an impostor.
        seed: of the bootstrap.
        fmrs: wanted rates; those that the pairs can't resolve are left out.

    Raises:
        DataError: if one class is missing.
    """
    groups = groups_of(labels)
    if not groups.get("same", np.zeros(1, bool)).any() or len(groups) < 2 or groups["same"].all():
        raise DataError("validation pairs: expected pairs of one person and of different ones, got only one class")
    against = groups.get("impostor", groups.get("different", np.zeros(len(labels), bool)))
    people = bootstrap_of(labels)
    first, second = (np.asarray(side)[against] for side in (people.person_0, people.person_1))
    thresholds = thresholds_of_pairs(similarity[against], first, second, np.random.default_rng(seed), fmrs)
    return Validation(thresholds, fit_llr(similarity, labels["label"]), int(against.sum()))


def copied_pairs(pairs: PairTable, labels: pd.DataFrame, threads: int = 2) -> dict[str, list[str]]:
    """Find pairs of genuine photos that are two copies of one photo: they prove nothing.

    A deepfake is left out: it is made to look like the photo that it comes from.

    Args:
        pairs: with the paths of their images; those that can't be read are passed over.
        labels: in the same order.
        threads: that read and decode.

    Returns:
        The ids of pairs by ``same file`` (equal bytes) and ``re-encoded`` (perceptual hashes that differ in at most 2 of 64 bits,
        and faces that are alike as those of copies are).
    """
    found: dict[str, list[str]] = {"same file": [], "re-encoded": []}
    genuine = labels["kind"].isin(["same", "impostor"]) if "kind" in labels else labels["label"] == 1
    chosen = pairs.frame[genuine.to_numpy()]
    both = [(pairs.root / a, pairs.root / b) for a, b in zip(chosen["path_0"], chosen["path_1"], strict=True)]
    with ThreadPoolExecutor(threads) as pool:
        for pair_id, how in zip(chosen["pair_id"], pool.map(partial(_copied, CopiedFiles()), both), strict=True):
            if how:
                found[how].append(pair_id)
    return found


def _copied(are_copies: CopiedFiles, both: tuple[Path, Path]) -> str:
    try:
        if both[0].stat().st_size == both[1].stat().st_size and both[0].read_bytes() == both[1].read_bytes():
            return "same file"
        first, second = (perceptual_hash(decode(path)) for path in both)
    except (DataError, OSError):
        return ""
    return "re-encoded" if (first ^ second).bit_count() <= _COPY_BITS and are_copies(*both) else ""
