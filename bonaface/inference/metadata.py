"""Description that an exported model carries: all that is needed beside its graph, kept in the file's own metadata.

So one file is the whole model: what it looks at, how its scores become probabilities, at which thresholds it decides, the face
detector that finds what it looks at, and the card that says what it is for.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from bonaface.errors import ModelError
from bonaface.images.crops import InputSpec, kinds_of
from bonaface.images.preprocessing import Preprocessor
from bonaface.verification.calibration import Calibration
from bonaface.verification.thresholds import Validation
from bonaface.version import __version__

__all__ = ["KEYS", "MARK", "PRECISION", "WEIGHTS", "Description", "input_of"]

MARK = "bonaface"
"""The key whose presence tells an exported model from any other network."""
KEYS = (MARK, "bonaface_version", "model_card", "detector")
WEIGHTS = "weights"
"""The key of the digest of an OpenVINO model's ``.bin``."""
PRECISION = "precision"
"""The key of what an OpenVINO model computes in, ``f32`` or ``bf16``; one without it computes in ``f32``."""
_FORMAT = 1
_BRANCHES = ("identity", "authenticity")
_KINDS: dict[Literal["face_crop", "aligned"], str] = {"face_crop": "frame", "aligned": "aligned"}
"""Kinds of images by their names in the file, which are as old as its format; so is ``frame_size``."""


@dataclass(frozen=True)
class Description:
    """Everything about an exported model that its graph does not say.

    Args:
        name: what messages call it.
        views: what each branch looks at; the graph's outputs have these names.
        crop_size: side in pixels of the face crop.
        aligned_size: side in pixels of the aligned face.
        dim: length of an identity vector.
        calibration: of its scores; None for a plain recogniser.
        validation: thresholds and likelihood ratios; None where none are known.
        card: the model card, Markdown.
        detector: content of YuNet's ONNX file; None where the model goes without.
        fingerprint: of the model whose graph this is with another calibration: their embeddings are the same; empty where the file
            is its own.
    """

    name: str
    views: Mapping[str, InputSpec]
    crop_size: int
    aligned_size: int
    dim: int
    calibration: Calibration | None = None
    validation: Validation | None = None
    card: str = ""
    detector: bytes | None = None
    fingerprint: str = ""

    def preprocessor(self) -> Preprocessor:
        """Preprocessor of the images that the model looks at.

        Raises:
            ModelError: if the detector is none that OpenCV reads.
        """
        kinds = kinds_of(self.views)
        return Preprocessor(kinds, self.crop_size, self.aligned_size, self.detector)

    def side(self, branch: str) -> int:
        """Side in pixels of the images that a branch is given."""
        view = self.views[branch]
        if view.crop and not view.corners:
            return view.size
        return self.crop_size if view.kind == "face_crop" else self.aligned_size

    def as_metadata(self) -> dict[str, str]:
        """Texts by key, as ONNX's metadata_props and OpenVINO's rt_info hold them."""
        settings = {
            "format": _FORMAT,
            "name": self.name,
            "views": {name: asdict(view) | {"kind": _KINDS[view.kind]} for name, view in self.views.items()},
            "frame_size": self.crop_size,
            "aligned_size": self.aligned_size,
            "dim": self.dim,
            "calibration": self.calibration and self.calibration.as_dict(),
            "validation": self.validation and self.validation.as_dict(),
            "fingerprint": self.fingerprint,
        }
        detector = base64.b64encode(self.detector or b"").decode()
        return dict(zip(KEYS, (json.dumps(settings), __version__, self.card, detector), strict=True))

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], where: str) -> Description:
        """The inverse of ``as_metadata``.

        Args:
            metadata: with the key ``MARK`` among them.
            where: the file, for messages.

        Raises:
            ModelError: if they are damaged or of a later version.
        """
        try:
            settings = json.loads(metadata[MARK], parse_constant=_no_number)
            found = settings["format"]
            if found == _FORMAT:
                return cls._read(settings, metadata)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ModelError(
                f"{where}: its metadata is damaged ({repr(error)[:160]}); export the model again"
            ) from error
        raise ModelError(
            f"{where}: of format {repr(found)[:20]}, written by bonaface {metadata.get('bonaface_version', '?')[:20]}; "
            f"bonaface {__version__} reads format {_FORMAT}: export the model again"
        )

    @classmethod
    def _read(cls, settings: Mapping[str, Any], metadata: Mapping[str, str]) -> Description:
        kinds = {old: kind for kind, old in _KINDS.items()}
        views = {name: InputSpec(**view | {"kind": kinds[view["kind"]]}) for name, view in settings["views"].items()}
        if "identity" not in views or not set(views) <= set(_BRANCHES):
            raise ValueError(f"views of {sorted(views)}")
        sizes = [
            settings["frame_size"],
            settings["aligned_size"],
            settings["dim"],
            *(view.size for view in views.values()),
        ]
        if not all(isinstance(size, int) and 0 < size < 100_000 for size in sizes):
            raise ValueError(f"sizes {sizes}")
        calibration, validation = settings["calibration"], settings["validation"]
        calibrated = None if calibration is None else Calibration.from_dict(calibration)
        if "authenticity" in views and (calibrated is None or calibrated.genuine is None):
            raise ValueError("no calibration of authenticity")
        return cls(
            str(settings["name"]),
            views,
            sizes[0],
            sizes[1],
            sizes[2],
            calibrated,
            None if validation is None else Validation.from_dict(validation),
            metadata["model_card"],
            base64.b64decode(metadata["detector"], validate=True) or None,
            str(settings.get("fingerprint", "")),
        )


def input_of(branch: str) -> str:
    """The graph's input that a branch's images go into: a name of the file format, as old as its first version."""
    return f"{branch}_pictures"


def _no_number(constant: str) -> float:
    raise ValueError(f"{constant} where a number was expected")
