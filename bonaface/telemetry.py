"""Telemetry of the libraries that bonaface uses, switched off before they load: nothing about faces or models leaves the machine.

ONNX Runtime, MLflow, Ray and Hugging Face's hub are told by the environment variables that they document; who sets one beforehand
keeps it. OpenVINO and NNCF have none but a file in the user's home, and go without where their telemetry package can't be
imported: so it can't be.
"""

import os
import sys

__all__ = ["SWITCHES", "switch_off_telemetry"]

SWITCHES = {
    "ORT_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""Environment variables by library, as its documentation names them."""

_PACKAGE = "openvino_telemetry"


def switch_off_telemetry() -> None:
    """Switch it off for this process and those that it starts; ``import bonaface`` does so."""
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)
    if _PACKAGE not in sys.modules:
        sys.modules[_PACKAGE] = None  # type: ignore[assignment]  # Python's own way to make an import fail
