"""``bonaface verify``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from bonaface.errors import DataError

if TYPE_CHECKING:
    from bonaface.images.quality import Portrait
    from bonaface.inference.embedder import Embedder
    from bonaface.verification.decision import Verdict

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bonaface verify",
        description="Say whether two photos are genuine photos of one person: same person, different people, not genuine, or "
        "cannot tell.",
        epilog="Exit code 0 whatever the answer; 2 where a photo can't be judged: no face, two faces, one too small, unreadable.",
    )
    parser.add_argument("first", type=Path, metavar="A", help="a photo of one face")
    parser.add_argument("second", type=Path, metavar="B", help="the photo that it is held against")
    parser.add_argument(
        "--model",
        metavar="X",
        help="an exported model, or the folder of a run (default: the model that comes with bonaface)",
    )
    parser.add_argument(
        "--fmr",
        type=float,
        default=1e-3,
        metavar="RATE",
        help="share of pairs of two people that may pass for one, which decides the threshold (default: %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="everything that was measured, as JSON")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Prints the verdict on two photos; returns 0."""
    options = _parser().parse_args(arguments)
    import numpy as np

    from bonaface.images.quality import read_portrait
    from bonaface.inference.embedder import load_embedder
    from bonaface.verification.decision import judge, threshold_for

    embedder = load_embedder(options.model)
    threshold_for(embedder.validation, options.fmr)
    portraits = [read_portrait(_content(file), str(file), embedder.prepare) for file in (options.first, options.second)]
    problems = [portrait.problem for portrait in portraits if portrait.problem is not None]
    if problems:
        raise DataError(problems[0])
    photos = embedder.embed_images([portrait.image for portrait in portraits])
    first, second = (photos.take(np.array([row])) for row in range(2))
    (verdict,) = judge(first, second, embedder.calibration, embedder.validation, options.fmr)
    console = Console()
    if options.json:
        console.print(
            json.dumps(_measured(portraits, verdict, embedder), indent=2), markup=False, highlight=False, soft_wrap=True
        )
    else:
        console.print("\n".join(_told(portraits, verdict)), markup=False, highlight=False, soft_wrap=True)
    return 0


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(
            f"{file}: can't be read ({(error.strerror or str(error)).lower()}); expected an image"
        ) from error


def _told(portraits: Sequence[Portrait], verdict: Verdict) -> list[str]:
    held = f"similarity {verdict.similarity:.3f}, threshold {verdict.threshold:.3f} (false match rate {verdict.fmr:g})"
    lines = [
        f"{verdict.decision}: {verdict.reason}",
        f"{held}; two genuine photos of one person: {verdict.probability:.1%}",
        f"same person, by the faces alone: {verdict.same:.1%}",
    ]
    if verdict.genuine is not None:
        shown = zip(portraits, verdict.genuine, strict=True)
        lines.append("genuine: " + ", ".join(f"{portrait.name} {p:.1%}" for portrait, p in shown))
    return lines


def _measured(portraits: Sequence[Portrait], verdict: Verdict, embedder: Embedder) -> dict[str, Any]:
    genuine = verdict.genuine or (None, None)
    said = {name: value for name, value in asdict(verdict).items() if name != "genuine"}
    photos = [
        {
            "file": portrait.name,
            "genuine": p,
            "faces": [asdict(face) for face in portrait.faces],
            "quality": None if portrait.quality is None else asdict(portrait.quality),
        }
        for portrait, p in zip(portraits, genuine, strict=True)
    ]
    return said | {"model": embedder.name, "photos": photos}
