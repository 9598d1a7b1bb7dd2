"""Exported models in OpenVINO's format, computed by OpenVINO."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bonaface.errors import ModelError
from bonaface.extras import openvino_core, require
from bonaface.inference.backends.base import Images, content_of, digest_of, threads_a_photo, usable_cores
from bonaface.inference.backends.exported import ExportedNetwork
from bonaface.inference.metadata import KEYS, MARK, PRECISION, WEIGHTS, Description, input_of

__all__ = ["OpenVinoNetwork", "openvino_inference"]


class OpenVinoNetwork(ExportedNetwork):
    """An exported model in OpenVINO's format (``.xml`` with its ``.bin`` beside it), computed on the processor.

    Args:
        file: the ``.xml``.

    Raises:
        ModelError: if it is none of ours, or damaged.
        MissingExtraError: if OpenVINO is not installed.
    """

    def __init__(self, file: Path) -> None:
        weights = digest_of(content_of(file.with_suffix(".bin")))
        fingerprint = digest_of(content_of(file) + weights.encode())
        core, model = _openvino_model(file)
        kept = {key: model.get_rt_info([MARK, key]).astype(str) for key in KEYS if model.has_rt_info([MARK, key])}
        if not kept:
            raise ModelError(f"{file}: expected a model that bonaface exported, and found none of its notes in it")
        description = Description.from_metadata(kept, str(file))
        if not model.has_rt_info([MARK, WEIGHTS]) or model.get_rt_info([MARK, WEIGHTS]).astype(str) != weights:
            raise ModelError(f"{file}: {file.stem}.bin beside it is another model's; export the model again")
        inputs, outputs = ({each.any_name for each in side} for side in (model.inputs, model.outputs))
        if inputs != {input_of(name) for name in description.views} or outputs != set(description.views):
            raise ModelError(
                f"{file}: its inputs and outputs are not those that its metadata tells of; export the model again"
            )
        self.precision = _precision(model, file)
        size = file.with_suffix(".bin").stat().st_size
        threads = threads_a_photo(size)
        infer = _compiled(core, model, self.precision, threads)
        super().__init__(file, description, fingerprint, infer, "OpenVINO on CPU", threads, size)


def openvino_inference(file: Path, threads: int) -> Callable[[Images], Mapping[str, Any]]:
    """Arrays by input to arrays by output, of an ONNX file, computed by OpenVINO in float32, a photo by so many threads.

    Raises:
        ModelError: if OpenVINO can't read it.
        MissingExtraError: if OpenVINO is not installed.
    """
    return _compiled(*_openvino_model(file), "f32", threads)


def _compiled(core: Any, model: Any, precision: str, threads: int) -> Callable[[Images], Mapping[str, Any]]:
    settings = {
        "INFERENCE_NUM_THREADS": usable_cores(),
        "NUM_STREAMS": usable_cores() // threads,  # photos that it computes at the same time
        # Else it depends on the processor whether 16 bits compute what was measured in 32. One that lacks bf16 takes f32.
        "INFERENCE_PRECISION_HINT": precision,
    }
    compiled = core.compile_model(model, "CPU", settings)
    names = [each.any_name for each in compiled.outputs]
    requests = threading.local()

    def infer(images: Images) -> Mapping[str, Any]:
        if not hasattr(requests, "own"):
            requests.own = compiled.create_infer_request()  # one can't be used by two threads at once
        found = requests.own.infer(dict(images))
        return {name: found[name].copy() for name in names}

    return infer


def _precision(model: Any, file: Path) -> str:
    """Precision that the model's notes say it computes in."""
    said = model.get_rt_info([MARK, PRECISION]).astype(str) if model.has_rt_info([MARK, PRECISION]) else "f32"
    if said not in ("f32", "bf16"):
        raise ModelError(f"{file}: computes in {said!r}, where f32 or bf16 was expected; export the model again")
    return said


def _openvino_model(file: Path) -> tuple[Any, Any]:
    require("export", "openvino", what=str(file))
    import openvino

    if (weights := file.with_suffix(".bin")).exists():
        content_of(weights)
    core = openvino_core()
    try:
        return core, core.read_model(file)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ModelError(f"{file}: OpenVINO {openvino.__version__} can't read it ({reason})") from error
