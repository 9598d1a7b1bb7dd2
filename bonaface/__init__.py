"""Face verification that a deepfake does not pass.

    import bonaface

    verifier = bonaface.load()
    verdict = verifier.verify("a.jpg", "b.jpg")
    print(verdict.decision, verdict.probability)

What is named here is the stable API; everything else may move. Each name is imported on first use, so that ``import bonaface``
takes milliseconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from bonaface.errors import BonafaceError, ConfigError, DataError, MissingExtraError, ModelError
from bonaface.telemetry import switch_off_telemetry

if TYPE_CHECKING:
    from bonaface.inference.verifier import PhotoCheck, Verifier, load, similarity
    from bonaface.verification.decision import Verdict
    from bonaface.verification.embeddings import Embeddings

__version__ = "0.2.0"

__all__ = [
    "BonafaceError",
    "ConfigError",
    "DataError",
    "Embeddings",
    "MissingExtraError",
    "ModelError",
    "PhotoCheck",
    "Verdict",
    "Verifier",
    "__version__",
    "load",
    "similarity",
]

_HOMES = {
    "Embeddings": "verification.embeddings",
    "PhotoCheck": "inference.verifier",
    "Verdict": "verification.decision",
    "Verifier": "inference.verifier",
    "load": "inference.verifier",
    "similarity": "inference.verifier",
}

switch_off_telemetry()


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
