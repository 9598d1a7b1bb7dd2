"""``bonaface verify``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from bonaface.cli.options import add_model
from bonaface.errors import DataError

if TYPE_CHECKING:
    from bonaface.images.photo import Photo
    from bonaface.inference.verifier import Verifier
    from bonaface.verification.decision import Verdict

__all__ = ["main"]

_OTHER = 3
"""Exit code of ``--check`` for every decision but the same person."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bonaface verify",
        description="Say whether two photos are genuine photos of one person: same person, different people, not genuine, or "
        "cannot tell.",
        epilog="Exit code 0 whatever the answer, but with --check 3 unless it is the same person; 2 where a photo can't be judged: "
        "no face, two faces, one too small, unreadable.",
    )
    parser.add_argument("first", type=Path, metavar="A", help="photo or video of one face")
    parser.add_argument("second", type=Path, metavar="B", help="photo or video to compare it with")
    add_model(parser)
    parser.add_argument(
        "--fmr",
        type=float,
        default=1e-3,
        metavar="RATE",
        help="false match rate: share of pairs of two people that may pass for one; sets the threshold (default: %(default)g)",
    )
    parser.add_argument("--check", action="store_true", help="exit with 0 for the same person, and with 3 otherwise")
    parser.add_argument("--json", action="store_true", help="print everything that was measured as JSON")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Prints the verdict on two photos; returns 0, and with ``--check`` 3 unless they show the same person."""
    options = _parser().parse_args(arguments)
    from bonaface.inference.verifier import load

    verifier = load(options.model, options.device, options.detector)
    verifier.threshold(options.fmr)
    photos = [verifier.read(file) for file in (options.first, options.second)]
    problems = [photo.problem for photo in photos if photo.problem is not None]
    if problems:
        raise DataError(problems[0])
    verdict = verifier.compare_photos(photos[0], photos[1], options.fmr)
    said = (
        json.dumps(_measured(photos, verdict, verifier), indent=2)
        if options.json
        else "\n".join(_told(photos, verdict))
    )
    Console().print(said, markup=False, highlight=False, soft_wrap=True)
    return _OTHER if options.check and verdict.decision != "same person" else 0


def _told(photos: Sequence[Photo], verdict: Verdict) -> list[str]:
    rate = f"false match rate {verdict.fmr:g}"
    lines = [f"{verdict.decision}: {verdict.reason}"]
    if verdict.score is not None and verdict.threshold_score is not None:
        lines.append(f"score {verdict.score:.1f} of 100; accepted from {verdict.threshold_score:.1f} ({rate})")
    lines += [
        f"similarity {verdict.similarity:.3f}, threshold {verdict.threshold:.3f} ({rate})",
        f"two genuine photos of one person: {verdict.probability:.1%}; same person, by the faces alone: {verdict.same:.1%}",
    ]
    if verdict.genuine is not None:
        shown = zip(photos, verdict.genuine, strict=True)
        lines.append("genuine: " + ", ".join(f"{photo.name} {p:.1%}" for photo, p in shown))
    return lines


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
