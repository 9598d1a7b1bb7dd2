"""Donors of face swaps: people of about the same pose and skin colour, on whose head the face is put."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.forgery.blending import MEAN_POINTS
from bonaface.forgery.landmarks import Landmarks
from bonaface.images.alignment import Aligner, similarity_transform

__all__ = ["Donors", "Sight", "see"]

_LOOKED_AT = 200
_KEPT = 4
# The cheeks and the nose between them, as fractions of the distances from eye to eye and from eyes to mouth.
_SKIN_SIDE = 24


@dataclass(frozen=True)
class Sight:
    """Pose and skin colour of a photo: what matters for a swap.

    Attributes:
        tone: mean colour between the eyes and the mouth, LAB in 8 bits, ``(3,)``.
        yaw: how far the face is turned, the nose's offset in distances between the eyes; 0 where no points are known.
        points: the face's five points in px, ``(5, 2)``, and after them its outline where it is known; or None.
    """

    tone: NDArray[np.float32]
    yaw: float
    points: NDArray[np.float32] | None


def see(image: NDArray[np.uint8], aligner: Aligner | None, landmarks: Landmarks | None = None) -> Sight:
    """Looks at a photo.

    Args:
        image: RGB, shape ``(h, w, 3)``.
        aligner: finds the points; None assumes the mean face in the middle square.
        landmarks: the points where they are given: nothing is looked for then.

    Raises:
        DataError: if the landmarks lie outside of the photo.

    Example:
        >>> see(np.full((64, 48, 3), 128, np.uint8), None).tone
        array([137., 128., 128.], dtype=float32)
    """
    height, width = image.shape[:2]
    if landmarks is not None:
        points: NDArray[np.float32] | None = landmarks.in_pixels(height, width)
    else:
        points = None if aligner is None else aligner.align(image).points
    side = min(height, width)
    middle = np.array([(width - side) / 2, (height - side) / 2], np.float32)
    face = MEAN_POINTS * np.float32(side) + middle if points is None else points
    return Sight(_tone(image, face), 0.0 if points is None else _yaw(face), points)


def _tone(image: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.float32]:
    corners = np.array([[0, 0], [_SKIN_SIDE, 0], [0, _SKIN_SIDE], [_SKIN_SIDE, _SKIN_SIDE]], np.float32)
    patch = cv2.warpAffine(image, similarity_transform(points[[0, 1, 3, 4]], corners), (_SKIN_SIDE, _SKIN_SIDE))
    lab = cv2.cvtColor(np.asarray(patch[4:-4], dtype=np.uint8), cv2.COLOR_RGB2LAB)
    return np.asarray(lab.reshape(-1, 3).mean(axis=0), dtype=np.float32)


def _yaw(points: NDArray[np.float32]) -> float:
    across = points[1] - points[0]
    offset = points[2] - (points[0] + points[1]) / 2
    return float(offset @ across / max(float(across @ across), 1e-9))


class Donors:
    """Finds a donor for a photo.

    Args:
        people: number of each photo's person, shape ``(n,)``.
        tones: shape ``(n, 3)``.
        yaws: shape ``(n,)``.
    """

    def __init__(self, people: NDArray[np.int64], tones: NDArray[np.float32], yaws: NDArray[np.float32]) -> None:
        self.people = people
        self.tones = tones
        self.yaws = yaws

    def pick(self, photo: int, random: np.random.Generator) -> int:
        """A photo of another person, one of the four most alike among two hundred drawn.

        Args:
            photo: position of the photo whose face is swapped.
            random: draws.

        Raises:
            ValueError: if there is no other person.
        """
        drawn = random.integers(len(self.people), size=_LOOKED_AT)
        drawn = drawn[self.people[drawn] != self.people[photo]]
        if not len(drawn):
            drawn = random.permutation(np.flatnonzero(self.people != self.people[photo]))[:_LOOKED_AT]
        # A yaw of 0.1 weighs as much as a skin colour 10 LAB units away.
        unlike = np.abs(self.yaws[drawn] - self.yaws[photo]) * 100
        unlike = unlike + np.linalg.norm(self.tones[drawn] - self.tones[photo], axis=1)
        nearest = np.argsort(unlike, kind="stable")[:_KEPT]
        return int(drawn[int(random.choice(nearest))])
