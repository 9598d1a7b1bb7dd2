"""Choice of the device that networks run on."""

from __future__ import annotations

import torch

from bonaface.errors import ConfigError

__all__ = ["available_device"]


def available_device(setting: str) -> str:
    """``cpu`` or ``cuda``: what the setting says, or for ``auto`` a GPU if there is one.

    Raises:
        ConfigError: if it says ``cuda`` and there is none.
    """
    if setting == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: cuda was asked for, and this machine has no CUDA device that torch can use")
    return setting if setting != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
