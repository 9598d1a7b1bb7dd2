"""``bonaface submit``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from bonaface.cli.console import ProgressConsole, counted
from bonaface.cli.options import add_model, say_device
from bonaface.cli.parser import Parser
from bonaface.errors import DataError
from bonaface.io import refuse_other_file

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="bonaface submit",
        description="Score a folder of pairs: the higher a similarity, the likelier are two genuine photos of one person. "
        "Writes pair_id,similarity, every pair once, in the order of the folders' names.",
        epilog="Exit code 1: some images can't be read; they are named, and their pairs get the lowest similarity.",
    )
    add_model(parser)
    parser.add_argument("--pairs", type=Path, required=True, metavar="DIR", help="folder of <pair_id>/0.jpg and 1.jpg")
    parser.add_argument(
        "--out", type=Path, default=Path("submission.csv"), metavar="CSV", help="what to write (default: %(default)s)"
    )
    parser.add_argument(
        "--strict", action="store_true", help="an image that can't be read is an error, and no file is written"
    )
    return parser


def main(arguments: Sequence[str]) -> int:
    """Writes a submission; returns 1 where images could not be read."""
    options = _parser().parse_args(arguments)
    from bonaface.data.pairs import read_pairs
    from bonaface.inference.embedder import load_embedder
    from bonaface.inference.score_pairs import score_pairs, write_submission

    refuse_other_file(options.out, ("pair_id", "similarity"))
    console = ProgressConsole()
    pairs = read_pairs(options.pairs)
    embedder = load_embedder(options.model, options.detector, options.device)
    say_device(embedder.network.runtime)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        scored = score_pairs(embedder, pairs, progress)
    for why in scored.faults.values():
        console.print(why, highlight=False, markup=False, soft_wrap=True)
    spoiled = int(scored.spoiled.sum())
    unreadable = counted(len(scored.faults), "image")
    if spoiled and options.strict:
        raise DataError(f"{options.pairs}: {unreadable} can't be read, so nothing was written (--strict)")
    write_submission(scored, options.out)
    said = f"{options.out}: {counted(len(pairs), 'pair')} scored"
    if spoiled:
        have = "has" if spoiled == 1 else "have"
        said += f"; {unreadable} can't be read, so {counted(spoiled, 'pair')} {have} the lowest similarity"
    console.print(said, highlight=False, markup=False, soft_wrap=True)
    return 1 if spoiled else 0
