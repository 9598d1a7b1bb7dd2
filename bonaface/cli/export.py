"""``bonaface export``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from bonaface.cli.console import ProgressConsole
from bonaface.cli.options import DETECTOR, refuse_renamed
from bonaface.cli.parser import Parser

__all__ = ["main"]

_FORMATS = ("onnx", "onnx-fp16", "onnx-int8", "openvino", "openvino-bf16", "openvino-int8")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="bonaface export",
        description="Write a model as one file that needs no torch: images in, embeddings out, with the face detector, the "
        "calibration, the thresholds and the model card inside. It is held against the original on photos first, and not "
        "written where it says something else.",
    )
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="folder of a run, an ONNX face network, or an exported .onnx that is to become another format (default: the model "
        "that comes with bonaface)",
    )
    parser.add_argument(
        "--format",
        required=True,
        choices=_FORMATS,
        help="for ONNX Runtime: onnx (32 bits), onnx-fp16 (half the size, as exact), onnx-int8; for OpenVINO, as FILE.xml and "
        "FILE.bin: openvino (32 bits), openvino-bf16 (faster on processors that have it), openvino-int8",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the .onnx or .xml to write")
    parser.add_argument(
        "--calibrate",
        type=Path,
        metavar="DIR",
        help="folder of faces that 8 bits are fitted to and the result is judged on, half of its people for each (default: the "
        "demo pack's people, who do not exist)",
    )
    parser.add_argument("--detector", type=Path, metavar="ONNX", help=DETECTOR)
    refuse_renamed(parser, {"--adapt": "bonaface calibrate --pairs DIR"})
    return parser


def main(arguments: Sequence[str]) -> int:
    """Write an exported model; return 0."""
    options = _parser().parse_args(arguments)
    from bonaface.exporting.export import export

    export(
        options.model,
        options.out,
        options.format,
        faces=options.calibrate,
        detector=options.detector,
        console=ProgressConsole(),
    )
    return 0
