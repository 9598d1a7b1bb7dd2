"""Checkpoints appear whole or not at all, also where the folder of runs lies on a full disk."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from bonaface.io import atomic_write

__all__ = ["WholeCheckpoints"]


class WholeCheckpoints(TorchCheckpointIO):
    """Writes beside the target and renames.

    Lightning's own writes to the system's folder of temporary files and moves from there: across disks that is a copy, which a
    full disk or a kill cuts short, with the last good checkpoint gone.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Writes a checkpoint.

        Raises:
            DataError: if it can't be written; what was at ``path`` before is still there.
        """
        buffer = io.BytesIO()  # torch's own writer hides why a disk refused
        torch.save(checkpoint, buffer)
        with atomic_write(Path(path)) as temporary:
            temporary.write_bytes(buffer.getbuffer())
