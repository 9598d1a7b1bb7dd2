"""Embeddings of photos by one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bonaface.errors import DataError, ModelError
from bonaface.verification.calibration import Calibration

__all__ = ["Embeddings", "cosine", "refuse_unfit"]

_TWO_MODELS = "embeddings of two models cannot be compared: embed the photos by one"
_ROUNDING = 0.01
"""Of a unit vector's length: that of 8 bits a value is within."""


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of ``n`` photos by one model.

    Args:
        identity: unit vectors, shape ``(n, d)``, float32.
        authenticity: raw log-odds that each photo is genuine, shape ``(n,)``, float32; None where the model does not judge it.
        calibration: what the model's scores mean; None where it is not known.
        model: fingerprint of the model; embeddings of different models cannot be compared.

    Example:
        >>> photos = Embeddings(np.eye(2, dtype=np.float32))
        >>> len(photos), photos.genuine, photos.called_fake.tolist()
        (2, None, [False, False])
    """

    identity: NDArray[np.float32]
    authenticity: NDArray[np.float32] | None = None
    calibration: Calibration | None = None
    model: str = ""

    @property
    def genuine(self) -> NDArray[np.float64] | None:
        """P(genuine) of each photo, shape ``(n,)``, at even prior odds; None where the model does not judge it."""
        if self.authenticity is None or self.calibration is None:
            return None
        return self.calibration.p_genuine(self.authenticity)

    @property
    def called_fake(self) -> NDArray[np.bool_]:
        """Photos classified as deepfakes, shape ``(n,)``; none where the model does not judge it."""
        if self.authenticity is None or self.calibration is None:
            return np.zeros(len(self), dtype=bool)
        return self.calibration.called_fake(self.authenticity)

    def __len__(self) -> int:
        return len(self.identity)

    def take(self, rows: NDArray[np.int64]) -> Embeddings:
        """The photos of some rows, in that order."""
        odds = None if self.authenticity is None else self.authenticity[rows]
        return replace(self, identity=self.identity[rows], authenticity=odds)

    def row(self, number: int) -> Embeddings:
        """One photo."""
        return self.take(np.array([number]))

    @classmethod
    def joined(cls, parts: Sequence[Embeddings]) -> Embeddings:
        """The photos of at least one part, one after the other.

        Raises:
            ModelError: if they are of two models, or some alone have an authenticity.
        """
        odds = [part.authenticity for part in parts if part.authenticity is not None]
        kinds = {(part.model, part.identity.shape[1:]) for part in parts}
        if len(kinds) > 1 or len(odds) not in (0, len(parts)):
            raise ModelError(_TWO_MODELS)
        together = np.concatenate(odds) if odds else None
        return cls(np.concatenate([part.identity for part in parts]), together, parts[0].calibration, parts[0].model)


def refuse_unfit(a: Embeddings, b: Embeddings, calibration: Calibration | None) -> None:
    """Refuse embeddings that cannot be compared: what they lack would be taken for a low bar.

    Args:
        a: of one model.
        b: of the same one.
        calibration: of the model.

    Raises:
        ModelError: if they are of two models, or have no authenticity though the model judges it.
        DataError: if one is longer than a unit vector, or one in them is not finite.
    """
    for each in (a, b):
        identity = np.shape(each.identity)
        authenticity = identity[:1] if each.authenticity is None else np.shape(each.authenticity)
        if len(identity) != 2 or authenticity != identity[:1]:
            raise DataError(
                f"embeddings: are of the shapes {identity} and {authenticity}; expected (n, d) and (n,), as Verifier.embed has it"
            )
    judged = {each.authenticity is not None for each in (a, b)}
    if np.shape(a.identity)[1:] != np.shape(b.identity)[1:] or len(judged) > 1:
        raise ModelError(_TWO_MODELS)
    if judged == {False} and calibration is not None and calibration.genuine is not None:
        raise ModelError(
            "embeddings: have no authenticity, which the model judges; expected all that Verifier.embed returns"
        )
    for each in (a, b):
        lengths = np.linalg.norm(np.asarray(each.identity, np.float32), axis=1)
        wrong = ~(lengths <= 1 + _ROUNDING)  # NaN too; longer ones would raise a cosine, those of a mean are shorter
        if wrong.any():
            row = int(wrong.argmax())
            raise DataError(
                f"embeddings: row {row} has the length {lengths[row]:.3g}; expected unit vectors as Verifier.embed gives, or means"
            )
        if each.authenticity is not None and not np.isfinite(each.authenticity).all():
            row = int((~np.isfinite(each.authenticity)).argmax())
            raise DataError(
                f"embeddings: row {row} has the authenticity {each.authenticity[row]}; expected a finite number"
            )


def cosine(a: Embeddings, b: Embeddings) -> NDArray[np.float64]:
    """Cosines of the identity vectors, row by row, shape ``(n,)``."""
    cosines: NDArray[np.float64] = np.einsum("nd,nd->n", a.identity, b.identity, dtype=np.float64)  # (n,)
    return cosines
