"""``bonaface search``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress

from bonaface.cli.console import ProgressConsole, say_videos
from bonaface.cli.options import DEFAULT_RATE, add_model, say_device
from bonaface.cli.parser import Parser
from bonaface.gallery.database import URIS
from bonaface.io import integer, number

if TYPE_CHECKING:
    from bonaface.gallery.search import SearchHit

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="bonaface search",
        description="Find the enrolled people who are most like the faces of photos.",
        epilog="Exit code 1: some photos can't be judged; the column reason says why. A Milvus server's token is read from the "
        "environment variable MILVUS_TOKEN.",
    )
    parser.add_argument(
        "photos",
        type=Path,
        nargs="+",
        metavar="PHOTO",
        help="photo of one face, or a folder of photos with all folders below",
    )
    parser.add_argument("--gallery", required=True, metavar="URI", help=URIS)
    parser.add_argument("--out", type=Path, metavar="CSV", help="write a table, one line a hit, and print none")
    parser.add_argument(
        "--k", type=integer, default=5, metavar="N", help="people for each photo, 1 to 50 (default: %(default)s)"
    )
    parser.add_argument(
        "--fmr",
        type=number,
        metavar="RATE",
        help=f"false match rate of one comparison; choose a lower one for many people ({DEFAULT_RATE})",
    )
    add_model(parser)
    return parser


def main(arguments: Sequence[str]) -> int:
    """Searches by photos; returns 1 where some could not be judged."""
    options = _parser().parse_args(arguments)
    from bonaface.data.videos import NAME_ONE, videos_below
    from bonaface.gallery.search import photos_to_search, search
    from bonaface.inference.verifier import load

    photos_to_search(options.photos, options.gallery, options.k, options.out)
    progress_console = ProgressConsole()
    verifier = load(options.model, options.device, options.detector)
    say_device(verifier.embedder.network.runtime)
    say_videos(progress_console, videos_below(options.photos), NAME_ONE)
    with Progress(console=progress_console, transient=True, disable=not progress_console.is_terminal) as progress:
        hits = search(
            options.photos,
            options.gallery,
            k=options.k,
            fmr=options.fmr,
            out=options.out,
            model=verifier,
            progress=progress,
        )
    unjudged = sum(hit.rank == 0 for hit in hits)
    if options.out is None:
        for hit in hits:
            said = _told(hit) if hit.rank else hit.reason
            Console().print(f"{hit.path}: {said}", markup=False, highlight=False, soft_wrap=True)
    else:
        photos = len({hit.path for hit in hits})
        matched = len({hit.path for hit in hits if hit.decision == "same person"})
        said = f"{options.out}: {photos:,} photos searched, {matched:,} show someone who is enrolled"
        said += f"; {unjudged:,} can't be judged" if unjudged else ""
        progress_console.print(said, markup=False, highlight=False, soft_wrap=True)
    return 1 if unjudged else 0


def _told(hit: SearchHit) -> str:
    from bonaface.data.videos import is_video

    said = f"{hit.rank}. {hit.person}: {hit.decision}"
    said += "" if hit.decision == "cannot tell" else f", {hit.probability:.1%}"
    return f"{said}: {hit.reason}" if hit.decision == "cannot tell" or is_video(hit.path) else said
