"""From a decoded photo to the images that networks look at; nothing here needs torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bonaface.images.alignment import Aligner
from bonaface.images.crops import InputSpec, kinds_of
from bonaface.images.framing import frame

__all__ = ["Preprocessor", "test_images"]

_VERSION = 2


@dataclass(frozen=True)
class Preprocessor:
    """From a decoded photo to the images that views are cut from.

    Args:
        kinds: which of ``frame`` and ``aligned`` are wanted.
        frame_size: side of the frame in pixels.
        aligned_size: side of the aligned face in pixels.
        detector: YuNet ONNX file or its content, or None for centre crops.
    """

    kinds: tuple[str, ...]
    frame_size: int
    aligned_size: int = 112
    detector: Path | bytes | None = None
    aligner: Aligner = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Opens the detector once."""
        object.__setattr__(self, "aligner", Aligner(self.detector, self.aligned_size))

    @classmethod
    def of(cls, views: Mapping[str, InputSpec], frame_size: int, detector: Path | bytes | None) -> Preprocessor:
        """What the views of a model need.

        Raises:
            ConfigError: if a crop does not fit the frame.
        """
        for view in views.values():
            view.check(frame_size)
        sizes = [view.size for view in views.values() if view.kind == "aligned"]
        kinds = kinds_of(views)
        return cls(kinds, frame_size, max(sizes, default=112), detector)

    def size(self, kind: str) -> int:
        """Side in pixels of the images of a kind."""
        return self.frame_size if kind == "frame" else self.aligned_size

    def __call__(
        self, image: NDArray[np.uint8], faces: NDArray[np.float32] | None = None
    ) -> dict[str, NDArray[np.uint8]]:
        """Images by kind, each ``(size, size, 3)``; see :func:`bonaface.images.framing.frame` for the frame.

        Args:
            image: RGB, shape ``(h, w, 3)``, uint8.
            faces: as :meth:`Aligner.faces` returns them, where they have been looked for; else the detector runs here.
        """
        made = {}
        cut = self.detector is not None and image.shape[:2] != (self.frame_size, self.frame_size)
        face = None
        if cut or "aligned" in self.kinds:
            face = self.aligner.align(image) if faces is None else self.aligner.lay(image, faces)
        if "frame" in self.kinds:
            made["frame"] = frame(image, self.frame_size, None if face is None else face.points)
        if "aligned" in self.kinds and face is not None:
            made["aligned"] = face.image
        return made

    def fingerprint(self) -> str:
        """Changes whenever the images would."""
        detector = self.detector.read_bytes() if isinstance(self.detector, Path) else self.detector or b""
        text = f"{_VERSION} {self.kinds} {self.frame_size} {self.aligned_size}".encode()
        return hashlib.blake2b(text + detector, digest_size=16).hexdigest()


def test_images(
    views: Mapping[str, InputSpec], prepared: Sequence[Mapping[str, NDArray[np.uint8]]]
) -> dict[str, NDArray[np.uint8]]:
    """What each branch of a model is given of ``n`` prepared photos at test time, by the branch's name: ``(n, h, w, 3)``."""
    return {name: np.stack([view.at_test(each[view.kind]) for each in prepared]) for name, view in views.items()}
