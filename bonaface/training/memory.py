"""How the C library hands memory to tensors."""

from __future__ import annotations

import ctypes
import platform

__all__ = ["keep_freed_memory"]

# Parameters of glibc's mallopt, from malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST = 2**31 - 1
_LARGEST_MAPPED = 2**30


def keep_freed_memory() -> bool:
    """Lets this process keep what tensors free, so that the next ones need not be mapped and cleared page by page.

    A training step on a CPU frees and asks for the same hundreds of megabytes again; with glibc's own thresholds every one of these
    goes back to the kernel, which clears it anew: a fifth of the step. The process then holds its peak until its end.

    Returns:
        Whether the C library took it; only glibc does.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(_MMAP_THRESHOLD, _LARGEST_MAPPED) and library.mallopt(_TRIM_THRESHOLD, _LARGEST))
