"""People who do not exist, and photos of them: which styles are people apart, and which moves keep a person.

A person is a style. A photo of them gives the network's coarse layers a style a little way towards another one (pose, shape
of the head), the middle ones another (expression, glasses) and the fine ones a third (light, colours). A recogniser judges:
people must be unlike one another, and a photo must still be its person.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from bonaface.errors import DataError, ModelError
from bonaface.images.alignment import Aligner
from bonaface.io import atomic_write
from bonaface.synthetic.generator import FaceGenerator

__all__ = ["Photo", "Recogniser", "SyntheticPeople", "yaw", "yaw_direction"]

Styles = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
_TRUNCATION = 0.75
_PEOPLE_BELOW = 0.40
_BASE_ABOVE, _PHOTOS_ABOVE = 0.55, 0.50
_MIN_SCORE = 0.75
_MAX_BASE_YAW = 0.30
_TRIES_PER_PHOTO = 6
# How far a photo moves from its person: coarse, middle, fine, as shares of the way to another style.
_MOVES = ((0.10, 0.35), (0.10, 0.40), (0.20, 0.60))
_YAW_SPREAD = 0.30


@dataclass(frozen=True)
class Photo:
    """A rendered photo, which stays on disk.

    Attributes:
        path: of the image, 192 x 192 px.
        points: the face's five points in px, ``(5, 2)``.
        embedding: unit identity vector, ``(d,)``.
        tone: mean skin colour, LAB, ``(3,)``.
    """

    path: Path
    points: NDArray[np.float32]
    embedding: NDArray[np.float32]
    tone: NDArray[np.float32]

    def read(self) -> NDArray[np.uint8]:
        """The image: RGB, shape ``(192, 192, 3)``."""
        return _read_png(self.path)


class Recogniser:
    """Aligned faces -> unit identity vectors, by SFace (Zhong et al. 2021) or a file with the same input.

    Args:
        path: ONNX, input ``(n, 3, 112, 112)`` RGB in 0..255, output ``(n, d)``.

    Raises:
        ModelError: if the file is missing or can't be read.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise ModelError(f"{path}: no such file, expected OpenCV Zoo's SFace as ONNX")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own exceptions share no base but this
            raise ModelError(f"{path}: onnxruntime can't read it, expected OpenCV Zoo's SFace as ONNX") from error
        self._input = self._session.get_inputs()[0].name

    def embed(self, face: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Unit vector ``(d,)`` of an aligned face ``(112, 112, 3)`` RGB uint8."""
        batch = face.transpose(2, 0, 1)[None].astype(np.float32)  # (1, 3, 112, 112)
        vector: NDArray[np.float32] = self._session.run(None, {self._input: batch})[0][0]
        return vector / np.linalg.norm(vector)


def yaw(points: NDArray[np.float32]) -> float:
    """Measure how far a face is turned: the nose's offset from the middle of the eyes, in distances between the eyes.

    Positive where the nose lies to the right in the image.

    Example:
        >>> yaw(np.array([[0, 0], [10, 0], [6, 5], [2, 9], [8, 9]], np.float32))
        0.1
    """
    across = points[1] - points[0]
    offset = points[2] - (points[0] + points[1]) / 2
    return round(float(offset @ across / max(float(across @ across), 1e-9)), 6)


def yaw_direction(styles: NDArray[np.float32], yaws: NDArray[np.float32], ridge: float = 1.0) -> NDArray[np.float32]:
    """The move in style space that turns a head: adding it changes the predicted yaw by one.

    Ridge regression of yaw on style; the shortest move that has the effect is ``b / |b|^2``.

    Args:
        styles: shape ``(n, d)``.
        yaws: shape ``(n,)``.
        ridge: penalty in units of the mean squared singular value of the centred styles.

    Returns:
        The move, shape ``(d,)``.
    """
    centred = (styles - styles.mean(axis=0)).astype(np.float64)  # (n, d)
    gram = centred @ centred.T  # (n, n)
    penalty = ridge * float(np.trace(gram)) / len(gram)
    slope = centred.T @ np.linalg.solve(gram + penalty * np.eye(len(gram)), yaws - yaws.mean())  # (d,)
    move: NDArray[np.float32] = (slope / float(slope @ slope)).astype(np.float32)
    return move


class SyntheticPeople:
    """Yields people who are unlike one another, each with photos that are like the person.

    The same seed gives the same people in the same order, however many are asked for. Renderings are kept in ``cache``, so
    that an interrupted run resumes where it was.

    Args:
        generator: draws and renders styles.
        aligner: finds the five points.
        recogniser: judges who is who.
        cache: folder for the renderings.
        seed: of the people.

    Attributes:
        probes: how many draws :meth:`probe` renders.
        draws: how many styles were looked at so far.
        rejected_photos: how many renderings left their person.
    """

    probes = 256

    def __init__(
        self, generator: FaceGenerator, aligner: Aligner, recogniser: Recogniser, cache: Path, seed: int
    ) -> None:
        self._generator, self._aligner, self._recogniser = generator, aligner, recogniser
        self._cache, self._seed = cache, seed
        self._turn: NDArray[np.float32] | None = None
        self.draws = 0
        self.rejected_photos = 0

    def people(self, photos: int) -> Iterator[list[Photo]]:
        """Endless: one person after another, as ``photos`` photos of which the first is the style itself."""
        chosen: list[NDArray[np.float32]] = []
        while True:
            number, self.draws = self.draws, self.draws + 1
            style, base = self._candidate(number)
            if base is None or abs(yaw(base.points)) > _MAX_BASE_YAW:
                continue
            if chosen and float(np.max(np.stack(chosen) @ base.embedding)) >= _PEOPLE_BELOW:
                continue
            album = self._album(number, style, base, photos)
            if album is not None:
                chosen.append(base.embedding)
                yield album

    def probe(self) -> Iterator[int]:
        """Renders the first draws and learns from them which move turns a head; yields how many are done."""
        styles, yaws = [], []
        for number in range(self.probes):
            style, photo = self._candidate(number)
            if photo is not None:
                styles.append(style)
                yaws.append(yaw(photo.points))
            yield number + 1
        self._turn = yaw_direction(np.stack(styles), np.array(yaws, np.float32))

    def _candidate(self, number: int) -> tuple[NDArray[np.float32], Photo | None]:
        style = self._generator.draw(np.random.default_rng([self._seed, 0, number]), 1, _TRUNCATION)[0]
        return style, self._photo(f"draw-{number:05d}", (style, style, style))

    def _album(self, number: int, style: NDArray[np.float32], base: Photo, photos: int) -> list[Photo] | None:
        """The base and photos around it; None for a style that the moves leave too often."""
        album = [base]
        for attempt in range(_TRIES_PER_PHOTO * photos):
            if len(album) == photos:
                break
            random = np.random.default_rng([self._seed, 1, number, attempt])
            photo = self._photo(f"photo-{number:05d}-{attempt:03d}", self._moved(style, random))
            if photo is not None and _belongs(photo, album):
                album.append(photo)
            else:
                self.rejected_photos += 1
        return album if len(album) == photos else None

    def _moved(self, style: NDArray[np.float32], random: np.random.Generator) -> Styles:
        """Coarse, middle and fine style of a photo of the person ``style``."""
        others = self._generator.draw(random, 3, _TRUNCATION)  # (3, 512)
        coarse, middle, fine = (
            style + np.float32(random.uniform(*move)) * (other - style)
            for move, other in zip(_MOVES, others, strict=True)
        )
        if self._turn is not None:
            coarse = coarse + np.float32(random.uniform(-_YAW_SPREAD, _YAW_SPREAD)) * self._turn
        return coarse, middle, fine

    def _photo(self, name: str, styles: Styles) -> Photo | None:
        """The rendering by that name, from the cache or new; None where no clear face is in it."""
        path = self._cache / f"{name}.png"
        if not path.is_file():
            _write_png(path, self._generator.render(*styles))
        face = self._aligner.align(_read_png(path))
        if face.points is None or face.score < _MIN_SCORE:
            return None
        return Photo(path, face.points, self._recogniser.embed(face.image), _tone(face.image))


def _belongs(photo: Photo, album: list[Photo]) -> bool:
    """Tell whether a photo is like its person's first one, and like every other."""
    likeness = np.stack([other.embedding for other in album]) @ photo.embedding  # (photos,)
    return bool(likeness[0] >= _BASE_ABOVE and likeness.min() >= _PHOTOS_ABOVE)


def _tone(face: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean LAB of an aligned face between eyes and mouth, where there is little but skin."""
    skin = cv2.cvtColor(np.ascontiguousarray(face[58:82, 30:82]).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return np.asarray(skin.reshape(-1, 3).mean(axis=0), dtype=np.float32)


def _write_png(path: Path, image: NDArray[np.uint8]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", image[:, :, ::-1])[1].tobytes())


def _read_png(path: Path) -> NDArray[np.uint8]:
    stored = cv2.imread(str(path))
    if stored is None:
        raise DataError(f"{path}: the rendering can't be read; delete it and run the command again")
    return np.ascontiguousarray(stored[:, :, ::-1], dtype=np.uint8)
