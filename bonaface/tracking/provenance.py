"""Provenance of figures: the commit, the packages and the machine."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

from bonaface.version import __version__

__all__ = ["installed_packages", "machine", "source_commit"]


@cache
def source_commit() -> str | None:
    """The git commit of the folder that the program was started in, with ``+`` where files were changed since; None outside git."""
    try:
        said = [
            subprocess.run(["git", *words], capture_output=True, text=True, timeout=10, check=True).stdout.strip()
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    return said[0] + ("+" if said[1] else "")


@cache
def installed_packages() -> tuple[str, ...]:
    """Every installed package as ``name==version``, sorted."""
    return tuple(sorted({f"{each.name}=={each.version}" for each in distributions()}, key=str.lower))


@cache
def machine() -> dict[str, str]:
    """Versions, and what computes."""
    import torch  # not needed by those who only read what was noted

    card = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return {
        "bonaface": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": card or _processor(),
        "threads": str(torch.get_num_threads()),
    }


def _processor() -> str:
    """Linux names it in a file; elsewhere Python may know."""
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text(encoding="utf-8").splitlines() if listed.exists() else []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.processor()
