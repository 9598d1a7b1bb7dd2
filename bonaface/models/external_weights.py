"""Weights of an ONNX network that lie in files beside it, as PyTorch writes them by default and must where they exceed 2 GB."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["weights_beside"]

_LOCATION = re.compile(rb"\x0a\x08location\x12([\x80-\xff]{0,2}[\x00-\x7f])")
"""A StringStringEntryProto of the key ``location``, up to its value's length, a varint: seven bits a byte, the lowest first."""


def weights_beside(content: bytes, file: Path) -> list[Path]:
    """The files that hold a network's weights and are there, as onnx.proto's external_data names them.

    Args:
        content: of the ``.onnx``.
        file: its path, which the names are relative to.
    """
    found = set()
    for match in _LOCATION.finditer(content):
        length = sum((byte & 127) << 7 * place for place, byte in enumerate(match[1]))
        found.add(content[match.end() : match.end() + length])
    beside = [file.parent / os.fsdecode(name) for name in sorted(found) if b"\0" not in name]
    return [each for each in beside if each.exists()]
