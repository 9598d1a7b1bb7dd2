"""Where the peer, Open Metric Learning, is installed."""

from pathlib import Path

__all__ = ["oml_python"]


def oml_python(named: Path) -> Path | None:
    """OML's interpreter, or None, which is said."""
    if named.exists():
        return named.absolute()  # not resolved: a virtual environment is found by the link's own place
    print(f"{named}: no such interpreter, so OML is not measured (make bench makes one)", flush=True)
    return None
