"""Face verification that a deepfake does not pass.

    import bonaface

    verifier = bonaface.load()
    verdict = verifier.verify("a.jpg", "b.jpg")
    print(verdict.decision, verdict.probability)

What is named here is the stable API; everything else may move. Each name is imported on first use, so that ``import bonaface``
takes milliseconds.
"""

from importlib import import_module

from bonaface.errors import BonafaceError, ConfigError, DataError, MissingExtraError, ModelError
from bonaface.extras import missing_extra
from bonaface.telemetry import switch_off_telemetry
from bonaface.version import __version__

TYPE_CHECKING = False  # as type checkers read it; typing itself takes longer to import than all of this

if TYPE_CHECKING:
    from bonaface.calibrating.calibrate import calibrate
    from bonaface.config import TrainConfig
    from bonaface.evaluation.evaluate import evaluate
    from bonaface.exporting.export import export
    from bonaface.gallery.enrol import EnrolledPhoto, enrol
    from bonaface.gallery.search import SearchHit, search
    from bonaface.inference.verifier import PhotoCheck, Verifier, load, similarity
    from bonaface.losses import list_losses
    from bonaface.models.backbones import list_backbones
    from bonaface.training.train import train
    from bonaface.verification.decision import Verdict
    from bonaface.verification.embeddings import Embeddings

__all__ = [
    "BonafaceError",
    "ConfigError",
    "DataError",
    "Embeddings",
    "EnrolledPhoto",
    "MissingExtraError",
    "ModelError",
    "PhotoCheck",
    "SearchHit",
    "TrainConfig",
    "Verdict",
    "Verifier",
    "__version__",
    "calibrate",
    "enrol",
    "evaluate",
    "export",
    "list_backbones",
    "list_losses",
    "load",
    "search",
    "similarity",
    "train",
]

_HOMES = {
    "Embeddings": "verification.embeddings",
    "EnrolledPhoto": "gallery.enrol",
    "PhotoCheck": "inference.verifier",
    "SearchHit": "gallery.search",
    "TrainConfig": "config",
    "Verdict": "verification.decision",
    "Verifier": "inference.verifier",
    "calibrate": "calibrating.calibrate",
    "enrol": "gallery.enrol",
    "evaluate": "evaluation.evaluate",
    "export": "exporting.export",
    "list_backbones": "models.backbones",
    "list_losses": "losses",
    "load": "inference.verifier",
    "search": "gallery.search",
    "similarity": "inference.verifier",
    "train": "training.train",
}

switch_off_telemetry()


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ImportError as error:
        missing = missing_extra(error, "export" if name in ("calibrate", "export") else None)
        if missing is None:
            raise
        raise missing from error


def __dir__() -> list[str]:
    return sorted(__all__)
