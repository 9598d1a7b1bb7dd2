"""Exported models as networks: what ``bonaface export`` wrote, computed by ONNX Runtime or OpenVINO."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bonaface.errors import ModelError
from bonaface.inference.backends.torch import Images, in_parts, usable_cores
from bonaface.inference.metadata import KEYS, MARK, PRECISION, WEIGHTS, Description, input_of
from bonaface.verification.embeddings import Embeddings

__all__ = ["OnnxNetwork", "OpenVinoNetwork", "digest_of"]

_BATCH = 8
"""Photos that a model is given at once: with five crops and mirror images 80 images, whose activations stay small."""


class _Exported:
    """What both kinds of exported models share.

    Args:
        file: where it was read from.
        description: of the file.
        fingerprint: of the file's content.
        infer: arrays by input to arrays by output.
    """

    def __init__(
        self, file: Path, description: Description, fingerprint: str, infer: Callable[[Images], Mapping[str, Any]]
    ) -> None:
        self.file = file
        self.description = description
        self.name = description.name
        self.views = description.views
        self.fingerprint = fingerprint
        self.dim = description.dim
        self._infer = infer

    def __call__(self, images: Images) -> Embeddings:
        """See :class:`Network`."""
        return in_parts(self._some, {name: images[name] for name in self.views}, _BATCH)

    def _some(self, images: Images) -> Embeddings:
        said = self._infer({input_of(name): np.ascontiguousarray(stack) for name, stack in images.items()})
        return Embeddings(said["identity"], said.get("authenticity"))


class OnnxNetwork(_Exported):
    """An exported model in ONNX, computed by ONNX Runtime on the processor."""

    @classmethod
    def of(cls, file: Path) -> OnnxNetwork | None:
        """The model of a file as ``bonaface export`` writes it; None where the file is another ONNX network.

        Raises:
            ModelError: if it can't be read, is damaged, or ONNX Runtime can't compute it.
        """
        content = _content(file)
        if MARK.encode() not in content:  # spares other networks a session
            return None
        session = _onnx_session(content, file)
        metadata = session.get_modelmeta().custom_metadata_map
        if MARK not in metadata:
            return None
        description = Description.from_metadata(metadata, str(file))
        _check_graph(session, description, file)
        names = [each.name for each in session.get_outputs()]

        def infer(images: Images) -> Mapping[str, Any]:
            return dict(zip(names, session.run(names, dict(images)), strict=True))

        return cls(file, description, digest_of(content), infer)


def _check_graph(session: Any, description: Description, file: Path) -> None:
    found = {each.name: (each.type, tuple(each.shape[1:])) for each in session.get_inputs()}
    wanted = {
        input_of(name): ("tensor(uint8)", (description.side(name), description.side(name), 3))
        for name in description.views
    }
    outputs = sorted(each.name for each in session.get_outputs())
    if found != wanted or outputs != sorted(description.views):
        raise ModelError(
            f"{file}: its inputs {sorted(found)} and outputs {outputs} are not those that its metadata tells of; "
            "export the model again"
        )


class OpenVinoNetwork(_Exported):
    """An exported model in OpenVINO's format (``.xml`` with its ``.bin`` beside it), computed on the processor.

    Args:
        file: the ``.xml``.

    Raises:
        ModelError: if it is none of ours, damaged, or OpenVINO is not installed.
    """

    def __init__(self, file: Path) -> None:
        weights = digest_of(_content(file.with_suffix(".bin")))
        fingerprint = digest_of(_content(file) + weights.encode())
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
        settings = {
            "INFERENCE_NUM_THREADS": usable_cores(),
            "PERFORMANCE_HINT": "LATENCY",
            # Else it depends on the processor whether 16 bits compute what was measured in 32. One that lacks bf16 takes f32.
            "INFERENCE_PRECISION_HINT": self.precision,
        }
        compiled = core.compile_model(model, "CPU", settings)
        requests = threading.local()

        def infer(images: Images) -> Mapping[str, Any]:
            if not hasattr(requests, "own"):
                requests.own = compiled.create_infer_request()  # one can't be used by two threads at once
            found = requests.own.infer(dict(images))
            return {name: found[name].copy() for name in description.views}

        super().__init__(file, description, fingerprint, infer)


def _precision(model: Any, file: Path) -> str:
    """What the model's notes say that it computes in."""
    said = model.get_rt_info([MARK, PRECISION]).astype(str) if model.has_rt_info([MARK, PRECISION]) else "f32"
    if said not in ("f32", "bf16"):
        raise ModelError(f"{file}: computes in {said!r}, where f32 or bf16 was expected; export the model again")
    return said


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ModelError(f"{file}: can't be read ({(error.strerror or str(error)).lower()})") from error


def digest_of(content: bytes) -> str:
    """What a file's content is told by."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _onnx_session(content: bytes, file: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leaves the cores to decoding meanwhile
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no base class of their own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"{file}: ONNX Runtime {onnxruntime.__version__} can't compute it ({reason})") from error


def _openvino_model(file: Path) -> tuple[Any, Any]:
    try:
        import openvino
    except ImportError as error:
        raise ModelError(f"{file}: needs OpenVINO, which is not installed: pip install bonaface[export]") from error
    core = openvino.Core()
    try:
        return core, core.read_model(file)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ModelError(f"{file}: OpenVINO {openvino.__version__} can't read it ({reason})") from error
