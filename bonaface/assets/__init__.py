"""Files that come with the package: the model, the demo pack, style sheets.

The demo pack holds photos and deepfakes of people who do not exist, in the challenge's layout.
How it was made, what it may be used for and what was measured on it: docs/demo-pack.md.
"""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path

from bonaface.errors import DataError, ModelError
from bonaface.outputs import refuse_unlike

__all__ = ["ASSETS", "FACE_CHECK", "FACE_DETECTOR", "SHIPPED_MODEL", "shipped_detector", "unpack_demo"]

ASSETS = Path(__file__).parent
"""The folder of what comes with the package."""

SHIPPED_MODEL = ASSETS / "bonaface.onnx"
FACE_CHECK = ASSETS / "face_check.onnx"
FACE_DETECTOR = ASSETS / "face_detector.onnx"

_ARCHIVE = "demo.tar.xz"


@cache
def shipped_detector() -> bytes:
    """YuNet's ONNX file, as the shipped model carries it: the face detector wherever none is named.

    Raises:
        ModelError: if the package was installed without its model.
    """
    import onnxruntime

    if not SHIPPED_MODEL.is_file():
        raise ModelError("the installed package has no model; name a face detector by --detector")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(SHIPPED_MODEL), options, providers=["CPUExecutionProvider"])
    return base64.b64decode(session.get_modelmeta().custom_metadata_map["detector"], validate=True)


def unpack_demo(out: Path) -> Path:
    """Writes the pack's ``train`` and ``test`` folders into ``out``; files of the same names and another content are refused.

    Args:
        out: folder to write into; it is made where it is missing.

    Returns:
        ``out``.

    Raises:
        DataError: if ``out`` is a file or holds files of the same names and another content, or the package was installed
            without the pack.
    """
    import tarfile  # with three compressions, which loading a model can do without

    if out.exists() and not out.is_dir():
        raise DataError(f"{out}: expected a folder to unpack the demo pack into, got a file")
    out.mkdir(parents=True, exist_ok=True)
    source = ASSETS / _ARCHIVE
    if not source.is_file():
        raise DataError(f"{_ARCHIVE}: the demo pack is not in the installed package, expected it in bonaface/assets")
    with source.open("rb") as stream, tarfile.open(fileobj=stream, mode="r:xz") as archive:
        for member in archive.getmembers():
            there = member.isfile() and (out / member.name).exists()  # a new folder is spared a second decompression
            if (content := archive.extractfile(member) if there else None) is not None:
                refuse_unlike(out / member.name, content.read())
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.0 to 3.11.3 have no filters
        archive.extractall(out)  # noqa: S202 - the filter is set
    return out
