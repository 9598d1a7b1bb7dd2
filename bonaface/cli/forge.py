"""``bonaface forge``."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bonaface.cli.options import refuse_no_workers, refuse_renamed
from bonaface.cli.parser import Parser
from bonaface.errors import ConfigError
from bonaface.io import integer
from bonaface.outputs import refuse_stdout

if TYPE_CHECKING:
    from bonaface.data.table import FaceTable
    from bonaface.forgery.landmarks import Landmarks
    from bonaface.forgery.recipe import Recipe

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="bonaface forge",
        description="Make deepfakes of a folder of real faces: the result is a folder to train on. "
        "Repeated, an interrupted command resumes.",
    )
    parser.add_argument(
        "faces", type=Path, metavar="FACES_DIR", help="folder of <person>/<photo>, or any other that train reads"
    )
    parser.add_argument("out", type=Path, metavar="OUT_DIR", help="new folder for images/, meta.json and forgeries.csv")
    parser.add_argument(
        "--methods", default="all", metavar="A,B", help="ways to forge; a wrong name lists them (default: all)"
    )
    parser.add_argument(
        "--per-person", type=integer, default=3, metavar="N", help="deepfakes of each person (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=integer, default=0, metavar="N", help="of all that is random (default: %(default)s)"
    )
    parser.add_argument(
        "--detector",
        type=Path,
        metavar="ONNX",
        help="YuNet file that finds the faces (default: the shipped one); where it finds none, a face is taken to fill its image",
    )
    parser.add_argument(
        "--issues",
        type=Path,
        metavar="CSV",
        help="list of issues that bonaface clean wrote: photos are left out or relabelled as it says",
    )
    parser.add_argument(
        "--landmarks",
        type=Path,
        metavar="FILE",
        help="CSV or parquet (path, x0, y0, x1, y1, ...) or JSON ({path: [[x, y], ...]}) of 5 points, dlib's 68 or MediaPipe's "
        "468 or 478; they come before the detector, and from 68 on faces are cut along their own outline",
    )
    parser.add_argument(
        "--quality",
        default="75-95",
        metavar="LOW-HIGH",
        help="JPEG quality of photos and deepfakes alike (default: %(default)s)",
    )
    parser.add_argument(
        "--size", type=integer, metavar="PX", help="side of the images; the photos' commonest by default"
    )
    parser.add_argument(
        "--test-pairs",
        type=integer,
        default=0,
        metavar="N",
        help="keep a fifth of the people for OUT_DIR/test and draw N pairs of them; the others are in OUT_DIR/train then",
    )
    parser.add_argument(
        "--workers", type=integer, default=os.cpu_count() or 1, metavar="N", help="processes (default: %(default)s)"
    )
    refuse_renamed(parser, {"--faults": "--issues"})
    return parser


def main(arguments: Sequence[str]) -> int:
    """Make the folder and say what is in it; returns 1 where photos could not be read."""
    options = _parser().parse_args(arguments)
    from bonaface.data.issues import apply_issues, read_issues
    from bonaface.data.table import read_faces
    from bonaface.forgery.evaluation_sets import split_off_test, write_pairs
    from bonaface.forgery.landmarks import read_landmarks
    from bonaface.forgery.recipe import check_apart, check_recipe

    refuse_no_workers(options.workers)
    recipe = _recipe(options)
    check_recipe(recipe)
    check_apart(options.faces, options.out)
    refuse_stdout(options.out)
    console = Console(stderr=True)
    table = read_faces(options.faces)
    if options.issues is not None:
        before = len(table)
        table = apply_issues(table, read_issues(options.issues, table))
        _say(console, f"{options.issues}: {before - len(table):,} of {before:,} photos left out")
    fakes = int(table.frame["is_fake"].sum())
    if fakes:
        _say(console, f"{options.faces}: its {fakes:,} deepfakes are left out")
    landmarks = {} if options.landmarks is None else read_landmarks(options.landmarks, table)
    if options.landmarks is not None:
        _say(console, _coverage(options.landmarks, landmarks, table))
    parts = {"": table} if not options.test_pairs else split_off_test(table, options.seed)
    codes = [
        _forge(part, options.out / name, recipe, options.workers, console, landmarks) for name, part in parts.items()
    ]
    if not options.test_pairs:
        return max(codes)
    listed, count = write_pairs(options.out / "test", options.test_pairs, options.seed)
    _say(console, f"{listed}: {count:,} pairs of the people in it, who are not in {options.out / 'train'}")
    return max(codes)


def _recipe(options: argparse.Namespace) -> Recipe:
    from bonaface.assets import shipped_detector
    from bonaface.data.splits import refuse_count
    from bonaface.forgery.methods import METHODS
    from bonaface.forgery.recipe import Recipe

    if options.test_pairs:
        refuse_count("test-pairs", options.test_pairs)
    if options.size is not None and options.size < 1:
        raise ConfigError(f"size: expected a whole number of at least 1, got {options.size}")
    methods = tuple(METHODS) if options.methods == "all" else tuple(name.strip() for name in options.methods.split(","))
    quality = _range(options.quality)
    detector = shipped_detector() if options.detector is None else options.detector
    return Recipe(methods, options.per_person, options.seed, quality, options.size or 0, detector)


def _coverage(file: Path, landmarks: dict[str, Landmarks], table: FaceTable) -> str:
    photos = table.frame["path"][~table.frame["is_fake"]]
    known = int(photos.isin(list(landmarks)).sum())
    rest = "" if known == len(photos) else "; in the others the detector looks for a face"
    return f"{file}: has the landmarks of {known:,} of {len(photos):,} photos{rest}"


def _forge(
    table: FaceTable, out: Path, recipe: Recipe, workers: int, console: Console, landmarks: dict[str, Landmarks]
) -> int:
    from bonaface.forgery.generate import forge_tree

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    begun = time.monotonic()
    with Progress(*columns, console=console) as progress:
        forged = forge_tree(table, out, recipe, workers, progress, landmarks)
    for why in forged.left_out.values():
        _say(console, f"left out: {why}")
    if forged.lonely:
        _say(
            console,
            f"people with a single photo: {forged.lonely:,}; two of a person are needed to learn who is the same",
        )
    kept = f", {forged.kept:,} of them from an earlier run" if forged.kept else ""
    by_method = ", ".join(f"{name} {forged.methods[name]:,}" for name in recipe.methods if name in forged.methods)
    people = "1 person" if forged.people == 1 else f"{forged.people:,} people"
    _say(
        console,
        f"{out}: {forged.photos:,} photos and {sum(forged.methods.values()):,} deepfakes of {people}{kept} "
        f"({by_method}), in {time.monotonic() - begun:.0f} s",
    )
    return 1 if forged.left_out else 0


def _say(console: Console, sentence: str) -> None:
    console.print(sentence, highlight=False, markup=False, soft_wrap=True)


def _range(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    if not (low.isdecimal() and high.isdecimal()):
        raise ConfigError(f"quality: expected LOW-HIGH such as 75-95, got {text}")
    return int(low), int(high)
