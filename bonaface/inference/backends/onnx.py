"""Networks computed by ONNX Runtime: what ``bonaface export`` wrote, and any ONNX face network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonaface.errors import ConfigError, ModelError
from bonaface.images.crops import InputSpec
from bonaface.inference.backends.base import (
    Images,
    Parts,
    content_of,
    digest_of,
    threads_a_photo,
    usable_cores,
)
from bonaface.inference.backends.exported import ExportedNetwork
from bonaface.inference.metadata import MARK, Description, input_of
from bonaface.models.device import available_providers, runs_openvino
from bonaface.models.external_weights import weights_beside
from bonaface.models.input_format import input_format
from bonaface.verification.embeddings import Embeddings

__all__ = ["OnnxFaceNetwork", "OnnxNetwork"]


class OnnxNetwork(ExportedNetwork):
    """An exported model in ONNX, computed by ONNX Runtime, or by OpenVINO where that is asked for."""

    @classmethod
    def of(cls, file: Path, device: str = "auto") -> OnnxNetwork | None:
        """The model of a file as ``bonaface export`` writes it; None where the file is another ONNX network.

        Args:
            file: the ``.onnx``.
            device: one of :data:`bonaface.models.device.DEVICES`.

        Raises:
            ModelError: if it can't be read, is damaged, or ONNX Runtime can't compute it.
            ConfigError: if the device is not there.
        """
        content = content_of(file)
        if MARK.encode() not in content:  # spares other networks a session
            return None
        openvino = runs_openvino(device)
        session = _onnx_session(content, file, "cpu" if openvino else device, len(content))
        metadata = session.get_modelmeta().custom_metadata_map
        if MARK not in metadata:
            return None
        description = Description.from_metadata(metadata, str(file))
        _check_graph(session, description, file)
        names = [each.name for each in session.get_outputs()]
        known = description.fingerprint or digest_of(content)
        if openvino:
            from bonaface.inference.backends.openvino import openvino_inference

            threads = threads_a_photo(len(content))
            infer = openvino_inference(file, threads)
            return cls(file, description, known, infer, "OpenVINO on CPU", threads, len(content))

        def run(images: Images) -> Mapping[str, Any]:
            return dict(zip(names, session.run(names, dict(images)), strict=True))

        return cls(file, description, known, run, _told(session), _threads(session), len(content))


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


class OnnxFaceNetwork:
    """Any ONNX network that turns aligned faces into vectors; a file beside it says how it wants its images.

    Args:
        file: the ``.onnx``.
        device: one of :data:`bonaface.models.device.DEVICES`.

    Raises:
        ModelError: if it can't be read, its images' format is not known, or it gives no vectors.
        ConfigError: if there is no such device.
    """

    def __init__(self, file: Path, device: str = "auto") -> None:
        if not file.is_file():
            raise ModelError(f"{file}: no such ONNX file")
        self.file = file
        self.name = file.stem
        self.format = input_format(file)
        self.views = {"identity": InputSpec("aligned", self.format.size)}
        content = content_of(file)
        beside = weights_beside(content, file)
        digests = "".join(digest_of(content_of(each)) for each in beside)
        self.fingerprint = digest_of(content + repr(self.format).encode() + digests.encode())
        openvino = runs_openvino(device)
        weights = len(content) + sum(each.stat().st_size for each in beside)
        self._session = _onnx_session(str(file), file, "cpu" if openvino else device, weights)
        self.runtime = "OpenVINO on CPU" if openvino else _told(self._session)
        threads = threads_a_photo(weights) if openvino else _threads(self._session)
        self._run = self._by_openvino(threads) if openvino else self._by_onnx_runtime
        self._parts = Parts(self.runtime, threads, weights)
        self._input, self._batch = self._checked_input()
        self._type = np.float16 if self._input.type == "tensor(float16)" else np.float32
        self._mean, self._std = (np.asarray(each, np.float32) for each in (self.format.mean, self.format.std))
        self.dim = self._probed()

    def __call__(self, images: Images) -> Embeddings:
        """See :class:`Network`."""
        return self._parts(self._some, images, self._batch)

    def _some(self, images: Images) -> Embeddings:
        vectors = self._vectors(images["identity"])
        # As torch's normalize: a vector of zeros stays one.
        return Embeddings(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))

    def _vectors(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Vectors ``(n, dim)`` of faces ``(n, size, size, 3)``, RGB, at most as many as the file is given at once."""
        pixels = faces[..., ::-1] if self.format.channels == "bgr" else faces
        x = ((pixels - self._mean) / self._std).transpose(0, 3, 1, 2)  # (n, 3, size, size)
        given = np.zeros((self._batch or len(x), *x.shape[1:]), self._type)
        given[: len(x)] = x
        (said,) = self._run(given)
        vectors: NDArray[np.float32] = np.asarray(said)[: len(x)].astype(np.float32, copy=False)
        return vectors

    def _by_onnx_runtime(self, given: NDArray[Any]) -> Sequence[Any]:
        said: Sequence[Any] = self._session.run(None, {self._input.name: given})
        return said

    def _by_openvino(self, threads: int) -> Callable[[NDArray[Any]], Sequence[Any]]:
        from bonaface.inference.backends.openvino import openvino_inference

        infer = openvino_inference(self.file, threads)
        return lambda given: list(infer({self._input.name: given}).values())

    def _checked_input(self) -> tuple[Any, int | None]:
        """The one input, and how many images the file takes at once; None where it takes any number."""
        inputs, side = self._session.get_inputs(), self.format.size
        shapes = [each.shape for each in inputs]
        good = len(inputs) == 1 and inputs[0].type in ("tensor(float)", "tensor(float16)") and len(shapes[0]) == 4
        if not good or any(isinstance(n, int) and n != m for n, m in zip(shapes[0][1:], (3, side, side), strict=True)):
            told = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs)
            raise ModelError(f"{self.file}: expected one input of float numbers (n, 3, {side}, {side}), got {told}")
        return inputs[0], shapes[0][0] if isinstance(shapes[0][0], int) else None

    def _probed(self) -> int:
        """The length of a vector, as one image of zeros gives it."""
        side = self.format.size
        try:
            said = self._run(np.zeros(self._probe_shape(side), self._type))
        except Exception as error:  # ONNX Runtime's exceptions have no base class of their own
            raise ModelError(f"{self.file}: can't be used as a network: {_first_line(error)}") from error
        if len(said) != 1 or np.ndim(said[0]) != 2:
            told = ", ".join(str(np.shape(each)) for each in said)
            raise ModelError(f"{self.file}: expected one output of shape (n, features), got {told}")
        return int(said[0].shape[1])

    def _probe_shape(self, side: int) -> tuple[int, int, int, int]:
        return (self._batch or 2, 3, side, side)


def _onnx_session(model: bytes | str, file: Path, device: str, weights: int) -> Any:
    import onnxruntime

    providers = available_providers(device)
    options = onnxruntime.SessionOptions()
    on_processor = providers == ["CPUExecutionProvider"]
    options.intra_op_num_threads = threads_a_photo(weights) if on_processor else usable_cores()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leaves the cores to decoding meanwhile
    options.log_severity_level = 4
    if "CUDAExecutionProvider" in providers:
        onnxruntime.set_default_logger_severity(4)  # else a missing driver is told beside what is said of it here
        onnxruntime.preload_dlls()  # CUDA's libraries as pip installs them
    try:
        session = onnxruntime.InferenceSession(model, options, providers=providers)
    except Exception as error:  # ONNX Runtime's exceptions have no base class of their own
        raise ModelError(
            f"{file}: ONNX Runtime {onnxruntime.__version__} can't compute it ({_first_line(error)})"
        ) from error
    if device != "auto" and session.get_providers()[0] != providers[0]:
        raise ConfigError(
            f"device: {device} was asked for, and ONNX Runtime could not start {providers[0]} here; "
            "expected its driver and libraries, or --device cpu"
        )
    return session


def _threads(session: Any) -> int:
    """Threads that compute one photo on a processor."""
    return int(session.get_session_options().intra_op_num_threads)


def _told(session: Any) -> str:
    """Name what computes a session, for people: ``ONNX Runtime on CPU``."""
    return f"ONNX Runtime on {session.get_providers()[0].removesuffix('ExecutionProvider')}"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
