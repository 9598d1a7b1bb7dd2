"""``bonaface verify``."""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bonaface.cli.options import DEFAULT_RATE, add_model, say_device
from bonaface.cli.parser import Parser
from bonaface.cli.start_up import load_fast
from bonaface.errors import ConfigError, DataError
from bonaface.io import number, private_table, refuse_other_file, spreadsheet_text
from bonaface.outputs import refuse_input

if TYPE_CHECKING:
    from bonaface.images.photo import Photo
    from bonaface.inference.verifier import Verifier
    from bonaface.verification.decision import Verdict

__all__ = ["main"]

_COLUMNS = (
    *("pair_id", "first", "second", "decision", "score", "similarity", "probability", "threshold", "fmr"),
    *("genuine_first", "genuine_second", "reason"),
)
_OUT = Path("verdicts.csv")
_MOST_DECIMALS = 6
_OTHER = 3
"""Exit code of ``--check`` for every decision but the same person."""


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="bonaface verify",
        description="Say whether two photos are genuine photos of one person: same person, different people, not genuine, or "
        "cannot tell.",
        epilog="Exit code 0 whatever the answer, but with --check 3 unless it is the same person; 2 where a photo can't be judged: "
        "no face, two faces, one too small, unreadable.",
    )
    parser.add_argument("first", type=Path, nargs="?", metavar="A", help="photo or video of one face")
    parser.add_argument("second", type=Path, nargs="?", metavar="B", help="photo or video to compare it with")
    parser.add_argument(
        "--pairs",
        type=Path,
        metavar="PAIRS",
        help="verify many pairs instead: a folder of <pair_id>/0.jpg and 1.jpg, or a CSV with the columns path_0 and path_1",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="CSV",
        help=f"verdicts of --pairs (default: {_OUT})",
    )
    add_model(parser)
    parser.add_argument(
        "--fmr",
        type=number,
        metavar="RATE",
        help="false match rate: share of pairs of two people that may pass for one; sets the threshold "
        f"({DEFAULT_RATE})",
    )
    parser.add_argument("--check", action="store_true", help="exit with 0 for the same person, and with 3 otherwise")
    parser.add_argument("--json", action="store_true", help="print everything that was measured as JSON")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Prints the verdict on two photos; returns 0, and with ``--check`` 3 unless they show the same person."""
    options = _parser().parse_args(arguments)
    if options.pairs is not None:
        return _many(options)
    if options.second is None:
        raise ConfigError("expected two photos, or --pairs with a folder or a CSV of pairs")
    if options.out is not None:
        raise ConfigError("--out: goes with --pairs; the verdict on two photos is printed, with --json whole")
    verifier = load_fast(options.model, options.device, options.detector)
    say_device(verifier.embedder.network.runtime)
    fmr = verifier.threshold(options.fmr).fmr
    photos = [verifier.read(file) for file in (options.first, options.second)]
    problems = [photo.problem for photo in photos if photo.problem is not None]
    if problems:
        raise DataError(problems[0])
    verdict = verifier.compare_photos(photos[0], photos[1], fmr)
    said = (
        json.dumps(_measured(photos, verdict, verifier), indent=2)
        if options.json
        else "\n".join(_told(photos, verdict))
    )
    print(said)  # noqa: T201
    return _OTHER if options.check and verdict.decision != "same person" else 0


def _many(options: argparse.Namespace) -> int:
    """Writes the verdicts on many pairs; returns 1 where some could not be judged."""
    from rich.progress import Progress

    from bonaface.cli.console import ProgressConsole
    from bonaface.data.pairs import read_path_pairs

    if options.first is not None or options.json or options.check:
        raise ConfigError("--pairs: goes without single photos, --json and --check")
    out = options.out or _OUT
    refuse_other_file(out, _COLUMNS)
    refuse_input(out, options.pairs)
    pairs = read_path_pairs(options.pairs)
    verifier = load_fast(options.model, options.device, options.detector)
    console = ProgressConsole()
    say_device(verifier.embedder.network.runtime)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        listed = ((pairs.root / a, pairs.root / b) for a, b in zip(pairs.path_0, pairs.path_1, strict=True))
        verdicts = verifier.verify_many(listed, options.fmr, progress)
    with private_table(out, _COLUMNS) as writer:
        for pair_id, a, b, verdict in zip(pairs.pair_id, pairs.path_0, pairs.path_1, verdicts, strict=True):
            names = (spreadsheet_text(a, "./"), spreadsheet_text(b, "./"))
            writer.writerow([spreadsheet_text(pair_id), *names, *_row(verdict)])
    unjudged = sum(math.isnan(verdict.similarity) for verdict in verdicts)
    counts = Counter(verdict.decision for verdict in verdicts)
    said = f"{out}: {len(verdicts):,} pairs: " + ", ".join(f"{count:,} {name}" for name, count in counts.most_common())
    said += f"; {unjudged:,} can't be judged" if unjudged else ""
    console.print(said, highlight=False, markup=False, soft_wrap=True)
    return 1 if unjudged else 0


def _row(verdict: Verdict) -> list[str]:
    genuine = verdict.genuine or (None, None)
    numbers = (verdict.score, verdict.similarity, verdict.probability, verdict.threshold, verdict.fmr, *genuine)
    return [
        verdict.decision,
        *("" if x is None or math.isnan(x) else f"{x:.6g}" for x in numbers),
        spreadsheet_text(verdict.reason, "./"),
    ]


def _told(photos: Sequence[Photo], verdict: Verdict) -> list[str]:
    rate = f"false match rate {verdict.fmr:g}"
    lines = [f"{verdict.decision}: {verdict.reason}"]
    if verdict.score is not None and verdict.threshold_score is not None:
        lines += [
            f"score {score} of 100; accepted from {least} ({rate})"
            for score, least in _told_apart(verdict.score, verdict.threshold_score)
        ]
    lines.append(f"similarity {verdict.similarity:.3f}, threshold {verdict.threshold:.3f} ({rate})")
    alone = f"same person, by the faces alone: {verdict.same:.1%}"
    if verdict.genuine is None:
        lines.append(alone)
    else:
        lines.append(f"two genuine photos of one person: {verdict.probability:.1%}; {alone}")
        shown = zip(photos, verdict.genuine, strict=True)
        lines.append("genuine: " + ", ".join(f"{photo.name} {p:.1%}" for photo, p in shown))
    return lines


def _told_apart(score: float, least: float) -> list[tuple[str, str]]:
    """A score and the least that is accepted, by as few decimals as tell them apart and the least from 0 and 100; or none do.

    Example:
        >>> _told_apart(92.04, 81.7), _told_apart(99.97, 99.96), _told_apart(99.3, 0.004), _told_apart(100.0, 100.0)
        ([('92.0', '81.7')], [('99.97', '99.96')], [('99.300', '0.004')], [])
    """
    shown = ((f"{score:.{decimals}f}", f"{least:.{decimals}f}") for decimals in range(1, _MOST_DECIMALS + 1))
    return [each for each in shown if each[0] != each[1] and float(each[1]) not in (0, 100)][:1]


def _measured(photos: Sequence[Photo], verdict: Verdict, verifier: Verifier) -> dict[str, Any]:
    genuine = verdict.genuine or (None, None)
    said = {name: value for name, value in asdict(verdict).items() if name != "genuine"}
    looked = [
        {
            "file": photo.name,
            "genuine": p,
            "frames": [len(photo.inputs), photo.frames],
            "faces": [asdict(face) for face in photo.faces],
            "quality": None if photo.quality is None else asdict(photo.quality),
        }
        for photo, p in zip(photos, genuine, strict=True)
    ]
    return said | {"model": verifier.name, "photos": looked}
