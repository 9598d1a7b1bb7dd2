"""Options that several commands share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from bonaface.errors import ConfigError
from bonaface.io import integer
from bonaface.models.device import DEVICES

__all__ = [
    "DEFAULT_RATE",
    "DETECTOR",
    "MODELS",
    "add_device",
    "add_model",
    "add_pair_draw",
    "refuse_no_workers",
    "refuse_port",
    "refuse_renamed",
    "say_device",
]

DEFAULT_RATE = "default: 0.001, or the lowest that a model calibrated on few pairs resolves"
"""What ``--fmr`` is where it is left out."""
DETECTOR = "YuNet file that aligns faces for an ONNX face network; the others bring their own"
"""What ``--detector`` takes."""
MODELS = "folder of a run, an exported model, or an ONNX face network"
"""What ``--model`` takes."""

_LAST_PORT = 65_535


def add_model(parser: argparse.ArgumentParser, detector: str = DETECTOR) -> None:
    """``--model``, ``--detector`` with a help of the command's own, and ``--device``."""
    parser.add_argument("--model", metavar="X", help=f"{MODELS} (default: the one that comes with bonaface)")
    parser.add_argument("--detector", type=Path, metavar="ONNX", help=detector)
    add_device(parser)


def add_pair_draw(parser: argparse.ArgumentParser) -> None:
    """``--labels``, ``--draw`` and ``--seed``: how ``--pairs`` become labelled pairs."""
    parser.add_argument("--labels", type=Path, metavar="L", help="CSV of pair_id,label,kind,...; or LFW's pairs.txt")
    parser.add_argument(
        "--draw", type=integer, default=2000, metavar="N", help="pairs drawn from a folder of people (%(default)s)"
    )
    parser.add_argument(
        "--seed", type=integer, default=0, metavar="N", help="of the draw and the bootstrap (%(default)s)"
    )


def refuse_port(port: int) -> None:
    """Raise an error unless a port can be listened at.

    Raises:
        ConfigError: otherwise.
    """
    if not 0 <= port <= _LAST_PORT:
        raise ConfigError(f"--port {port}: expected 0 to {_LAST_PORT}; 0 takes any that is free")


def refuse_no_workers(workers: int | None) -> None:
    """Raise an error where fewer than one worker is asked for; None leaves the number open.

    Raises:
        ConfigError: if so.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"--workers: expected at least 1, got {workers}")


def refuse_renamed(parser: argparse.ArgumentParser, renamed: Mapping[str, str]) -> None:
    """Refuse options of earlier versions, with the names that they have now.

    Args:
        parser: of the command.
        renamed: today's names by the old ones.
    """

    class Refuse(argparse.Action):
        def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
            raise ConfigError(f"{self.option_strings[0]} is called {renamed[self.option_strings[0]]} now")

    for name in renamed:
        parser.add_argument(name, nargs="?", action=Refuse, help=argparse.SUPPRESS)


def add_device(parser: argparse.ArgumentParser) -> None:
    """``--device``."""
    parser.add_argument(
        "--device",
        choices=DEVICES,
        default="auto",
        help="where the network runs: %(choices)s (default: %(default)s, a CUDA device where there is one, else the CPU)",
        metavar="D",
    )


def say_device(runtime: str) -> None:
    """Prints what computes, once, at the start, to standard error."""
    print(f"device: {runtime}", file=sys.stderr)  # noqa: T201
