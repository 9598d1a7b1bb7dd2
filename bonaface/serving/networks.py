"""Networks as the runtime sees them: pictures in, embeddings out, whatever computes in between."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bonaface.errors import ConfigError, ModelError
from bonaface.faces.views import View
from bonaface.scoring import Embeddings
from bonaface.serving.exported import KEYS, MARK, WEIGHTS, Description, input_of

if TYPE_CHECKING:
    from bonaface.embedding.model import Branch, FaceModel

__all__ = [
    "Network",
    "OnnxNetwork",
    "OpenVinoNetwork",
    "Pictures",
    "TorchNetwork",
    "digest_of",
    "joined",
    "usable_cores",
]

_BATCH = 8
"""Photos that an exported model is given at once: with five crops and mirror images 80 pictures, whose activations stay small."""

_TORCH_BATCH = 16
"""Photos that torch is given at once on a processor: a ResNet is a seventh faster than with 64, whose activations fit no cache."""

Pictures = Mapping[str, NDArray[np.uint8]]
"""By branch, RGB, shape ``(n, h, w, 3)``: what the branch's view shows of each photo."""


class Network(Protocol):
    """What turns pictures into embeddings. Several threads may call it at once."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def views(self) -> Mapping[str, View]:
        """What ``identity`` looks at, and ``authenticity`` where the network judges it."""

    @property
    def dim(self) -> int:
        """Length of an identity vector."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever its answers would."""

    def __call__(self, pictures: Pictures) -> Embeddings:
        """Embeddings of ``n`` photos, n >= 1, from their pictures by branch."""


class TorchNetwork:
    """A run's model, or an ONNX recogniser, computed by torch.

    Args:
        model: in evaluation mode.
        name: what messages call it.
        device: auto, cpu or cuda.

    Raises:
        ConfigError: if there is no such device.
    """

    def __init__(self, model: FaceModel, name: str, device: str = "cpu") -> None:
        self.name = name
        self.device = _available(device)
        self.model = model.to(self.device)

    @property
    def views(self) -> Mapping[str, View]:
        """See :class:`Network`."""
        return self.model.views

    @property
    def dim(self) -> int:
        """See :class:`Network`."""
        return self.model.identity.dim

    @cached_property
    def fingerprint(self) -> str:
        """Of the weights, the layers and what stands before and behind them."""
        settings = [(branch.backbone.size, branch.backbone.bgr) for branch in self._branches()]
        digest = hashlib.blake2b(f"{self.views} {self.model.mirror} {settings} {self.model}".encode(), digest_size=16)
        for name, tensor in [*self.model.named_parameters(), *self.model.named_buffers()]:
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(tensor.detach().float().cpu().numpy()).data)
        return digest.hexdigest()

    def _branches(self) -> list[Branch]:
        return [branch for branch in (self.model.identity, self.model.authenticity) if branch is not None]

    def __call__(self, pictures: Pictures) -> Embeddings:
        """See :class:`Network`."""
        return self._some(pictures) if self.device == "cuda" else _in_parts(self._some, pictures, _TORCH_BATCH)

    def _some(self, pictures: Pictures) -> Embeddings:
        import torch

        inputs = {
            name: torch.from_numpy(np.ascontiguousarray(stack)).permute(0, 3, 1, 2).to(self.device)  # (n, 3, h, w)
            for name, stack in pictures.items()
        }
        with torch.inference_mode():
            identity, log_odds = self.model.embed(inputs)
        return Embeddings(identity.float().cpu().numpy(), None if log_odds is None else log_odds.float().cpu().numpy())


def _available(device: str) -> str:
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: cuda was asked for, and this machine has no CUDA device that torch can use")
    return device


def joined(parts: Sequence[Embeddings]) -> Embeddings:
    """One Embeddings of at least one part."""
    odds = [part.authenticity for part in parts if part.authenticity is not None]
    return Embeddings(np.concatenate([part.identity for part in parts]), np.concatenate(odds) if odds else None)


def _in_parts(embed: Callable[[Pictures], Embeddings], pictures: Pictures, size: int) -> Embeddings:
    starts = range(0, len(pictures["identity"]), size)
    return joined([embed({name: stack[at : at + size] for name, stack in pictures.items()}) for at in starts])


class _Exported:
    """What both kinds of exported models share.

    Args:
        description: of the file.
        fingerprint: of the file's content.
        infer: arrays by input to arrays by output.
    """

    def __init__(
        self, description: Description, fingerprint: str, infer: Callable[[Pictures], Mapping[str, Any]]
    ) -> None:
        self.description = description
        self.name = description.name
        self.views = description.views
        self.fingerprint = fingerprint
        self.dim = description.dim
        self._infer = infer

    def __call__(self, pictures: Pictures) -> Embeddings:
        """See :class:`Network`."""
        return _in_parts(self._some, {name: pictures[name] for name in self.views}, _BATCH)

    def _some(self, pictures: Pictures) -> Embeddings:
        said = self._infer({input_of(name): np.ascontiguousarray(stack) for name, stack in pictures.items()})
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

        def infer(pictures: Pictures) -> Mapping[str, Any]:
            return dict(zip(names, session.run(names, dict(pictures)), strict=True))

        return cls(description, digest_of(content), infer)


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
        settings = {
            "INFERENCE_NUM_THREADS": usable_cores(),
            "PERFORMANCE_HINT": "LATENCY",
            # Else it depends on the processor whether 16 bits compute what was measured in 32.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        compiled = core.compile_model(model, "CPU", settings)
        requests = threading.local()

        def infer(pictures: Pictures) -> Mapping[str, Any]:
            if not hasattr(requests, "own"):
                requests.own = compiled.create_infer_request()  # one can't be used by two threads at once
            found = requests.own.infer(dict(pictures))
            return {name: found[name].copy() for name in description.views}

        super().__init__(description, fingerprint, infer)


def usable_cores() -> int:
    """Processor cores to compute on: what affinity, a container's quota and ``OMP_NUM_THREADS`` leave to this process."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min(cores, _quota() or cores, _wished() or cores))


def _quota() -> int | None:
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, round(int(quota) / int(period)))
    except (OSError, ValueError):  # no such limit
        return None


def _wished() -> int | None:
    wished = os.environ.get("OMP_NUM_THREADS", "")
    return int(wished) if wished.isdecimal() else None


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
