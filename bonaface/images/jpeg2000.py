"""What a JPEG 2000 says of its smaller scales."""

from __future__ import annotations

__all__ = ["halvings"]

_START, _TILE = b"\xff\x4f\xff\x51", b"\xff\x90"
_LEVELS_AT = {b"\xff\x52": 9, b"\xff\x53": 6}
"""Where of the style of coding, for all components and for one (of at most 256), the number of levels stands."""


def halvings(data: bytes) -> int:
    """How often the scale can be halved, 0 to 32: the levels of its wavelets.

    Args:
        data: the whole file.

    Source: ISO/IEC 15444-1, A.6.1 and A.6.2.
    """
    at, levels = data.find(_START) + 2, []
    while 2 <= at < len(data) - 9 and (kind := data[at : at + 2]) != _TILE:
        if kind in _LEVELS_AT:
            levels.append(data[at + _LEVELS_AT[kind]])
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return min(levels, default=0)
