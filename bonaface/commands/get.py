"""``bonaface get``: data sets to start from."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bonaface get", description="Get a data set of faces.")
    sets = parser.add_subparsers(dest="name", required=True, metavar="SET")
    demo = sets.add_parser("demo", help="120 people who do not exist, with deepfakes and test pairs; in the package, no network")
    demo.add_argument("out", type=Path, metavar="OUT_DIR", help="folder to write train/ and test/ into")
    _add_synthetic(sets.add_parser("synthetic", help="any number of people who do not exist, made here (0.35 s a photo)"))
    return parser


def _add_synthetic(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, metavar="OUT_DIR", help="folder to write train/ and test/ into")
    numbers = (
        ("people", 120, "people, train and test together"),
        ("photos", 6, "real photos of each"),
        ("fakes", 3, "deepfakes of each"),
        ("pairs", 400, "test pairs"),
        ("size", 128, "side of the pictures in pixels"),
        ("seed", 0, "of all that is random"),
    )
    for name, default, what in numbers:
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"{what} (default: %(default)s)")
    parser.add_argument("--detector", type=Path, required=True, metavar="ONNX", help="YuNet face detector")
    parser.add_argument("--recogniser", type=Path, required=True, metavar="ONNX", help="SFace, which judges who is who")
    parser.add_argument("--networks", type=Path, metavar="WHEEL", help="random-face's wheel; downloaded where it is left out")


def main(arguments: Sequence[str]) -> int:
    """Writes a data set."""
    options = _parser().parse_args(arguments)
    console = Console(stderr=True)
    if options.name == "demo":
        from bonaface.faces.pack import unpack_demo

        unpack_demo(options.out)
    else:
        from bonaface.faces.synthetic import make_people

        settings = {key: value for key, value in vars(options).items() if key not in {"name", "out"}}
        make_people(options.out, console=console, **settings)
    console.print(f"{options.out / 'train'}: to train on; {options.out / 'test'}: pairs to test on", highlight=False, soft_wrap=True)
    return 0
