"""Photos to embeddings: decoding and the network overlap, and each distinct picture is embedded once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress

from bonaface.embedding.backbones import build_backbone
from bonaface.embedding.model import Branch, FaceModel
from bonaface.embedding.run import load_run
from bonaface.embedding.training import gathered
from bonaface.errors import ConfigError, DataError, ModelError
from bonaface.faces.decoding import decode_bytes
from bonaface.faces.preparing import Preparer
from bonaface.faces.views import View
from bonaface.scoring import Calibration, Embeddings

__all__ = ["Embedded", "Embedder", "load_embedder"]

_CHUNK = 64


@dataclass(frozen=True)
class Embedded:
    """Embeddings of a list of photos.

    Args:
        distinct: embeddings of the distinct pictures among them.
        place: for each photo its row in ``distinct``, -1 where the photo can't be read, shape ``(n,)``.
        faults: for each photo that can't be read, why; by its position in the list.
    """

    distinct: Embeddings
    place: NDArray[np.int64]
    faults: dict[int, str]


class Embedder:
    """A model ready for photos.

    Args:
        model: in evaluation mode.
        prepare: from a decoded photo to what the model looks at.
        calibration: of its scores, where it has one.
        name: what messages call it.
        device: cpu or cuda.
    """

    def __init__(
        self, model: FaceModel, prepare: Preparer, calibration: Calibration | None, name: str, device: str = "cpu"
    ) -> None:
        self.model = model.to(device)
        self.prepare = prepare
        self.calibration = calibration
        self.name = name
        self.device = device

    def embed(self, paths: Sequence[Path], progress: Progress | None = None, threads: int = 2) -> Embedded:
        """Embeds photos; pictures of the same content are embedded once, and unreadable ones are named.

        Args:
            paths: files, in any order, repeated or not.
            progress: shows how far it is.
            threads: that read and decode.
        """
        task = progress.add_task("embedding", total=len(paths)) if progress else None
        seen: dict[bytes, int] = {}
        place = np.full(len(paths), -1, dtype=np.int64)
        faults: dict[int, str] = {}
        parts: list[tuple[torch.Tensor, torch.Tensor | None]] = []
        with ThreadPoolExecutor(threads) as pool:
            for start, read in self._chunks(paths, pool):
                fresh: list[dict[str, NDArray[np.uint8]]] = []
                for offset, (digest, pictures) in enumerate(read):
                    if isinstance(pictures, str):
                        faults[start + offset] = pictures
                        continue
                    if digest not in seen:
                        seen[digest] = len(seen)
                        fresh.append(pictures)
                    place[start + offset] = seen[digest]
                if fresh:
                    parts.append(self._run(fresh))
                if progress is not None and task is not None:
                    progress.advance(task, len(read))
        return Embedded(self._joined(parts), place, faults)

    def _chunks(
        self, paths: Sequence[Path], pool: ThreadPoolExecutor
    ) -> Iterator[tuple[int, list[tuple[bytes, dict[str, NDArray[np.uint8]] | str]]]]:
        """Chunks of read photos, one chunk ahead of the network."""
        starts = range(0, len(paths), _CHUNK)
        waiting = [pool.submit(self._read, path) for path in paths[:_CHUNK]]
        for start in starts:
            ahead = [pool.submit(self._read, path) for path in paths[start + _CHUNK : start + 2 * _CHUNK]]
            yield start, [future.result() for future in waiting]
            waiting = ahead

    def _read(self, path: Path) -> tuple[bytes, dict[str, NDArray[np.uint8]] | str]:
        try:
            data = path.read_bytes()
            return hashlib.blake2b(data, digest_size=16).digest(), self.prepare(decode_bytes(data, str(path)))
        except OSError as error:
            return b"", f"{path}: can't be read ({(error.strerror or str(error)).lower()})"
        except DataError as error:
            return b"", str(error)

    def _run(self, pictures: list[dict[str, NDArray[np.uint8]]]) -> tuple[torch.Tensor, torch.Tensor | None]:
        inputs = {
            name: torch.from_numpy(np.stack([view.at_test(picture[view.kind]) for picture in pictures])).permute(
                0, 3, 1, 2
            )
            for name, view in self.model.views.items()
        }
        with torch.inference_mode():
            return self.model.embed({name: x.to(self.device) for name, x in inputs.items()})

    def _joined(self, parts: list[tuple[torch.Tensor, torch.Tensor | None]]) -> Embeddings:
        if parts:
            return gathered(parts)
        judged = self.model.authenticity is not None
        return Embeddings(
            np.zeros((0, self.model.identity.dim), np.float32), np.zeros(0, np.float32) if judged else None
        )


def load_embedder(model: str, detector: Path | None = None, device: str = "auto") -> Embedder:
    """The model that ``--model`` names.

    Args:
        model: a run's folder, or an ONNX face network (prepared as the YAML file beside it says).
        detector: YuNet ONNX file for the aligned faces of an ONNX network; a run brings its own.
        device: auto, cpu or cuda.

    Raises:
        ModelError: if it is neither, or can't be read.
        ConfigError: if there is no such device.
    """
    path = Path(model)
    device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: cuda was asked for, and this machine has no CUDA device that torch can use")
    if path.is_dir():
        run = load_run(path)
        if run.model.authenticity is not None and run.calibration is None:
            raise ModelError(f"{path}: was stopped before it was calibrated: go on with it by bonaface train --resume")
        prepare = Preparer.of(run.model.views, run.config.faces.frame_size, run.detector)
        return Embedder(run.model, prepare, run.calibration, path.name, device)
    if path.suffix == ".onnx":
        backbone = build_backbone(f"onnx:{path}")
        network = FaceModel(Branch(backbone, None, View("aligned", backbone.size), frozen=True)).eval()
        return Embedder(network, Preparer.of(network.views, 160, detector), None, path.stem, device)
    what = "is neither" if path.exists() else "no such file or folder"
    raise ModelError(f"{model}: {what}; expected the folder of a run or an ONNX face network")
