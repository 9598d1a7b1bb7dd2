"""Optional packages: which extra of bonaface brings which, and the one sentence where one is missing.

The core install has numpy, ONNX Runtime, OpenCV, Pillow and rich. Everything else is asked for here before it is needed, or is
imported where it is needed: the command line turns the ImportError of a package of this table into the same sentence.
"""

from __future__ import annotations

import importlib.util
from functools import cache

from bonaface.errors import MissingExtraError

TYPE_CHECKING = False  # as in the package's door
if TYPE_CHECKING:
    from typing import Any

__all__ = ["EXTRAS", "missing_extra", "openvino_core", "require"]

_EVALUATE = ("jinja2", "pandas", "yaml", "sklearn", "scipy")
_PARQUET = (*_EVALUATE, "pyarrow")
_TRAIN = (
    "torch",
    "torchvision",
    "lightning",
    "timm",
    "pytorch_metric_learning",
    "onnx",
    "onnx2torch",
    "safetensors",
    "jsonargparse",
)

EXTRAS: dict[str, tuple[str, ...]] = {
    "evaluate": _EVALUATE,
    "plot": ("matplotlib", *_EVALUATE),
    "parquet": _PARQUET,
    "train": (*_TRAIN, *_PARQUET),
    "clean": ("faiss", *_EVALUATE),
    "export": ("openvino", "nncf", "onnx", "sympy", *_EVALUATE),
    "serve": ("fastapi", "uvicorn", "prometheus_client", "python_multipart"),
    "gallery": ("pymilvus", "milvus_lite", "grpc"),
    "experiments": ("ray", "mlflow", "fsspec", "tensorboard", *_TRAIN, *_PARQUET),
    "synthetic": ("openvino", *_EVALUATE),
    "heic": ("pillow_heif",),
}
"""Modules to import by extra, as pyproject.toml declares them; of a module that several extras bring the first is named."""

_NAMES = {
    "faiss": "FAISS",
    "fastapi": "FastAPI",
    "fsspec": "fsspec",
    "grpc": "gRPC",
    "jinja2": "Jinja",
    "lightning": "Lightning",
    "milvus_lite": "Milvus Lite",
    "mlflow": "MLflow",
    "nncf": "NNCF",
    "onnx": "ONNX",
    "openvino": "OpenVINO",
    "prometheus_client": "prometheus-client",
    "python_multipart": "python-multipart",
    "pytorch_metric_learning": "pytorch-metric-learning",
    "pillow_heif": "pillow-heif",
    "ray": "Ray",
    "sklearn": "scikit-learn",
    "tensorboard": "TensorBoard",
    "torch": "PyTorch",
    "yaml": "PyYAML",
}


def require(extra: str, *modules: str, what: str = "", instead: str = "") -> None:
    """Check that packages are installed, without importing them.

    Args:
        extra: of ``EXTRAS``, the one that the sentence names.
        modules: to look for; all of the extra's where none are named.
        what: the option or file that needs them; the command is named by the command line.
        instead: what can be done without them.

    Raises:
        MissingExtraError: if one of them is not installed.

    Example:
        >>> EXTRAS["none"] = ("no_such_package",)
        >>> require("none", what="--none")
        Traceback (most recent call last):
        bonaface.errors.MissingExtraError: --none: needs no_such_package, which is not installed: pip install 'bonaface[none]'
        >>> del EXTRAS["none"]
    """
    missing = [module for module in modules or EXTRAS[extra] if not _is_installed(module)]
    if missing:
        raise MissingExtraError(_sentence(missing, extra, what, instead))


def missing_extra(error: ImportError, wanted: str | None = None) -> MissingExtraError | None:
    """The sentence for an ImportError.

    Args:
        error: as Python raised it.
        wanted: the extra to name if it brings the package.

    Returns:
        None where no extra brings the package, or the package is there and only a part of it is missing.
    """
    module = (error.name or "").partition(".")[0]
    order = [wanted, *EXTRAS] if wanted else [*EXTRAS]
    extra = next((extra for extra in order if module in EXTRAS[extra]), None)
    if extra is None or _is_installed(module):
        return None
    return MissingExtraError(_sentence([module], extra))


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _sentence(missing: list[str], extra: str, what: str = "", instead: str = "") -> str:
    names = [_NAMES.get(module, module) for module in missing]
    shown = (
        names[0] if len(names) == 1 else f"{names[0]} and {names[1] if len(names) == 2 else f'{len(names) - 1} more'}"
    )
    verb = "is" if len(names) == 1 else "are"
    said = f"needs {shown}, which {verb} not installed: pip install 'bonaface[{extra}]'"
    return (f"{what}: " if what else "") + said + (f", or {instead}" if instead else "")


@cache
def openvino_core() -> Any:
    """The one ``openvino.Core`` of this process, which is never closed.

    Each Core puts an alternate signal stack of its own under the thread that compiles with it and frees it when it is closed. Of
    two that are closed in the order of their making the first one's freed stack is put back: the next signal, be it Ctrl-C or
    a worker's end, then crashes the process or writes into memory that something else has by now.

    Raises:
        ImportError: if OpenVINO is not installed; see :func:`require`.
    """
    import openvino

    return openvino.Core()
