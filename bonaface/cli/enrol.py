"""``bonaface enrol``."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from bonaface.cli.console import ProgressConsole, say_videos
from bonaface.cli.options import add_model, say_device
from bonaface.cli.parser import Parser
from bonaface.cli.signals import stopped_as_interrupted
from bonaface.gallery.database import URIS

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="bonaface enrol",
        description="Enrol people from a folder or a table: their good photos, and say what is wrong with the others. Run again, "
        "it skips what is enrolled.",
        epilog="Exit code 1: some photos were refused; the report says why. 2: none was enrolled, or it ended early, "
        "which is said. A Milvus server's token is read from the environment variable MILVUS_TOKEN.",
    )
    parser.add_argument(
        "source",
        type=Path,
        metavar="DIR_OR_CSV",
        help="folder with a folder of photos for each person, or a CSV with the columns person and path",
    )
    parser.add_argument("--gallery", required=True, metavar="URI", help=URIS)
    parser.add_argument("--strict", action="store_true", help="enrol nobody who has a photo that is refused")
    parser.add_argument("--report", type=Path, metavar="CSV", help="write what became of each photo, and why")
    parser.add_argument(
        "--keep-photos", type=Path, metavar="DIR", help="keep the images there, to embed them again for a new model"
    )
    add_model(parser)
    return parser


def main(arguments: Sequence[str]) -> int:
    """Enrols people; returns 1 where some photos were refused."""
    options = _parser().parse_args(arguments)
    from bonaface.data.people_list import FROM_PHOTOS
    from bonaface.gallery.enrol import REFUSED, enrol, people_to_enrol
    from bonaface.inference.verifier import load

    people = people_to_enrol(options.source, options.gallery, options.report)
    console = ProgressConsole()
    say_videos(console, people.videos, FROM_PHOTOS)
    verifier = load(options.model, options.device, options.detector)
    say_device(verifier.embedder.network.runtime)
    with (
        stopped_as_interrupted(),
        Progress(console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        done = enrol(
            options.source,
            options.gallery,
            strict=options.strict,
            report=options.report,
            keep_photos=options.keep_photos,
            model=verifier,
            progress=progress,
        )
    refused = [each for each in done if each.status == REFUSED]
    lines = [
        f"{options.gallery}: " + ", ".join(f"{n:,} {status}" for status, n in Counter(e.status for e in done).items())
    ]
    if options.report is None:
        lines += [f"{each.person}: {each.path}: {each.reason}" for each in done if each.reason]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return 1 if refused else 0
