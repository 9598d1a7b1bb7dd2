"""``bonaface train``."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from bonaface.cli.console import ProgressConsole
from bonaface.cli.settings import settings_help
from bonaface.config_io import parse_config

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """Trains a model; ``--resume`` resumes a run that was stopped."""
    if {"-h", "--help"} & set(arguments):
        print(settings_help(), end="")  # noqa: T201
        return 0
    resume = "--resume" in arguments
    config = parse_config([word for word in arguments if word != "--resume"])
    from bonaface.training.distributed import Distributed
    from bonaface.training.train import train

    console = ProgressConsole()
    try:
        run = train(config, console, resume)
    except KeyboardInterrupt:
        settings = Path(config.out) / config.name / "config.yaml"
        if not settings.exists():
            raise
        said = f"bonaface train: interrupted; resume by bonaface train --config {shlex.quote(str(settings))} --resume"
        console.print(said, highlight=False, markup=False, soft_wrap=True)
        return 130
    if not Distributed.from_environment().is_main:
        return 0
    figures = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    error, steps = figures["val"]["challenge_eer"], figures["steps"]
    said = f"{run}: val EER {error:.4f}, nothing trained"
    if steps:
        before = figures["untrained"]["challenge_eer"]
        said = f"{run}: best val EER {error:.4f} at step {figures['best_step']} of {steps} (untrained {before:.4f})"
    console.print(said, highlight=False, markup=False, soft_wrap=True)
    return 0
