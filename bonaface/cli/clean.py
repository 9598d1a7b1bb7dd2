"""``bonaface clean``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress

from bonaface.cli.options import ProgressConsole, add_device

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bonaface clean",
        description="Find what is wrong with a folder of faces. Nothing is moved or deleted: faces.faults makes training "
        "follow the list.",
    )
    parser.add_argument("faces", type=Path, metavar="DIR", help="folder of faces, or a CSV or parquet table of them")
    parser.add_argument("--out", type=Path, required=True, metavar="CSV", help="the list of faults to write")
    parser.add_argument(
        "--model",
        metavar="X",
        help="folder of a run, or an ONNX face network; without it only files, duplicates and classes are checked",
    )
    parser.add_argument("--detector", type=Path, metavar="ONNX", help="YuNet file: aligns faces, and counts them")
    parser.add_argument("--against", type=Path, metavar="DIR", help="test set: what is in it too is a fault")
    parser.add_argument("--sheet", type=Path, metavar="HTML", help="page on which the doubtful faces can be judged")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(".bonaface-cache"),
        metavar="DIR",
        help="where embeddings are kept, so that the command goes on after an interruption (default: %(default)s)",
    )
    add_device(parser)
    return parser


def main(arguments: Sequence[str]) -> int:
    """Writes the list of faults, and the sheet; returns 0 whether or not there are any."""
    options = _parser().parse_args(arguments)
    from bonaface.cleaning.find import look_for_doubts
    from bonaface.cleaning.review_page import write_sheet
    from bonaface.data.issues import write_faults
    from bonaface.data.table import read_faces

    started = time.monotonic()
    console = ProgressConsole()
    table = read_faces(options.faces)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        faults = look_for_doubts(
            table, options.model, options.detector, options.device, options.against, options.cache, progress
        )
        kept = write_faults(faults, options.out)
        if options.sheet is not None:
            write_sheet(table, options.out, options.sheet, progress)
    _conclude(console, faults, len(table), time.monotonic() - started)
    again = f" ({kept} decisions of the list before are kept)" if kept else ""
    console.print(
        f"{options.out}: the list{again}; training follows it by faces.faults", highlight=False, soft_wrap=True
    )
    if options.sheet is not None:
        console.print(f"{options.sheet}: open it in a browser to judge them", highlight=False, soft_wrap=True)
    return 0


def _conclude(console: Console, faults: pd.DataFrame, images: int, seconds: float) -> None:
    counts = ", ".join(f"{count:,} {fault}" for fault, count in faults["fault"].value_counts().items())
    console.print(
        f"{images:,} images checked in {seconds:,.0f} s: {counts or 'no faults'}", highlight=False, soft_wrap=True
    )
