"""``bonaface calibrate``."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bonaface.cli.options import add_model, add_pair_draw
from bonaface.cli.parser import Parser
from bonaface.io import number

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="bonaface calibrate",
        description="Write a model whose thresholds and probabilities come from your own labelled photos. The file carries "
        "everything (preprocessing, face detector, calibration, thresholds with their intervals), and every command takes it by "
        "--model. Deepfakes among the photos calibrate authenticity too; without any, its threshold is set to where one of 100 "
        "genuine photos is called a deepfake.",
    )
    add_model(parser)
    parser.add_argument(
        "--pairs",
        type=Path,
        required=True,
        metavar="P",
        help="a folder of people as train reads it, a CSV of two paths and a label, a folder of <pair_id>/0.jpg and 1.jpg, or "
        "LFW's folder; people whom no figure rests on",
    )
    add_pair_draw(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the .onnx to write")
    parser.add_argument(
        "--fmr",
        nargs="+",
        type=number,
        default=(),
        metavar="RATE",
        help="false match rates that the pairs must resolve, such as 0.005 (default: those that they do)",
    )
    return parser


def main(arguments: Sequence[str]) -> int:
    """Write the model and print its thresholds; return 1 where images could not be read."""
    options = _parser().parse_args(arguments)
    from bonaface.calibrating.calibrate import calibrate

    console = Console(stderr=True)
    made = calibrate(
        options.model,
        options.pairs,
        options.out,
        options.labels,
        fmr=options.fmr,
        draw=options.draw,
        seed=options.seed,
        device=options.device,
        detector=options.detector,
        console=console,
    )
    Console().print(made)
    rate = (options.fmr or [made.points[-1].threshold.fmr])[0]
    command = f"bonaface verify A.jpg B.jpg --model {shlex.quote(str(made.file))} --fmr {rate:g}"
    for line in (*made.unreadable, f"{made.file}: {made.file.stat().st_size / 1e6:.1f} MB; try {command}"):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return 1 if made.unreadable else 0
