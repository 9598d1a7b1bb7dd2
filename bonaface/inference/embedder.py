"""Photos to embeddings: decoding and the network overlap, and each distinct image is embedded once."""

from __future__ import annotations

import hashlib
import shlex
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bonaface.assets import SHIPPED_MODEL, shipped_detector
from bonaface.errors import ConfigError, DataError, ModelError, UnalignedWarning
from bonaface.extras import require
from bonaface.images.alignment import Aligner
from bonaface.images.decoding import decode_bytes, read_file
from bonaface.images.preprocessing import Preprocessor, test_images
from bonaface.inference.backends.base import Network
from bonaface.inference.backends.exported import ExportedNetwork
from bonaface.inference.backends.onnx import OnnxFaceNetwork, OnnxNetwork
from bonaface.models.device import refuse_unknown
from bonaface.verification.calibration import Calibration
from bonaface.verification.embeddings import Embeddings
from bonaface.verification.thresholds import Validation

if TYPE_CHECKING:
    from rich.progress import Progress  # costs a tenth of a verdict's time

__all__ = ["Embedded", "Embedder", "load_embedder", "open_embedder", "refuse_unused"]

_ReadPhoto = tuple[bytes, dict[str, NDArray[np.uint8]] | str, bool]
"""Digest of a file, its images or why it can't be read, and False where the detector found no face."""

_CHUNK = 64
_CROP_SIZE = 160


@dataclass(frozen=True)
class Embedded:
    """Embeddings of a list of photos.

    Args:
        distinct: embeddings of the distinct images among them.
        place: for each photo its row in ``distinct``, -1 where the photo can't be read, shape ``(n,)``.
        faults: for each photo that can't be read, why; by its position in the list.
        faceless: photos in which the detector found no face, by their positions; None where the model aligns no faces.
    """

    distinct: Embeddings
    place: NDArray[np.int64]
    faults: dict[int, str]
    faceless: frozenset[int] | None = None


@dataclass
class Embedder:
    """A model ready for photos.

    Args:
        network: images to embeddings.
        preprocess: from a decoded photo to what the networks see.
        calibration: of its scores, where it has one.
        validation: thresholds by false match rate and likelihood ratios, where it has them.
        name: what messages call it; the network's own name where it is empty.
        source: as ``--model`` names it; None for the shipped one, which is not named.
    """

    network: Network
    preprocess: Preprocessor
    calibration: Calibration | None = None
    validation: Validation | None = None
    name: str = ""
    source: str | None = "PATH"

    def __post_init__(self) -> None:
        """Takes the network's name."""
        self.name = self.name or self.network.name

    @cached_property
    def fingerprint(self) -> str:
        """Changes whenever embeddings would: what is computed by another one must not be compared with them."""
        text = f"{self.network.fingerprint} {self.preprocess.fingerprint()}".encode()
        return hashlib.blake2b(text, digest_size=16).hexdigest()

    def embed_images(self, images: Sequence[NDArray[np.uint8]]) -> Embeddings:
        """Embeddings of decoded photos, RGB ``(h, w, 3)`` each, in their order."""
        rows = _Rows(self.network, len(images))
        for start in range(0, len(images), _CHUNK):
            rows.add(self.embed_inputs([self.preprocess(image) for image in images[start : start + _CHUNK]]))
        return self._marked(rows.filled())

    def embed(self, paths: Sequence[Path], progress: Progress | None = None, threads: int = 2) -> Embedded:
        """Embeds photos; images of the same content are embedded once, and unreadable ones are named.

        Args:
            paths: files, in any order, repeated or not.
            progress: shows how far it is.
            threads: that read and decode.
        """
        task = progress.add_task("embedding", total=len(paths)) if progress else None
        seen: dict[bytes, int] = {}
        place = np.full(len(paths), -1, dtype=np.int64)
        faults: dict[int, str] = {}
        faceless: set[int] = set()
        rows = _Rows(self.network, len(paths))
        with ThreadPoolExecutor(threads) as pool:
            for start, read in self._chunks(paths, pool):
                fresh: list[dict[str, NDArray[np.uint8]]] = []
                for offset, (digest, images, found) in enumerate(read):
                    if isinstance(images, str):
                        faults[start + offset] = images
                        continue
                    if not found:
                        faceless.add(start + offset)
                    if digest not in seen:
                        seen[digest] = len(seen)
                        fresh.append(images)
                    place[start + offset] = seen[digest]
                if fresh:
                    rows.add(self.embed_inputs(fresh))
                if progress is not None and task is not None:
                    progress.advance(task, len(read))
        looked = self.preprocess.detector is not None and "aligned" in self.preprocess.kinds
        return Embedded(self._marked(rows.filled()), place, faults, frozenset(faceless) if looked else None)

    def _chunks(self, paths: Sequence[Path], pool: ThreadPoolExecutor) -> Iterator[tuple[int, list[_ReadPhoto]]]:
        """Chunks of read photos, one chunk ahead of the network."""
        starts = range(0, len(paths), _CHUNK)
        waiting = [pool.submit(self._read, path) for path in paths[:_CHUNK]]
        for start in starts:
            ahead = [pool.submit(self._read, path) for path in paths[start + _CHUNK : start + 2 * _CHUNK]]
            yield start, [future.result() for future in waiting]
            waiting = ahead

    def _read(self, path: Path) -> _ReadPhoto:
        try:
            data = read_file(path, str(path))
            image = decode_bytes(data, str(path))
            faces = self.preprocess.faces(image)
            digest = hashlib.blake2b(data, digest_size=16).digest()
            return digest, self.preprocess(image, faces), faces is None or len(faces) > 0
        except DataError as error:
            return b"", str(error), True

    def embed_inputs(self, inputs: Sequence[Mapping[str, NDArray[np.uint8]]]) -> Embeddings:
        """Embeddings of preprocessed photos.

        Args:
            inputs: of each photo what ``preprocess`` returns.

        Raises:
            ModelError: if the network gives something that is not finite.
        """
        made = self.network(test_images(self.network.views, inputs))
        if not all(np.isfinite(part).all() for part in (made.identity, made.authenticity) if part is not None):
            raise ModelError(
                f"{self.name}: gave an embedding that is not finite; expected a trained model in whole files"
            )
        return self._marked(made)

    def _marked(self, embeddings: Embeddings) -> Embeddings:
        return replace(embeddings, calibration=self.calibration, model=self.fingerprint)


class _Rows:
    """Embeddings that come part by part, each held once: pages of memory that no row was written to cost nothing."""

    def __init__(self, network: Network, most: int) -> None:
        self._identity = np.empty((most, network.dim), np.float32)
        self._authenticity = np.empty(most, np.float32) if "authenticity" in network.views else None
        self._count = 0

    def add(self, some: Embeddings) -> None:
        rows = slice(self._count, self._count + len(some))
        self._identity[rows] = some.identity
        if self._authenticity is not None:
            self._authenticity[rows] = some.authenticity
        self._count = rows.stop

    def filled(self) -> Embeddings:
        odds = self._authenticity
        return Embeddings(self._identity[: self._count], None if odds is None else odds[: self._count])


def load_embedder(model: str | None, detector: Path | None = None, device: str = "auto") -> Embedder:
    """The model that ``--model`` names.

    Args:
        model: a run's folder, an exported ``.onnx`` or ``.xml``, or an ONNX face network (prepared as the YAML file beside it
            says); None is the model that comes with the package.
        detector: YuNet ONNX file that aligns faces for an ONNX face network, the shipped one where it is None; the others
            bring their own, which their thresholds hold for.
        device: one of :data:`bonaface.models.device.DEVICES`: auto, cpu, cuda, tensorrt, coreml or openvino.

    Raises:
        ModelError: if it is none of them, or can't be read; or if the detector can't.
        ConfigError: if there is no such device, or a detector is named and the model brings its own.
    """
    embedder = open_embedder(model, detector, device)
    refuse_unused(detector, [embedder])
    return embedder


def refuse_unused(detector: Path | None, embedders: Sequence[Embedder]) -> None:
    """Refuse a detector that none of the models takes.

    Raises:
        ConfigError: if all of them bring their own.
    """
    if detector is not None and all(each.preprocess.detector != detector for each in embedders):
        names = ", ".join(each.name for each in embedders)
        raise ConfigError(
            f"detector {detector}: would not be used, as the model brings its own ({names}); "
            "expected it with an ONNX face network alone"
        )


def open_embedder(model: str | None, detector: Path | None = None, device: str = "auto") -> Embedder:
    """As :func:`load_embedder`, but a detector may be named for a model that brings its own.

    Raises:
        ModelError, ConfigError: as there.
    """
    refuse_unknown(device)
    if detector is not None:
        Aligner(detector)  # refused before a model is loaded for nothing, and where the model brings its own
    embedder = _opened(model, detector, device)
    embedder.source = model
    unaligned = embedder.preprocess.unaligned(embedder.network.views)
    if unaligned:
        warnings.warn(f"{embedder.name}: {unaligned}: expect high error rates", UnalignedWarning, stacklevel=2)
    return embedder


def _opened(model: str | None, detector: Path | None, device: str) -> Embedder:
    path = Path(model) if model is not None else SHIPPED_MODEL
    if model is None and not path.is_file():
        raise ModelError("no model comes with this installation of bonaface; name one by --model")
    if path.is_dir():
        return _of_run(path, device)
    if path.suffix == ".xml" and path.is_file():
        from bonaface.inference.backends.openvino import OpenVinoNetwork

        if device not in ("auto", "cpu", "openvino"):
            raise ConfigError(
                f"device: {path.name} is in OpenVINO's format; expected auto, cpu or openvino, got {device!r}"
            )
        return _of_exported(OpenVinoNetwork(path))
    if path.suffix == ".onnx":
        exported = OnnxNetwork.of(path, device)
        return _of_face_network(path, detector, device) if exported is None else _of_exported(exported)
    what = "is neither" if path.exists() else "no such file or folder"
    raise ModelError(f"{model}: {what}; expected the folder of a run, an exported model or an ONNX face network")


def _of_exported(network: ExportedNetwork) -> Embedder:
    told = network.description
    return Embedder(network, told.preprocessor(), told.calibration, told.validation)


def _of_run(path: Path, device: str) -> Embedder:
    require("train", what=f"{path}: a run's folder")
    from bonaface.inference.backends.torch import TorchNetwork  # torch costs seconds, which other models don't need
    from bonaface.training.run import load_run

    run = load_run(path)
    if run.model.authenticity is not None and run.calibration is None:
        resume = f"bonaface train --config {shlex.quote(str(path / 'config.yaml'))} --resume"
        raise ModelError(f"{path}: was stopped before it was calibrated: resume it by {resume}")
    prepare = Preprocessor.of(run.model.views, run.config.faces.crop_size, run.detector)
    return Embedder(TorchNetwork(run.model, path.name, device), prepare, run.calibration, run.validation)


def _of_face_network(path: Path, detector: Path | None, device: str) -> Embedder:
    network = OnnxFaceNetwork(path, device)
    return Embedder(
        network, Preprocessor.of(network.views, _CROP_SIZE, shipped_detector() if detector is None else detector)
    )
