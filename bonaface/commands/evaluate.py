"""``bonaface evaluate``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from bonaface.commands.options import add_model

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bonaface evaluate", description="Error rates of a model against other people and against deepfakes."
    )
    add_model(parser)
    parser.add_argument("--pairs", type=Path, required=True, metavar="DIR", help="folder of <pair_id>/0.jpg and 1.jpg")
    parser.add_argument(
        "--labels", type=Path, required=True, metavar="CSV", help="pair_id,label and, where known, kind and methods"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for metrics.json and scores.csv")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Prints a table of error rates and writes it; returns 1 where pictures could not be read."""
    options = _parser().parse_args(arguments)
    from bonaface.faces.pairs import read_labels, read_pairs
    from bonaface.serving.runtime import load_embedder
    from bonaface.serving.submission import score_pairs, write_submission
    from bonaface.verification.evaluation import judge, table_of, write_metrics

    console = Console(stderr=True)
    pairs = read_pairs(options.pairs)
    labels = read_labels(options.labels, pairs)
    embedder = load_embedder(options.model, options.detector, options.device)
    with Progress(console=console, transient=True) as progress:
        scored = score_pairs(embedder, pairs, progress)
    figures = judge(scored.similarity, labels) | {"model": embedder.name, "unreadable_pictures": len(scored.faults)}
    write_metrics(figures, options.out / "metrics.json")
    write_submission(scored, options.out / "scores.csv")
    Console().print(table_of(figures))
    for why in scored.faults.values():
        console.print(why, highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"{options.out / 'metrics.json'}: every figure; {options.out / 'scores.csv'}: every score", soft_wrap=True
    )
    return 1 if scored.faults else 0
