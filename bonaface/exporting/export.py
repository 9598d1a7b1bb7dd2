"""The public ``export``: a model as one file that needs no torch."""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console

from bonaface.exporting.calibration_faces import calibration_faces
from bonaface.exporting.conversion import check_request, convert
from bonaface.exporting.model_card import card_of
from bonaface.inference.embedder import load_embedder
from bonaface.io import check_new_file

__all__ = ["export"]

PathLike = str | os.PathLike[str]


def export(
    model: PathLike | None,
    out: PathLike,
    format: str = "onnx",  # noqa: A002 - as the option is called
    *,
    faces: PathLike | None = None,
    detector: PathLike | None = None,
    console: Console | None = None,
) -> Path:
    """Write a model as one file: images in, embeddings out, with detector, calibration, thresholds and model card inside.

    The file is held against the original on photos of people that it was not fitted to, and not written where it says something
    else: see ``bonaface.exporting.parity``.

    Args:
        model: a run's folder, an ONNX face network, or an exported ``.onnx`` of 32 or 16 bits that is to become another format;
            None is the model that comes with the package.
        out: the ``.onnx`` or ``.xml`` to write.
        format: for ONNX Runtime ``onnx`` (32 bits), ``onnx-fp16`` (half the size, as exact) or ``onnx-int8``; for OpenVINO
            ``openvino`` (32 bits), ``openvino-bf16`` or ``openvino-int8``, as FILE.xml and FILE.bin.
        faces: folder of faces that 8 bits are fitted to and the result is judged on, half of its people for each; None takes the
            demo pack's people, who do not exist.
        detector: YuNet file that aligns faces for an ONNX face network.
        console: shows progress and what was measured.

    Returns:
        The file.

    Raises:
        ConfigError: if there is no such format, the suffix is another format's, or the model was exported in 8 bits already.
        MissingExtraError: if a package is missing: a run needs PyTorch, an exported file does not.
        DataError: if the file is there already or can't be written, or a folder holds too few readable photos.
        ModelError: if the model can't be read, or the exported one says something else; nothing is written then.

    Example:
        >>> import shutil, tempfile
        >>> from bonaface.assets import unpack_demo
        >>> demo = unpack_demo(Path(tempfile.mkdtemp())) / "train"
        >>> for person in sorted((demo / "images").iterdir())[:10]:
        ...     _ = shutil.copytree(person, demo.parent / "people" / person.name)
        >>> export(None, demo.parent / "half.onnx", "onnx-fp16", faces=demo.parent / "people").name
        'half.onnx'
    """
    out, console = Path(out), console or Console(quiet=True)
    files = [out, *([out.with_suffix(".bin")] if out.suffix == ".xml" else [])]
    for file in files:
        check_new_file(file)
    embedder = load_embedder(
        None if model is None else os.fspath(model), None if detector is None else Path(detector), "cpu"
    )
    check_request(embedder.network, format, out)
    card = card_of(embedder, None if model is None else os.fspath(model))
    with console.status("exporting and comparing with the original"):
        fitted, judged = calibration_faces(embedder, None if faces is None else Path(faces))
        parity = convert(embedder, format, out, fitted, judged, card)
    size = sum(file.stat().st_size for file in files) / 1e6
    _say(console, parity.told())
    _say(console, f"{out}: {format}, {size:.1f} MB")
    return out


def _say(console: Console, sentence: str) -> None:
    console.print(sentence, highlight=False, markup=False, soft_wrap=True)
