"""``bonaface evaluate``."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress

from bonaface.cli.options import MODELS
from bonaface.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

    from bonaface.data.pairs import PairTable
    from bonaface.evaluation.report import ReportInput
    from bonaface.evaluation.scores import PairScores
    from bonaface.evaluation.threshold_table import Bootstrap

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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
        "--draw", type=int, default=2000, metavar="N", help="pairs drawn from a folder of faces (%(default)s)"
    )
    parser.add_argument("--labels", type=Path, metavar="L", help="CSV of pair_id,label,kind,...; or LFW's pairs.txt")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for report.html and the figures")
    parser.add_argument(
        "--detector", type=Path, metavar="ONNX", help="YuNet file that aligns faces for an ONNX network"
    )
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="where the network runs")
    other = parser.add_argument_group(
        "validation pairs", "other pairs, which thresholds and calibration are taken from"
    )
    other.add_argument("--val-pairs", type=Path, metavar="P", help="as --pairs; in place of what a run has stored")
    other.add_argument("--val-labels", type=Path, metavar="L", help="as --labels")
    other.add_argument("--val-scores", nargs="+", type=Path, metavar="CSV", help="scores of these, one file a --scores")
    parser.add_argument(
        "--robustness",
        nargs="?",
        type=int,
        const=200,
        metavar="N",
        help="also judge N pairs degraded and, by a run that has gradients, attacked (200)",
    )
    parser.add_argument(
        "--replicates", type=int, default=1000, metavar="N", help="draws of the bootstrap (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the bootstrap and the draw (%(default)s)")
    parser.add_argument(
        "--worst", type=int, default=24, metavar="N", help="worst pairs shown of each kind (%(default)s)"
    )
    return parser


def main(arguments: Sequence[str]) -> int:
    """Prints tables of error rates and writes the report; returns 1 where images could not be read."""
    options = _parser().parse_args(arguments)
    if not options.model and not options.scores:
        options.model = [None]
    _refuse_odd(options)
    from bonaface.evaluation.figures import bootstrap_of, compare, judge
    from bonaface.evaluation.inputs import read_judged, scores_of_files
    from bonaface.evaluation.report import ReportInput

    console = Console(stderr=True)
    pairs, labels = read_judged(options.pairs, options.labels, options.draw, options.seed)
    bootstrap = bootstrap_of(labels, options.replicates, options.seed)
    if options.model:
        scores, models = _judged_models(options, pairs, labels, bootstrap, console)
    else:
        whose = options.labels or options.pairs
        val_files = options.val_scores or []
        scores = scores_of_files(options.scores, pairs, whose, val_files, options.val_labels, options.seed)
        models = [judge(each, labels, bootstrap) for each in scores]
    settings = {"command": "bonaface evaluate " + shlex.join(arguments)} | {each.name: each.source for each in scores}
    worst = options.worst if options.pairs is not None else 0
    _write(ReportInput(models, scores, compare(scores, labels, bootstrap), pairs, labels, settings, worst), options.out)
    return _told(models, scores, options.out, console)


def _judged_models(
    options: argparse.Namespace, pairs: PairTable, labels: pd.DataFrame, bootstrap: Bootstrap, console: Console
) -> tuple[list[PairScores], list[dict[str, Any]]]:
    """Scores and figures of ``--model``. Networks are loaded here alone, so that ``--scores`` starts fast."""
    from bonaface.evaluation.figures import judge
    from bonaface.evaluation.models import load_embedders, scores_of_models, subject_of
    from bonaface.evaluation.robustness import add_robustness

    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        embedders = load_embedders(options)
        scores = scores_of_models(embedders, options, pairs, progress)
        models = [judge(each, labels, bootstrap) for each in scores]
        if options.robustness:
            for figures, embedder in zip(models, embedders, strict=True):
                add_robustness(figures, subject_of(embedder), pairs, labels, options.robustness, options.seed, progress)
    return scores, models


def _write(material: ReportInput, out: Path) -> None:
    """metrics.json, scores.csv, table.md and report.html."""
    from bonaface.evaluation.figures import write_metrics
    from bonaface.evaluation.report import versions, write_report
    from bonaface.evaluation.scores import write_scores
    from bonaface.evaluation.wording import markdown
    from bonaface.io import atomic_write

    one = len(material.models) == 1
    figures = material.models[0] if one else {"models": material.models, "comparison": material.comparison}
    write_metrics(figures | {"settings": material.settings, "versions": versions()}, out / "metrics.json")
    write_scores(material.scores, material.pairs.frame["pair_id"].tolist(), out / "scores.csv")
    with atomic_write(out / "table.md") as temporary:
        temporary.write_text(markdown(material.models), encoding="utf-8")
    write_report(material, out / "report.html")


def _told(models: Sequence[dict[str, Any]], scores: Sequence[PairScores], out: Path, console: Console) -> int:
    """Says on the terminal what was found, and gives the exit code."""
    from bonaface.evaluation.wording import table_of

    for figures in models:
        Console().print(table_of(figures))
    faults = sorted({why for each in scores for why in each.faults.values()})
    for why in faults:
        console.print(why, highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"{out / 'report.html'}: everything, to look at; beside it metrics.json, table.md and scores.csv",
        soft_wrap=True,
    )
    return 1 if faults else 0


def _refuse_odd(options: argparse.Namespace) -> None:
    """Raises ConfigError where options do not go together."""
    if options.model and options.pairs is None:
        raise ConfigError("--pairs: a model needs the images of the pairs; only --scores goes without")
    if options.replicates < 1 or options.worst < 0 or (options.robustness is not None and options.robustness < 8):
        raise ConfigError("expected --replicates of 1 or more, --worst of 0 or more, --robustness of 8 or more")
    if options.robustness and not options.model:
        raise ConfigError("--robustness: degrades images anew, so it needs --model in place of --scores")
    if options.scores and options.val_pairs is not None:
        raise ConfigError("--val-pairs: goes with --model; with --scores give --val-scores")
    if options.val_scores and len(options.val_scores) != len(options.scores or []):
        raise ConfigError(f"--val-scores: expected a file for each of --scores, got {len(options.val_scores)}")
    if options.val_scores and options.val_labels is None:
        raise ConfigError("--val-labels: expected the labels of --val-scores")
    if options.val_labels and not (options.val_pairs or options.val_scores):
        raise ConfigError("--val-labels: goes with --val-pairs or --val-scores, which are missing")
    judged = {path.resolve() for path in (options.labels, *(options.scores or [])) if path is not None}
    validated = {path.resolve() for path in (options.val_labels, *(options.val_scores or [])) if path is not None}
    if judged & validated or (options.val_pairs is not None and options.val_pairs.resolve() == options.pairs.resolve()):
        raise ConfigError("validation pairs: are the judged ones; thresholds have to come from other pairs")
