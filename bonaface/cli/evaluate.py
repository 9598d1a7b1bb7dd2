"""``bonaface evaluate``."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bonaface.cli.options import DETECTOR, MODELS, add_device, add_pair_draw
from bonaface.cli.parser import Parser
from bonaface.errors import ConfigError
from bonaface.io import integer, number
from bonaface.outputs import refuse_input, refuse_other_folder

__all__ = ["main"]

_MOST_WORST = 1000


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="bonaface evaluate",
        description="Error rates of a model against other people and against deepfakes, and a report of them.",
    )
    judged = parser.add_mutually_exclusive_group()
    judged.add_argument(
        "--model", nargs="+", metavar="X", help=f"each a {MODELS} (default: the one that comes with bonaface)"
    )
    judged.add_argument("--scores", nargs="+", type=Path, metavar="CSV", help="pair_id,similarity from anywhere")
    parser.add_argument(
        "--pairs",
        type=Path,
        metavar="P",
        help="folder of <pair_id>/0.jpg and 1.jpg, LFW's folder, a CSV of two paths, or a folder of faces as train reads it",
    )
    parser.add_argument(
        "--fmr",
        nargs="+",
        type=number,
        default=(),
        metavar="RATE",
        help="further false match rates, such as 0.005; the first is what the headline is about (default: 0.01)",
    )
    add_pair_draw(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for report.html and the figures")
    parser.add_argument("--detector", type=Path, metavar="ONNX", help=DETECTOR)
    add_device(parser)
    other = parser.add_argument_group(
        "validation pairs", "other pairs, which thresholds and calibration are taken from"
    )
    other.add_argument("--val-pairs", type=Path, metavar="P", help="as --pairs; in place of what a run has stored")
    other.add_argument("--val-labels", type=Path, metavar="L", help="as --labels")
    other.add_argument("--val-scores", nargs="+", type=Path, metavar="CSV", help="scores of these, one file a --scores")
    parser.add_argument(
        "--robustness",
        nargs="?",
        type=integer,
        const=200,
        metavar="N",
        help="also judge N pairs degraded and, by a run that has gradients, attacked (200)",
    )
    parser.add_argument(
        "--replicates", type=integer, default=1000, metavar="N", help="draws of the bootstrap (%(default)s)"
    )
    parser.add_argument(
        "--worst", type=integer, default=24, metavar="N", help="worst pairs shown of each kind (%(default)s)"
    )
    return parser


def main(arguments: Sequence[str]) -> int:
    """Print error rates and write the report; return 1 where images could not be read."""
    options = _parser().parse_args(arguments)
    _refuse_odd(options)
    from bonaface.evaluation.evaluate import MARK, WRITTEN, PairSource, evaluate

    refuse_other_folder(options.out, WRITTEN, MARK)
    for file in (options.out / name for name in WRITTEN):
        refuse_input(file, *(options.scores or ()), *(options.val_scores or ()), options.labels, options.val_labels)
    console = Console(stderr=True)
    validation = None
    if options.val_pairs or options.val_scores:
        validation = PairSource(options.val_pairs, options.val_labels, options.val_scores)
    found = evaluate(
        options.model or None,
        options.pairs,
        options.labels,
        scores=options.scores,
        validation=validation,
        fmr=options.fmr,
        robustness=options.robustness or 0,
        draw=options.draw,
        replicates=options.replicates,
        seed=options.seed,
        device=options.device,
        detector=options.detector,
        console=console,
    )
    found.settings["command"] = "bonaface evaluate " + shlex.join(arguments)
    report = found.write(options.out, options.worst)
    Console().print(found)
    for why in found.unreadable:
        console.print(why, highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"{report}: everything, to look at; beside it metrics.json, table.md and scores.csv",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    return 1 if found.unreadable else 0


def _refuse_odd(options: argparse.Namespace) -> None:
    """Refuse options that only the command line has, or that go without their neighbour."""
    if not 0 <= options.worst <= _MOST_WORST:
        raise ConfigError(f"--worst: expected 0 to {_MOST_WORST}, got {options.worst}")
    if options.val_labels and not (options.val_pairs or options.val_scores):
        raise ConfigError("--val-labels: goes with --val-pairs or --val-scores, which are missing")
