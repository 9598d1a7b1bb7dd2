"""``bonaface forge``."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bonaface.errors import ConfigError

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bonaface forge",
        description="Make deepfakes of a folder of real faces: the result is a folder to train on. "
        "A run that was stopped goes on when the command is repeated.",
    )
    parser.add_argument(
        "faces", type=Path, metavar="FACES_DIR", help="folder of <person>/<photo>, or any other that train reads"
    )
    parser.add_argument("out", type=Path, metavar="OUT_DIR", help="new folder for images/, meta.json and forgeries.csv")
    parser.add_argument(
        "--methods", default="all", metavar="A,B", help="ways to forge; a wrong name lists them (default: all)"
    )
    parser.add_argument(
        "--per-person", type=int, default=3, metavar="N", help="deepfakes of each person (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all that is random (default: %(default)s)")
    parser.add_argument(
        "--detector", type=Path, metavar="ONNX", help="YuNet; without it faces are taken to fill their pictures"
    )
    parser.add_argument(
        "--quality",
        default="75-95",
        metavar="LOW-HIGH",
        help="JPEG quality of photos and deepfakes alike (default: %(default)s)",
    )
    parser.add_argument(
        "--size", type=int, default=0, metavar="PX", help="side of the pictures; the photos' commonest by default"
    )
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (default: %(default)s)"
    )
    return parser


def main(arguments: Sequence[str]) -> int:
    """Makes the folder and says what is in it; returns 1 where photos could not be read."""
    options = _parser().parse_args(arguments)
    from bonaface.faces.forgery import METHODS
    from bonaface.faces.forging import forge_tree
    from bonaface.faces.forging_plan import Recipe, check_apart
    from bonaface.faces.table import read_faces

    methods = tuple(METHODS) if options.methods == "all" else tuple(name.strip() for name in options.methods.split(","))
    quality = _range(options.quality)
    console = Console(stderr=True)
    check_apart(options.faces, options.out)
    table = read_faces(options.faces)
    recipe = Recipe(methods, options.per_person, options.seed, quality, options.size, options.detector)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    begun = time.monotonic()
    with Progress(*columns, console=console) as progress:
        forged = forge_tree(table, options.out, recipe, options.workers, progress)

    def say(sentence: str) -> None:
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)

    fakes = int(table.frame["is_fake"].sum())
    if fakes:
        say(f"{options.faces}: its {fakes:,} deepfakes were left out")
    for why in forged.left_out.values():
        say(f"left out: {why}")
    if forged.lonely:
        say(
            f"people with a single photo: {forged.lonely:,}; two photos of a person are needed to learn who is the same"
        )
    kept = f", {forged.kept:,} of them from an earlier run" if forged.kept else ""
    by_method = ", ".join(f"{name} {forged.methods[name]:,}" for name in recipe.methods if name in forged.methods)
    say(
        f"{options.out}: {forged.photos:,} photos and {sum(forged.methods.values()):,} deepfakes of {forged.people:,} people"
        f"{kept} ({by_method}), in {time.monotonic() - begun:.0f} s"
    )
    return 1 if forged.left_out else 0


def _range(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    if not (low.isdecimal() and high.isdecimal()):
        raise ConfigError(f"quality: expected LOW-HIGH such as 75-95, got {text}")
    return int(low), int(high)
