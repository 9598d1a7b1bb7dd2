"""What a model says of photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Embeddings", "cosine"]


@dataclass(frozen=True)
class Embeddings:
    """What a model says of ``n`` photos.

    Args:
        identity: unit vectors, shape ``(n, dim)``.
        authenticity: log-odds that each photo is genuine, shape ``(n,)``; None where the model does not judge it.
    """

    identity: NDArray[np.float32]
    authenticity: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.identity)

    def take(self, rows: NDArray[np.int64]) -> Embeddings:
        """The photos of some rows, in that order."""
        return Embeddings(self.identity[rows], None if self.authenticity is None else self.authenticity[rows])

    @classmethod
    def joined(cls, parts: Sequence[Embeddings]) -> Embeddings:
        """The photos of at least one part, one after the other; authenticity is judged where all parts judge it."""
        odds = [part.authenticity for part in parts if part.authenticity is not None]
        together = np.concatenate(odds) if len(odds) == len(parts) else None
        return cls(np.concatenate([part.identity for part in parts]), together)


def cosine(a: Embeddings, b: Embeddings) -> NDArray[np.float64]:
    """Cosines of the identity vectors, row by row, shape ``(n,)``."""
    cosines: NDArray[np.float64] = np.einsum("nd,nd->n", a.identity, b.identity, dtype=np.float64)  # (n,)
    return cosines
