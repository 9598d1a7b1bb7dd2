"""Conversion of a model to one file that needs no torch, written only if it still says what the model says."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from bonaface.errors import ConfigError, ModelError
from bonaface.exporting.calibration_faces import Faces
from bonaface.exporting.parity import Parity, compare, refusal
from bonaface.exporting.quantization import full_weights, half_weights, int8_onnx, int8_openvino
from bonaface.exporting.simplification import simplified
from bonaface.extras import openvino_core, require
from bonaface.inference.backends.base import Network, digest_of
from bonaface.inference.backends.exported import ExportedNetwork
from bonaface.inference.backends.onnx import OnnxNetwork
from bonaface.inference.backends.openvino import OpenVinoNetwork
from bonaface.inference.backends.torch import as_torch
from bonaface.inference.embedder import Embedder
from bonaface.inference.metadata import MARK, PRECISION, WEIGHTS, Description
from bonaface.io import atomic_write
from bonaface.reading import read_regular
from bonaface.version import __version__

__all__ = ["FORMATS", "check_request", "convert", "recalibrate"]

FORMATS = ("onnx", "onnx-fp16", "onnx-int8", "openvino", "openvino-bf16", "openvino-int8")


def check_request(network: Network, form: str, out: Path) -> None:
    """Refuse what can't be exported, before any photo is read.

    Args:
        network: that is to become another format.
        form: one of ``FORMATS``.
        out: the file to write.

    Raises:
        ConfigError: if there is no such format, the file's suffix is another format's, or the network was exported in 8 bits or
            for OpenVINO.
        MissingExtraError: if a package is missing.
    """
    _suffix_of(form, out)
    if isinstance(network, ExportedNetwork):
        _exported_graph(network)


def _suffix_of(form: str, out: Path) -> str:
    """Give the suffix of a format's file, once ``out`` has it and the format can be written here."""
    if form not in FORMATS:
        raise ConfigError(f"format: expected one of {', '.join(FORMATS)}, got {form}")
    suffix = ".xml" if form.startswith("openvino") else ".onnx"
    if out.suffix != suffix:
        raise ConfigError(f"{out}: expected a name that ends in {suffix} for the format {form}")
    if suffix == ".xml":
        modules = ("openvino", "nncf") if form == "openvino-int8" else ("openvino",)
        require("export", *modules, what=f"format {form}")
    return suffix


def convert(embedder: Embedder, form: str, out: Path, fitted: Faces, judged: Faces, card: str) -> Parity:
    """Write a model in another format, once it has been held against the original.

    Args:
        embedder: of a run, an ONNX recogniser, or an exported ONNX file of 32 or 16 bits.
        form: one of ``FORMATS``.
        out: the file, ``.onnx`` or ``.xml``.
        fitted: photos that ranges are fitted to.
        judged: photos of other people.
        card: the model card; what the export changed is added to it.

    Returns:
        What was measured.

    Raises:
        ModelError: if the exported model does not say what the original does, or can't be made; nothing is written then.
        ConfigError: as check_request.
    """
    suffix = _suffix_of(form, out)
    network, prepare = embedder.network, embedder.preprocess
    description = Description(
        embedder.name,
        network.views,
        prepare.crop_size,
        prepare.aligned_size,
        network.dim,
        embedder.calibration,
        embedder.validation,
        card,
        read_regular(prepare.detector) if isinstance(prepare.detector, Path) else prepare.detector,
    )
    graph = _graph_of(network, description)
    save = _openvino(graph, form, fitted) if suffix == ".xml" else _onnx(graph, form, fitted)
    original = network(judged.images)
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / f"trial{suffix}"
        save.write(description, trial)
        exported = _opened(trial)(judged.images)
    parity = compare(original, exported, embedder.calibration, judged.person, judged.is_fake)
    why = refusal(parity, exact=form in ("onnx", "openvino"))
    if why is not None:
        raise ModelError(
            f"{out}: not written, since as {form} the model is no longer what it was: {why}; {parity.told()}"
        )
    opset = graph.opset_import[0].version
    said = f"{card.rstrip()}\n\n## Export\n\nAs {form} by bonaface {__version__}, opset {opset}. {parity.told()}.\n"
    save.write(replace(description, card=said), out)
    return parity


def recalibrate(embedder: Embedder, out: Path, card: str) -> None:
    """Write an exported ONNX model, of any number of bits, with another calibration and other thresholds.

    The graph stays as it is, and so does the fingerprint: a gallery of the model's embeddings fits the new file.

    Args:
        embedder: of the model, with the new calibration.
        out: the file, ``.onnx``.
        card: the model card.

    Raises:
        ConfigError: if the model is no ONNX file as ``bonaface export`` writes it.
    """
    network = embedder.network
    if not isinstance(network, OnnxNetwork):
        raise ConfigError(f"{network.name}: expected an .onnx as bonaface export writes it")
    description = replace(
        network.description,
        calibration=embedder.calibration,
        validation=embedder.validation,
        card=card,
        fingerprint=network.fingerprint,
    )
    _OnnxFile(onnx.load(network.file, load_external_data=False)).write(description, out)


def _graph_of(network: Network, description: Description) -> onnx.ModelProto:
    """One graph of all that a network computes."""
    made = as_torch(network)
    if made is None:
        return _exported_graph(network)
    from bonaface.exporting.graph import folded_graph  # torch, which a model that was exported before doesn't need

    return folded_graph(made.model.cpu(), description)


def _exported_graph(network: Network) -> onnx.ModelProto:
    """The graph of an exported network of 32 or 16 bits."""
    graph = onnx.load(network.file, load_external_data=False) if isinstance(network, OnnxNetwork) else None
    if graph is None or any(node.op_type == "QuantizeLinear" for node in graph.graph.node):
        raise ConfigError(
            f"{network.name}: was exported in 8 bits or for OpenVINO already; expected its run, or an .onnx of 16 or 32"
        )
    return graph


def _opened(file: Path) -> Network:
    network = OpenVinoNetwork(file) if file.suffix == ".xml" else OnnxNetwork.of(file)
    if network is None:
        raise ModelError(f"{file}: its notes on itself are lost")
    return network


@dataclass(frozen=True)
class _OnnxFile:
    graph: onnx.ModelProto

    def write(self, description: Description, out: Path) -> None:
        """The graph with a description."""
        made = onnx.ModelProto()
        made.CopyFrom(self.graph)
        del made.metadata_props[:]
        onnx.helper.set_model_props(made, description.as_metadata())
        made.producer_name, made.producer_version = MARK, __version__
        with atomic_write(out) as temporary:
            onnx.save(made, temporary)


@dataclass(frozen=True)
class _OpenVinoFiles:
    model: Any
    precision: str

    def write(self, description: Description, out: Path) -> None:
        """The weights first: an ``.xml`` stands for a whole model."""
        import openvino

        for key, text in description.as_metadata().items():
            self.model.set_rt_info(text, [MARK, key])
        self.model.set_rt_info(self.precision, [MARK, PRECISION])
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "model.xml"
            openvino.save_model(self.model, made, compress_to_fp16=False)
            # Of the two files one may be replaced and the other not: the first names the second's content.
            self.model.set_rt_info(digest_of(made.with_suffix(".bin").read_bytes()), [MARK, WEIGHTS])
            openvino.save_model(self.model, made, compress_to_fp16=False)
            for source, target in ((made.with_suffix(".bin"), out.with_suffix(".bin")), (made, out)):
                with atomic_write(target) as temporary:
                    temporary.write_bytes(source.read_bytes())


def _onnx(graph: onnx.ModelProto, form: str, fitted: Faces) -> _OnnxFile:
    if form == "onnx-int8":
        return _OnnxFile(int8_onnx(graph, fitted.feeds()))
    return _OnnxFile(simplified(half_weights(graph) if form == "onnx-fp16" else full_weights(graph)))


def _openvino(graph: onnx.ModelProto, form: str, fitted: Faces) -> _OpenVinoFiles:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "graph.onnx"
        onnx.save(graph, file)
        model = openvino_core().read_model(file)
        model = int8_openvino(model, fitted.feeds()) if form == "openvino-int8" else model
        return _OpenVinoFiles(model, "bf16" if form == "openvino-bf16" else "f32")
