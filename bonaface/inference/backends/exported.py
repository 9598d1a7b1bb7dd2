"""What exported models of every format share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bonaface.inference.backends.base import Images, Parts
from bonaface.inference.metadata import Description, input_of
from bonaface.verification.embeddings import Embeddings

__all__ = ["ExportedNetwork"]


class ExportedNetwork:
    """Parts that both kinds of exported models share.

    Args:
        file: where it was read from.
        description: of the file.
        fingerprint: of the file's content, or of the model that it is with another calibration.
        infer: arrays by input to arrays by output.
        runtime: what computes, and on what.
        threads: that compute one photo on a processor.
        weights: bytes of them.
    """

    def __init__(
        self,
        file: Path,
        description: Description,
        fingerprint: str,
        infer: Callable[[Images], Mapping[str, Any]],
        runtime: str,
        threads: int,
        weights: int,
    ) -> None:
        self.file = file
        self.runtime = runtime
        self.description = description
        self.name = description.name
        self.views = description.views
        self.fingerprint = fingerprint
        self.dim = description.dim
        self._infer = infer
        self._parts = Parts(runtime, threads, weights)

    def __call__(self, images: Images) -> Embeddings:
        """See :class:`Network`."""
        return self._parts(self._some, {name: images[name] for name in self.views})

    def _some(self, images: Images) -> Embeddings:
        said = self._infer({input_of(name): np.ascontiguousarray(stack) for name, stack in images.items()})
        return Embeddings(said["identity"], said.get("authenticity"))
