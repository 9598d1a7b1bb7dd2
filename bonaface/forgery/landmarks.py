"""Landmarks that someone else's detector found: read from a file, checked, and brought to what forging needs.

Known by their number: five points (YuNet, RetinaFace, MTCNN, ArcFace: eyes, nose tip, mouth corners), 68 (dlib, OpenFace,
iBUG 300-W), and 468 or 478 (MediaPipe's face mesh without and with irises). From 68 on, the face's outline is known too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.data.table import FaceTable
from bonaface.errors import DataError
from bonaface.io import parse_json
from bonaface.reading import open_regular, read_regular

__all__ = ["Landmarks", "digest_of", "face_points", "read_landmarks"]

_KNOWN = "5, 68, 468 or 478 points"
_FORMATS = "columns path, x0, y0, x1, y1, ... in a .csv or .parquet file, or a .json file of {path: [[x, y], ...]}"
_COORDINATE = re.compile(r"([xy])_?(\d+)")
# Indices of both eyes' points, the nose tip, and the mouth corners; of the image's left side first.
_DLIB = ((36, 37, 38, 39, 40, 41), (42, 43, 44, 45, 46, 47), (30,), (48,), (54,))
_DLIB_OUTLINE = range(27)  # jaw, then brows: their hull is the face without the forehead
# Source: mediapipe/python/solutions/face_mesh_connections.py. Of the points 1 and 4 one lies below the nose tip and one above.
_MESH = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
    (1, 4),
    (61,),
    (291,),
)
_MESH_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
_FRACTIONS_UP_TO = 2.0
"""No face is two pixels large: points all within that are fractions of width and height, as MediaPipe gives them."""
_BEYOND = 0.1
"""Detectors guess points of faces that are cut off; the five may lie beyond the border by so much of the image's side."""


@dataclass(frozen=True)
class Landmarks:
    """Position of a face.

    Args:
        points: right eye, left eye, nose tip, right and left mouth corner (the person's own right: left in the image), and after
            these, where it is known, the face's outline, a convex polygon: ``(5 + k, 2)``, x and y.
        fractions: whether they are fractions of the image's width and height rather than px.
        said: file and image, for errors.
    """

    points: NDArray[np.float32]
    fractions: bool = False
    said: str = "landmarks"

    def in_pixels(self, height: int, width: int) -> NDArray[np.float32]:
        """``points`` in px of an image of that size.

        Raises:
            DataError: if the face lies outside of it.

        Example:
            >>> five = np.float32([[0.25, 0.4], [0.75, 0.4], [0.5, 0.5], [0.3, 0.8], [0.7, 0.8]])
            >>> Landmarks(five, fractions=True).in_pixels(200, 100)[2].tolist()
            [50.0, 100.0]
        """
        size = np.array([width, height], np.float32)
        points = self.points * size if self.fractions else self.points
        if ((points[:5] < -_BEYOND * size) | (points[:5] > (1 + _BEYOND) * size)).any():
            x, y = points[:5].mean(axis=0)
            raise DataError(
                f"{self.said}: the face lies outside of the image, around ({x:.0f}, {y:.0f}) of {width} x {height} px; "
                f"expected px of the upright image, or fractions of its width and height"
            )
        return points


def face_points(landmarks: NDArray[Any]) -> NDArray[np.float32]:
    """The five points of a face, and after them its outline where the landmarks tell it.

    Args:
        landmarks: shape ``(n, 2)`` with n of 5, 68, 468 or 478, finite, in px or fractions. Which side comes first does not matter.

    Returns:
        Shape ``(5, 2)`` of five points, ``(5 + k, 2)`` of more: see :class:`Landmarks`.

    Raises:
        DataError: if their number is another one, or they don't lie as a face's do.

    Example:
        >>> face_points(np.array([[70, 40], [30, 40], [50, 60], [65, 80], [35, 80]])).tolist()
        [[30.0, 40.0], [70.0, 40.0], [50.0, 60.0], [35.0, 80.0], [65.0, 80.0]]
    """
    given = np.asarray(landmarks, dtype=np.float32)
    if len(given) == 5:
        five, outline = given, given[:0]
    elif len(given) in (68, 468, 478):
        parts, border = (_DLIB, _DLIB_OUTLINE) if len(given) == 68 else (_MESH, _MESH_OVAL)
        five = np.stack([given[list(part)].mean(axis=0) for part in parts])
        outline = np.asarray(cv2.convexHull(given[list(border)]), dtype=np.float32).reshape(-1, 2)
    else:
        raise DataError(f"expected {_KNOWN}, got {len(given)}")
    return np.concatenate([_upright(five), outline])


def _upright(five: NDArray[np.float32]) -> NDArray[np.float32]:
    """The five with the image's left side first, seen with the eyes above the mouth."""
    eyes, mouth = five[:2].mean(axis=0), five[3:].mean(axis=0)
    across, down, nose = five[1] - five[0], mouth - eyes, five[2] - eyes
    length = float(down @ down)
    # A turned face's nose may leave the line from eyes to mouth sideways, but hardly lengthwise; dlib's five points do.
    if length <= 0 or not -0.4 < float(nose @ down) / length < 1.4 or float(across @ across) > 9 * length:
        raise DataError(
            "the points don't lie as a face's do; expected eyes, nose tip and mouth corners in this order where there are five"
        )
    mirrored = float(across[0] * down[1] - across[1] * down[0]) < -0.1 * length
    return five[[1, 0, 2, 4, 3]] if mirrored else five


def read_landmarks(file: Path, table: FaceTable) -> dict[str, Landmarks]:
    """Landmarks of some or all images of a table.

    Args:
        file: ``.csv`` or ``.parquet`` with the columns ``path`` and ``x0``, ``y0``, ... (or ``x_0``, as OpenFace has it; others are
            left alone), or ``.json``: ``{path: [[x, y], ...]}`` (a third number, MediaPipe's z, is left alone). Paths are the
            table's, or lead to its images from the current folder.
        table: the images.

    Returns:
        By the table's paths; images that the file doesn't name are missing.

    Raises:
        DataError: if the file can't be read, names an image twice or one that isn't there, or its points are too many, too few,
            no numbers, or no face.
    """
    known = set(table.frame["path"])
    found: dict[str, Landmarks] = {}
    for name, points in _rows(file):
        path = _in_table(name, table.root, known)
        if path is None:
            raise DataError(f'{file}: "{name}" is not in {table.root}; expected paths such as {min(known)}')
        if path in found:
            raise DataError(f'{file}: names "{name}" a second time; expected one face of each image')
        if not np.isfinite(points).all():
            place = int(np.flatnonzero(~np.isfinite(points).all(axis=1))[0])
            raise DataError(
                f'{file}: "{name}": point {place} of {len(points)} has no finite number; leave out images without a face'
            )
        try:
            face = face_points(points)
        except DataError as error:
            raise DataError(f'{file}: "{name}": {error}') from None
        found[path] = Landmarks(face, bool(np.abs(points).max() <= _FRACTIONS_UP_TO), f'{file}: "{name}"')
    if not found:
        raise DataError(f"{file}: holds no landmarks; expected {_FORMATS}")
    return found


def _in_table(name: str, root: Path, known: set[str]) -> str | None:
    """The table's path of an image; None where it has none."""
    path = PurePosixPath(name.replace("\\", "/")).as_posix()
    if path in known:
        return path
    for start in (root, root.absolute()):
        if PurePosixPath(path).is_relative_to(start.as_posix()):
            inside = PurePosixPath(path).relative_to(start.as_posix()).as_posix()
            return inside if inside in known else None
    return None


def _rows(file: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Paths as the file has them, and points ``(n, 2)`` of any number, finite or not."""
    readers = {".csv": _read_table, ".parquet": _read_table, ".json": _read_json}
    if file.suffix.lower() not in readers:
        raise DataError(f"{file}: expected landmarks as {_FORMATS}")
    try:
        return readers[file.suffix.lower()](file)
    except OSError as error:
        why = (error.strerror or str(error).splitlines()[0]).lower()
        raise DataError(f"{file}: can't be read ({why}); expected landmarks as {_FORMATS}") from error
    except ValueError as error:  # of pandas, Arrow and JSON alike
        raise DataError(f"{file}: can't be read ({str(error).splitlines()[0]}); expected {_FORMATS}") from error


def _read_table(file: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    is_csv = file.suffix.lower() == ".csv"
    text = {"path": str}  # a name of digits stays one
    with open_regular(file) as opened:
        frame = (
            pd.read_csv(opened, encoding="utf-8-sig", skipinitialspace=True, dtype=text)
            if is_csv
            else pd.read_parquet(opened)
        )
    places = {(found[1], int(found[2])): name for name in frame if (found := _COORDINATE.fullmatch(str(name)))}
    count = len(places) // 2
    if "path" not in frame or set(places) != {(axis, number) for axis in "xy" for number in range(count)}:
        columns = ", ".join(map(str, frame.columns))
        raise DataError(f"{file}: expected the columns path, x0, y0, x1, y1, ... of {_KNOWN}, got {columns[:120]}")
    ordered = frame[[places[axis, number] for number in range(count) for axis in "xy"]]
    numbers = ordered.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float32)
    return iter(zip(frame["path"].astype(str), numbers.reshape(len(frame), count, 2), strict=True))


def _read_json(file: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    content = parse_json(read_regular(file).decode())
    if not isinstance(content, dict):
        raise DataError(f"{file}: expected {{path: [[x, y], ...]}}, got a {type(content).__name__}")
    return ((path, _points(file, path, value)) for path, value in content.items())


def _points(file: Path, path: str, value: object) -> NDArray[np.float32]:
    try:
        points = np.array(value, dtype=np.float32)
    except (TypeError, ValueError):
        points = np.empty(0, np.float32)
    if points.ndim != 2 or points.shape[1] not in (2, 3):
        raise DataError(f'{file}: "{path}": expected a list of [x, y], as many as {_KNOWN}')
    return points[:, :2]


def digest_of(landmarks: Mapping[str, Landmarks], paths: Sequence[str]) -> str:
    """A text that changes with the landmarks of these images; empty where there are none."""
    digest = hashlib.blake2b(digest_size=8)
    for path in paths:
        if path in landmarks:
            digest.update(f"{path}|{landmarks[path].fractions}|".encode() + landmarks[path].points.tobytes())
    return digest.hexdigest() if any(path in landmarks for path in paths) else ""
