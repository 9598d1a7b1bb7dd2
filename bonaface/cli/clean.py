"""``bonaface clean``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress

from bonaface.cli.console import ProgressConsole
from bonaface.cli.options import add_model, refuse_renamed, say_device
from bonaface.cli.parser import Parser
from bonaface.errors import ConfigError
from bonaface.io import check_folder
from bonaface.outputs import refuse_foreign_file, refuse_input

if TYPE_CHECKING:
    import pandas as pd

    from bonaface.data.table import FaceTable

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="bonaface clean",
        description="Find wrong labels, broken files, duplicates and leaks in a folder of faces. Nothing is moved or deleted: "
        "training follows the list by faces.issues.",
    )
    parser.add_argument("faces", type=Path, metavar="DIR", help="folder of faces, or a CSV or parquet table of them")
    parser.add_argument("--out", type=Path, required=True, metavar="CSV", help="the list of issues to write")
    parser.add_argument("--review", type=Path, metavar="HTML", help="page on which people review the list, to write")
    parser.add_argument("--against", type=Path, metavar="DIR", help="test set: photos that are in it too are listed")
    parser.add_argument(
        "--files-only",
        action="store_true",
        help="check files, duplicates and sizes of classes only, without a model: seconds instead of minutes",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(".bonaface-cache"),
        metavar="DIR",
        help="folder for embeddings, from which an interrupted command resumes (default: %(default)s)",
    )
    add_model(
        parser, "YuNet file that counts faces, and aligns them for an ONNX face network; the others bring their own"
    )
    refuse_renamed(parser, {"--sheet": "--review"})
    return parser


def main(arguments: Sequence[str]) -> int:
    """Write the list of issues, and the review page; returns 0 whether or not there are any."""
    options = _parser().parse_args(arguments)
    from bonaface.cleaning.review_page import write_review_page
    from bonaface.data.issues import keep_dropped, older_list, write_issues
    from bonaface.data.table import read_faces

    if options.review is not None and options.review.resolve() == options.out.resolve():
        raise ConfigError(f"--review {options.review}: is --out too; choose another name")
    for out in filter(None, (options.out, options.review)):
        refuse_input(out, options.faces, options.against)
    if options.files_only and (options.model is not None or options.detector is not None):
        raise ConfigError("--files-only: works without a model; expected it without --model and --detector")
    if not options.files_only:
        check_folder(options.cache / "embeddings")
    if options.review is not None:
        refuse_foreign_file(options.review, b" doubtful faces</title>")
    started = time.monotonic()
    console = ProgressConsole()
    table = read_faces(options.faces)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        found = _checked(table, options, progress)
        older = older_list(options.out)
        before = None if older is None else keep_dropped(found, older, options.out)
        issues = write_issues(found, options.out, older)
        if options.review is not None:
            write_review_page(table, issues, options.out.name, options.review, progress)
    _conclude(console, issues, len(table), time.monotonic() - started)
    _say(console, f"{options.out}: the list{_again(issues, older)}; training follows it by faces.issues")
    if before is not None:
        _say(console, f"{before}: the previous list, of which some decisions or suggestions are not in the new one")
    if options.review is not None:
        _say(console, f"{options.review}: open it in a browser to review the list")
    return 0


def _checked(table: FaceTable, options: argparse.Namespace, progress: Progress) -> pd.DataFrame:
    from bonaface.assets import shipped_detector
    from bonaface.cleaning.find import check_faces
    from bonaface.data.inspection import FaceCounter
    from bonaface.inference.embedder import open_embedder

    if options.files_only:
        return check_faces(table, None, None, options.against, options.cache, progress)
    embedder = open_embedder(options.model, options.detector, options.device)
    say_device(embedder.network.runtime)
    counter = FaceCounter(shipped_detector() if options.detector is None else options.detector)
    return check_faces(table, embedder, counter, options.against, options.cache, progress)


def _again(issues: pd.DataFrame, older: pd.DataFrame | None) -> str:
    """What became of the list that was replaced."""
    from bonaface.data.issues import count_new

    if older is None:
        return ""
    decided, new = int((issues["decision"] != "").sum()), count_new(issues, older)
    said = [f"{decided:,} decisions of the previous list are kept"] if decided else []
    said += [f"{new:,} of its rows are about photos that the previous list does not have"] if new else []
    return f" ({'; '.join(said)})" if said else ""


def _conclude(console: Console, issues: pd.DataFrame, images: int, seconds: float) -> None:
    counts = issues["issue"].value_counts()
    listed = ", ".join(f"{count:,} {issue}" for issue, count in counts.items())
    _say(console, f"{images:,} images checked in {seconds:,.0f} s: {listed or 'no issues'}")
    same, encoded = int(counts.get("duplicate", 0)), int(counts.get("near_duplicate", 0))
    if same or encoded:
        _say(
            console,
            f"duplicates within a person: {same + encoded:,} photo{'s' if same + encoded > 1 else ''} "
            f"({same:,} the same file, {encoded:,} re-encoded); "
            "a pair of them proves nothing",
        )


def _say(console: Console, sentence: str) -> None:
    console.print(sentence, highlight=False, markup=False, soft_wrap=True)
