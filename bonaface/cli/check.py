"""``bonaface check``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress

from bonaface.cli.console import ProgressConsole, say_videos
from bonaface.cli.options import add_model, say_device
from bonaface.cli.parser import Parser
from bonaface.cli.signals import stopped_as_interrupted
from bonaface.cli.start_up import load_fast
from bonaface.errors import DataError
from bonaface.io import private_table, refuse_other_file, spreadsheet_text

if TYPE_CHECKING:
    from bonaface.inference.verifier import PhotoCheck, Verifier

__all__ = ["main"]

_COLUMNS = ("file", "faces", "eyes", "sharpness", "brightness", "turn", "tilt", "genuine", "called_fake", "problem")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="bonaface check",
        description="Judge single photos: the faces in each, their quality, and whether the photo is genuine or a deepfake.",
        epilog="Exit code 1: some photos can't be judged; the column problem says why.",
    )
    parser.add_argument(
        "photos",
        type=Path,
        nargs="+",
        metavar="PHOTO",
        help="photo of one face, or a folder of photos with all folders below",
    )
    add_model(parser)
    parser.add_argument("--out", type=Path, metavar="CSV", help="write a table, one line a photo")
    parser.add_argument(
        "--json", action="store_true", help="print everything that was measured as JSON, one line a photo"
    )
    return parser


def main(arguments: Sequence[str]) -> int:
    """Judges photos; returns 1 where some could not be judged."""
    options = _parser().parse_args(arguments)
    from bonaface.data.layouts import listed_images
    from bonaface.data.videos import NAME_ONE, videos_below

    if options.out is not None:
        refuse_other_file(options.out, _COLUMNS)
    files, videos = listed_images(options.photos), videos_below(options.photos)
    verifier = load_fast(options.model, options.device, options.detector)
    unjudged = 0
    console, progress_console = Console(), ProgressConsole()
    say_device(verifier.embedder.network.runtime)
    say_videos(progress_console, videos, NAME_ONE)
    if verifier.measured_on is not None:
        said = f"P(genuine): measured on {verifier.measured_on}"
        progress_console.print(said, markup=False, highlight=False, soft_wrap=True)
    with (
        stopped_as_interrupted(),
        nullcontext() if options.out is None else private_table(options.out, _COLUMNS) as table,
        Progress(console=progress_console, transient=True, disable=not progress_console.is_terminal) as progress,
    ):
        for file in progress.track(files, description="checking"):
            check = _checked(verifier, file)
            unjudged += check.problem is not None
            if table is not None:
                table.writerow(_row(check))
            else:
                said = json.dumps(asdict(check)) if options.json else _told(check)
                console.print(said, markup=False, highlight=False, soft_wrap=True)
    if options.out is not None:
        said = f"{options.out}: {len(files):,} photos checked" + (f"; {unjudged:,} can't be judged" if unjudged else "")
        progress_console.print(said, markup=False, highlight=False, soft_wrap=True)
    return 1 if unjudged else 0


def _checked(verifier: Verifier, file: Path) -> PhotoCheck:
    from bonaface.inference.verifier import PhotoCheck

    try:
        return verifier.check(file)
    except DataError as error:
        return PhotoCheck(str(file), (), None, str(error), None, False)


def _told(check: PhotoCheck) -> str:
    if check.problem is not None:
        return f"can't be judged: {check.problem}"
    said = [] if check.quality is None else [f"{check.quality.eyes:.0f} px between the eyes"]
    used, sampled = check.frames
    said += [f"{used} of {sampled} frames used"] if sampled > 1 else []
    if check.quality is not None and check.quality.rotated:
        said.append(f"was rotated by {check.quality.rotated} degrees")
    if check.genuine is None:
        return "; ".join([f"{check.name}: one face", *said])
    kind = "classified as a deepfake" if check.called_fake else "genuine"
    return "; ".join([f"{check.name}: {kind}", f"P(genuine) {check.genuine:.1%}", *said])


def _row(check: PhotoCheck) -> list[Any]:
    quality = check.quality
    measures = (
        [""] * 5
        if quality is None
        else [
            f"{value:.4g}"
            for value in (quality.eyes, quality.sharpness, quality.brightness, quality.turn, quality.tilt)
        ]
    )
    genuine = "" if check.genuine is None else f"{check.genuine:.4f}"
    name, problem = (spreadsheet_text(text, "./") for text in (check.name, check.problem or ""))
    return [name, len(check.faces), *measures, genuine, int(check.called_fake), problem]
