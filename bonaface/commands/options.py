"""Options that several commands take."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["add_model"]


def add_model(parser: argparse.ArgumentParser) -> None:
    """``--model``, ``--detector`` and ``--device``."""
    parser.add_argument("--model", required=True, metavar="X", help="folder of a run, or an ONNX face network")
    parser.add_argument(
        "--detector",
        type=Path,
        metavar="ONNX",
        help="YuNet file that aligns faces for an ONNX network; a run brings its own",
    )
    parser.add_argument(
        "--device",
        choices=["auto", "cpu", "cuda"],
        default="auto",
        help="where the network runs (default: %(default)s)",
    )
