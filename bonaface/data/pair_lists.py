"""Pairs that a file lists, instead of a folder for each: a CSV of two paths and a label, and LFW's pairs.txt."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from bonaface.data.doubled_pairs import refuse_doubled
from bonaface.data.pair_labels import labels_of, refuse_contradictions
from bonaface.data.pairs import PairTable
from bonaface.data.text_tables import read_numbered_table
from bonaface.errors import DataError
from bonaface.reading import read_regular

__all__ = ["read_lfw_pairs", "read_pair_list"]

_PATHS = ["path_0", "path_1"]
_LIST_EXPECTED = "expected a CSV with path_0, path_1 and label, optionally pair_id, kind, person_0, person_1, fold"
_LFW_EXPECTED = (
    "expected LFW's format: a first line with the number of folds and of pairs, then 'name n m' or 'name n other m'"
)


def read_pair_list(csv: Path) -> tuple[PairTable, pd.DataFrame]:
    """Read a CSV of two paths and a label.

    A relative path starts at the CSV's folder and stays in it; an absolute one is taken as it is.

    Args:
        csv: a file with ``path_0``, ``path_1`` and ``label``; ``pair_id`` (the number of the row where it is absent) and
            what ``labels_of`` knows are optional, and so is ``fold`` (a whole number, for cross-validated accuracy).

    Returns:
        The pairs in the order of the file, and their labels in the same order, as ``labels_of`` returns them, with
        ``fold`` (int) where the file has it.

    Raises:
        DataError: if a column is missing, an image isn't there, labels are not as ``labels_of`` wants them or contradict
            each other, or a pair stands twice, by whatever paths and in whichever order.
    """
    csv = Path(csv)
    frame, lines = read_numbered_table(csv, "a list of pairs", _LIST_EXPECTED, [*_PATHS, "label"])
    if "pair_id" not in frame:
        frame["pair_id"] = [f"{row:08d}" for row in range(len(frame))]
    doubled = np.flatnonzero(frame["pair_id"].duplicated())
    if doubled.size:
        row = int(doubled[0])
        raise DataError(f"{csv}: line {lines[row]}: pair {frame['pair_id'][row]} occurs twice; expected each once")
    checked: dict[str, str] = {}
    for column in _PATHS:
        for line, path in zip(lines, frame[column], strict=True):
            if path not in checked:
                checked[path] = _inside(path, csv.parent, f"{csv}: line {line}: {column}")
        frame[column] = frame[column].map(checked)
    pairs = PairTable.from_frame(csv.parent, frame)
    labels = labels_of(frame, csv, lines)
    refuse_doubled(pairs, frame["label"].tolist(), [f"line {line}" for line in lines], csv)
    refuse_contradictions(frame[_PATHS].to_numpy(dtype=object).T, labels, lines, csv)
    return pairs, labels.assign(fold=_folds(frame["fold"], lines, csv)) if "fold" in frame else labels


def _inside(path: str, folder: Path, where: str) -> str:
    posix = PurePosixPath(path)
    if not path or ".." in posix.parts:
        raise DataError(f"{where}: expected a path below the file's folder or an absolute one, got {path!r}")
    if not os.path.isfile(folder / posix):  # noqa: PTH113 - twice as fast as Path, and there are many rows
        raise DataError(f"{where}: {path}: no such file; expected an image")
    return posix.as_posix()


def _folds(fold: pd.Series, lines: Sequence[int], csv: Path) -> pd.Series:
    wrong = np.flatnonzero(~fold.str.fullmatch(r"[0-9]{1,9}"))
    if wrong.size:
        raise DataError(
            f"{csv}: line {lines[wrong[0]]}: fold: expected a whole number from 0 on, got {fold[wrong[0]]!r}"
        )
    return fold.astype(np.int64)


def read_lfw_pairs(root: Path, pairs_txt: Path) -> tuple[PairTable, pd.DataFrame]:
    """Read Labeled Faces in the Wild's verification protocol.

    Args:
        root: LFW's folder: ``<name>/<name>_0001.jpg``.
        pairs_txt: pairs.txt (first line ``10 300``: ten folds of 300 mated and 300 non-mated pairs), or pairsDevTrain.txt
            and pairsDevTest.txt (one number: one fold).

    Returns:
        The pairs in the order of the file (``pair_id`` is the number of the pair), and their labels: ``label``, ``kind``
        (same or impostor), ``person_0``, ``person_1``, ``fold``.

    Raises:
        DataError: if the file has not as many lines as its first one says, a line is of another form, an image isn't
            there, or a pair stands twice.

    Source: G. B. Huang, M. Ramesh, T. Berg and E. Learned-Miller, "Labeled Faces in the Wild", 2007, and
        http://vis-www.cs.umass.edu/lfw/README.txt.
    """
    root, pairs_txt = Path(root), Path(pairs_txt)
    try:
        lines = [line.split() for line in read_regular(pairs_txt).decode("utf-8-sig").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DataError(f"{pairs_txt}: can't be read ({error}); {_LFW_EXPECTED}") from error
    half = _lfw_half(lines, pairs_txt)
    rows = []
    for row, (line, words) in enumerate(enumerate(lines[1:], 2)):
        fold, place = divmod(row, 2 * half)
        mated = place < half
        names = [f"{name}/{name}_{number:04d}" for name, number in _lfw_pair(words, mated, f"{pairs_txt}: line {line}")]
        paths = [_lfw_image(root, name, f"{pairs_txt}: line {line}") for name in names]
        people = [path.partition("/")[0] for path in paths]
        rows.append((f"{row:08d}", *paths, int(mated), "same" if mated else "impostor", *people, fold))
    columns = ["pair_id", *_PATHS, "label", "kind", "person_0", "person_1", "fold"]
    frame = pd.DataFrame(rows, columns=columns)
    pairs = PairTable.from_frame(root, frame)
    refuse_doubled(pairs, frame["label"].tolist(), [f"line {row + 2}" for row in range(len(frame))], pairs_txt)
    return pairs, frame[columns[3:]]


def _lfw_half(lines: list[list[str]], file: Path) -> int:
    """Read off the header how many mated pairs each fold has; it has as many non-mated ones."""
    head = lines[0] if lines else []
    if len(head) not in (1, 2) or not all(word.isascii() and word.isdecimal() and int(word) for word in head):
        raise DataError(f"{file}: its first line is {' '.join(head)[:40]!r}; {_LFW_EXPECTED}")
    folds, half = (1, int(head[0])) if len(head) == 1 else (int(head[0]), int(head[1]))
    if len(lines) - 1 != 2 * folds * half:
        raise DataError(f"{file}: has {len(lines) - 1} pairs; its first line announces {2 * folds * half}")
    return half


def _lfw_pair(words: list[str], mated: bool, where: str) -> Iterator[tuple[str, int]]:
    wanted = 3 if mated else 4
    numbers = words[1:] if mated else words[1::2]
    if len(words) != wanted or not all(number.isascii() and number.isdecimal() for number in numbers):
        form = "'name n m' (a mated pair)" if mated else "'name n other m' (a non-mated pair)"
        raise DataError(f"{where}: expected {form}, got {' '.join(words)[:80]!r}")
    names = [words[0], words[0]] if mated else [words[0], words[2]]
    if any("/" in name or "\\" in name or name in (".", "..") for name in names):
        raise DataError(f"{where}: expected people's names, got {' '.join(names)[:80]!r}")
    if not mated and names[0] == names[1]:
        raise DataError(f"{where}: a non-mated pair has the person {names[0]} twice; expected two people")
    return zip(names, map(int, numbers), strict=True)


def _lfw_image(root: Path, name: str, where: str) -> str:
    for suffix in (".jpg", ".png"):
        if os.path.isfile(root / (name + suffix)):  # noqa: PTH113 - as above
            return name + suffix
    raise DataError(f"{where}: {root / name}.jpg: no such file; expected LFW's folder of people's folders")
