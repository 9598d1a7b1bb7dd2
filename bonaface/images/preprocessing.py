"""From a decoded photo to the images that networks look at; nothing here needs torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bonaface.images.alignment import Aligner
from bonaface.images.crops import InputSpec, face_crop, kinds_of
from bonaface.images.decoding import refuse_no_image
from bonaface.reading import read_regular

__all__ = ["Preprocessor", "test_images"]

_VERSION = 2
_RECOGNISERS = 112
"""Side in px of the aligned faces that recognisers in ArcFace's tradition are trained on."""


@dataclass(frozen=True)
class Preprocessor:
    """From a decoded photo to the images that views are cut from.

    Args:
        kinds: which of ``face_crop`` and ``aligned`` are wanted.
        crop_size: side of the face crop in pixels.
        aligned_size: side of the aligned face in pixels.
        detector: YuNet ONNX file or its content, or None for centre crops.
    """

    kinds: tuple[str, ...]
    crop_size: int
    aligned_size: int = 112
    detector: Path | bytes | None = None
    aligner: Aligner = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Opens the detector once."""
        object.__setattr__(self, "aligner", Aligner(self.detector, self.aligned_size))

    @classmethod
    def of(cls, views: Mapping[str, InputSpec], crop_size: int, detector: Path | bytes | None) -> Preprocessor:
        """Preprocessor for the views of a model.

        Raises:
            ConfigError: if a native-resolution crop does not fit the face crop.
        """
        for view in views.values():
            view.check(crop_size)
        sizes = [view.size for view in views.values() if view.kind == "aligned"]
        kinds = kinds_of(views)
        return cls(kinds, crop_size, max(sizes, default=112), detector)

    def unaligned(self, views: Mapping[str, InputSpec]) -> str | None:
        """Sentence of warning where the identity network of some views expects aligned faces and is given others."""
        view = views["identity"]
        if view.kind == "aligned" and self.detector is None:
            return f"identity: expects aligned faces of {view.size} px, and is given the centre of each image"
        if view.kind == "face_crop" and view.size == _RECOGNISERS:
            return f"identity: a network of {view.size} px most often expects aligned faces, and is given face crops"
        return None

    def size(self, kind: str) -> int:
        """Side in pixels of the images of a kind."""
        return self.crop_size if kind == "face_crop" else self.aligned_size

    def __call__(
        self, image: NDArray[np.uint8], faces: NDArray[np.float32] | None = None
    ) -> dict[str, NDArray[np.uint8]]:
        """Images by kind, each ``(size, size, 3)``; see :func:`bonaface.images.crops.face_crop`.

        Args:
            image: RGB, shape ``(h, w, 3)``, uint8.
            faces: as :meth:`Aligner.faces` returns them, where they have been looked for; else the detector runs here.
        """
        made = {}
        faces = self.faces(image) if faces is None else faces
        face = None
        if faces is not None:
            face = self.aligner.lay(image, faces)
        elif "aligned" in self.kinds:
            face = self.aligner.align(image)
        if "face_crop" in self.kinds:
            made["face_crop"] = face_crop(image, self.crop_size, None if face is None else face.points)
        if "aligned" in self.kinds and face is not None:
            made["aligned"] = face.image
        return made

    def faces(self, image: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """Faces of an image as :meth:`Aligner.faces` returns them; None where nothing of it is cut by them."""
        cut = image.shape[:2] != (self.crop_size, self.crop_size)
        if self.detector is None or not (cut or "aligned" in self.kinds):
            return None
        refuse_no_image(image)
        return self.aligner.faces(image)

    def fingerprint(self) -> str:
        """Changes whenever the images would."""
        detector = read_regular(self.detector) if isinstance(self.detector, Path) else self.detector or b""
        kinds = tuple(
            "frame" if kind == "face_crop" else kind for kind in self.kinds
        )  # by 0.1's name: galleries stay valid
        text = f"{_VERSION} {kinds} {self.crop_size} {self.aligned_size}".encode()
        return hashlib.blake2b(text + detector, digest_size=16).hexdigest()


def test_images(
    views: Mapping[str, InputSpec], prepared: Sequence[Mapping[str, NDArray[np.uint8]]]
) -> dict[str, NDArray[np.uint8]]:
    """Inputs of each branch of a model at test time for ``n`` prepared photos, by the branch's name: ``(n, h, w, 3)``."""
    return {name: np.stack([view.at_test(each[view.kind]) for each in prepared]) for name, view in views.items()}
