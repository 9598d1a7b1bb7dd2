"""The one check of devices: what a name means to torch and to ONNX Runtime, and whether this machine has it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from bonaface.errors import ConfigError

__all__ = ["DEVICES", "available_device", "available_providers", "refuse_unknown", "runs_openvino"]


@dataclass(frozen=True)
class _Accelerator:
    """Needs of ONNX Runtime for a device.

    Args:
        provider: its name of it.
        others: providers that take what the first cannot, the first choice first.
        install: how to get it.
    """

    provider: str
    others: tuple[str, ...]
    install: str


_CPU = "CPUExecutionProvider"
_ACCELERATORS = {
    "cuda": _Accelerator("CUDAExecutionProvider", (), "pip install onnxruntime-gpu"),
    "tensorrt": _Accelerator(
        "TensorrtExecutionProvider", ("CUDAExecutionProvider",), "pip install onnxruntime-gpu tensorrt"
    ),
    "coreml": _Accelerator("CoreMLExecutionProvider", (), "pip install onnxruntime, on macOS"),
    "openvino": _Accelerator("OpenVINOExecutionProvider", (), "pip install openvino"),
}
DEVICES = ("auto", "cpu", *_ACCELERATORS)
"""Devices that ``--device`` takes. ``auto`` is a graphics card where there is one, else the processor."""


def available_device(setting: str) -> str:
    """``cpu`` or ``cuda``, for torch: what the setting says, or for ``auto`` a GPU if there is one.

    Raises:
        ConfigError: if it says ``cuda`` and there is none, or another device than torch is used with.
    """
    import torch

    refuse_unknown(setting)
    if setting not in ("auto", "cpu", "cuda"):
        raise ConfigError(
            f"device: {setting} computes exported models alone; expected auto, cpu or cuda, or the file that bonaface export writes"
        )
    if setting == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: cuda was asked for, and this machine has no CUDA device that torch can use")
    return setting if setting != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def available_providers(setting: str) -> list[str]:
    """Execution providers of ONNX Runtime for a device, the first choice first; the processor is the last of each.

    Args:
        setting: one of ``DEVICES``.

    Raises:
        ConfigError: if the installed ONNX Runtime lacks it.

    Example:
        >>> available_providers("cpu")
        ['CPUExecutionProvider']
    """
    import onnxruntime

    refuse_unknown(setting)
    installed = onnxruntime.get_available_providers()
    if setting in ("auto", "cpu"):
        cuda = _ACCELERATORS["cuda"].provider
        return [cuda, _CPU] if setting == "auto" and cuda in installed else [_CPU]
    wanted = _ACCELERATORS[setting]
    if wanted.provider not in installed:
        raise ConfigError(
            f"device: {setting} was asked for, and the installed ONNX Runtime has no {wanted.provider}: {wanted.install}"
        )
    return [wanted.provider, *(each for each in wanted.others if each in installed), _CPU]


def runs_openvino(setting: str) -> bool:
    """True where a device is OpenVINO's own package; ONNX Runtime's provider of that name, another wheel, comes first."""
    import onnxruntime

    provider = _ACCELERATORS["openvino"].provider
    there = provider in onnxruntime.get_available_providers()
    return setting == "openvino" and not there and find_spec("openvino") is not None


def refuse_unknown(setting: str) -> None:
    """Refuses what is not in ``DEVICES``, before a model is read.

    Raises:
        ConfigError: if it is not.
    """
    if setting not in DEVICES:
        raise ConfigError(f"device: {setting!r}: expected {', '.join(DEVICES[:-1])} or {DEVICES[-1]}")
