"""Labels of pairs: what each pair is, and whether the columns that say so agree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bonaface.errors import DataError
from bonaface.metrics import KINDS

if TYPE_CHECKING:
    import pandas as pd  # a folder of pairs is read without it

__all__ = ["forged_sides", "labels_of", "refuse_contradictions", "without_deepfake"]

_PEOPLE = ("person_0", "person_1")
_METHODS = ("method_0", "method_1")
_FAKES = ("own_fake", "other_fake")
_GENUINE = ("same", "impostor")


def forged_sides(labels: pd.DataFrame) -> NDArray[np.bool_]:
    """Which images the methods call deepfakes, shape ``(2, n)``; an image without a method, or an empty one, is genuine."""
    sides = np.zeros((2, len(labels)), dtype=bool)
    for side, name in enumerate(_METHODS):
        if name in labels:
            sides[side] = ~labels[name].isin(["", "real"]).to_numpy(dtype=bool)
    return sides


def labels_of(frame: pd.DataFrame, csv: Path, lines: Sequence[int] | None = None) -> pd.DataFrame:
    """Check what a table of text says of pairs.

    Args:
        frame: one row per pair, with ``pair_id``, ``label`` and any of ``kind``, ``person_0``, ``person_1``, ``method_0``
            and ``method_1``; an empty person is not known, an empty method is ``real``.
        csv: where it comes from, for messages.
        lines: of the rows, for messages.

    Returns:
        ``label`` as int and those of the others that there are, in the same order; and ``kind`` where the methods say it.

    Raises:
        DataError: if a label isn't 0 or 1, a kind is unknown, label, kind, people and methods contradict each other, or a
            pair with a deepfake has neither a kind nor people.
    """
    label, fake = frame["label"].to_numpy(dtype=str), forged_sides(frame).any(axis=0)
    judged = set(_METHODS) <= set(frame)
    known, one = _people(frame)

    def refuse(wrong: NDArray[np.bool_], say: str, **columns: NDArray[np.str_]) -> None:
        """Refuse the first wrong row, of which ``say`` names the columns."""
        if wrong.any():
            row = int(np.argmax(wrong))
            at = f"{csv}: " if lines is None else f"{csv}: line {lines[row]}: "
            cells = {str(name): value for name, value in frame.iloc[row].items()}
            cells |= {name: values[row] for name, values in columns.items()}
            said = say.format(**cells, methods=" and ".join(cells[name] for name in _METHODS if name in cells))
            raise DataError(f"{at}pair {frame['pair_id'].iloc[row]}: {said}")

    refuse(~np.isin(label, ("0", "1")), "label: expected 0 or 1, got {label!r}")
    if "kind" in frame:
        kind = frame["kind"].to_numpy(dtype=str)
        refuse(~np.isin(kind, KINDS), f"kind: expected one of {', '.join(KINDS)}, got {{kind!r}}")
        right = np.where(kind == "same", "1", "0")
        refuse(label != right, "kind {kind} has label {label}; expected {right}", right=right)
    else:
        kind = np.where(label == "1", "same", np.where(fake, np.where(one, "own_fake", "other_fake"), "impostor"))
        unsaid = fake & ~known & (label == "0")
        refuse(unsaid, "has a deepfake; expected the column kind, or the people in person_0 and person_1")
    of_one, forged = np.isin(kind, ("same", "own_fake")), np.isin(kind, _FAKES)
    what = "kind {kind} (label {label}) has "
    refuse(known & of_one & ~one, what + "the people {person_0} and {person_1}; expected one person", kind=kind)
    refuse(known & ~of_one & one, what + "the person {person_0} twice; expected two people", kind=kind)
    refuse(fake & ~forged, what + "method {methods}; expected real", kind=kind)
    refuse(forged & ~fake & judged, what + "method {methods}; expected that of a deepfake", kind=kind)
    said = {name: frame[name] for name in _PEOPLE if name in frame}
    said |= {name: frame[name].replace("", "real") for name in _METHODS if name in frame}
    kinds = {"kind": frame["kind"]} if "kind" in frame else {"kind": kind} if judged or fake.any() else {}
    return frame[["label"]].astype({"label": np.int64}).assign(**kinds, **said)


def refuse_contradictions(path: NDArray[np.object_], labels: pd.DataFrame, lines: Sequence[int], csv: Path) -> None:
    """Refuse an image that is genuine in one pair and a deepfake in another, or of another person there.

    Where methods are not named, pairs of genuine photos say that neither image of another pair is a deepfake.

    Args:
        path: of both images of each pair, shape ``(2, n)``.
        labels: of the pairs, as ``labels_of`` returns them.
        lines: of the pairs, for messages.
        csv: where they come from, for messages.

    Raises:
        DataError: if there is one.
    """
    genuine = np.zeros((2, len(labels)), dtype=bool)
    if "kind" in labels:
        genuine |= np.isin(labels["kind"].to_numpy(dtype=str), _GENUINE)
    forged = forged_sides(labels)
    facts = np.where(forged, "a deepfake", np.where(genuine | (set(_METHODS) <= set(labels)), "genuine", ""))
    people = np.full(genuine.shape, "", dtype=object)
    for side, name in enumerate(_PEOPLE):
        if name in labels:
            people[side] = labels[name].to_numpy(dtype=object)
    line = np.repeat(np.asarray(lines), 2)
    for said in (facts, people):
        first: dict[object, tuple[object, int]] = {}
        for image, what, at in zip(path.T.reshape(-1), said.T.reshape(-1), line.tolist(), strict=True):
            before, where = first.setdefault(image, (what, at)) if what else (what, at)
            if before != what:
                raise DataError(
                    f"{csv}: line {at}: {image} is {what}, and {before} in line {where}; expected one of them"
                )
    kind = labels["kind"].to_numpy(dtype=str) if "kind" in labels else np.full(len(labels), "")
    image = np.unique(path.astype(str), return_inverse=True)[1].reshape(path.shape)
    wrong = without_deepfake(image, kind)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"{csv}: line {lines[row]}: {path[0, row]} and {path[1, row]} have kind {kind[row]}, and are genuine in other lines; "
            "expected a deepfake"
        )


def without_deepfake(image: NDArray[np.int64], kind: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Which pairs are said to have a deepfake though both images are in pairs of genuine photos, shape ``(n,)``.

    Args:
        image: which image each side is, shape ``(2, n)``.
        kind: of the pairs, shape ``(n,)``.

    Example:
        >>> without_deepfake(np.array([[0, 2, 0], [1, 3, 2]]), np.array(["same", "impostor", "own_fake"])).tolist()
        [False, False, True]
    """
    genuine = np.isin(image, image[:, np.isin(kind, _GENUINE)])  # (2, n)
    wrong: NDArray[np.bool_] = np.isin(kind, _FAKES) & genuine[0] & genuine[1]
    return wrong


def _people(frame: pd.DataFrame) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Of which pairs both people are known, and which of these are of one person, each ``(n,)``."""
    if not set(_PEOPLE) <= set(frame):
        nobody = np.zeros(len(frame), dtype=bool)
        return nobody, nobody
    first, second = (frame[name].to_numpy(dtype=object) for name in _PEOPLE)
    known = (first != "") & (second != "")
    return known, known & (first == second)
