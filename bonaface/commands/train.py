"""``bonaface train``."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.console import Console

from bonaface.config import parse_config

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """Trains a model; ``--resume`` goes on with a run that was stopped."""
    words = [word for word in arguments if word != "--resume"]
    config = parse_config(words)
    from bonaface.embedding.run import train

    console = Console(stderr=True, log_path=False)
    run = train(config, console, resume="--resume" in arguments)
    figures = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    console.print(
        f"{run}: best val EER {figures['val']['challenge_eer']:.4f} at step {figures['best_step']} of {figures['steps']} "
        f"(untrained {figures['untrained']['challenge_eer']:.4f})",
        highlight=False,
        soft_wrap=True,
    )
    return 0
