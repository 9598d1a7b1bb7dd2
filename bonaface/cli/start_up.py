"""Start of the commands that judge a photo or two: they take longer to begin and to end than to judge."""

from __future__ import annotations

import atexit
import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bonaface.inference.verifier import Verifier

__all__ = ["load_fast"]


def load_fast(model: str | None, device: str, detector: Path | None) -> Verifier:
    """As :func:`bonaface.load`, where nothing heavy is imported yet: without what a verdict or two do not need.

    Args:
        model: as ``--model`` names it.
        device: as ``--device`` names it.
        detector: as ``--detector`` names it.

    Raises:
        ModelError, ConfigError: as :func:`bonaface.load`.
    """
    # The threads of numpy and OpenCV would keep a core busy for 25 ms each, looking for work, before they sleep.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    atexit.register(gc.freeze)  # else Python looks for cycles in all that was imported before it lets go of it
    from bonaface.inference.verifier import load

    return load(model, device, detector)
