"""Input format of an ONNX face network, which its file does not state: a description beside it does, or its name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bonaface.errors import ModelError
from bonaface.extras import require
from bonaface.reading import read_regular_text
from bonaface.verification.calibration import finite

__all__ = ["InputFormat", "input_format"]

Triple = tuple[float, float, float]
_LARGEST_SIDE = 4096


@dataclass(frozen=True)
class InputFormat:
    """Format of the images that a network takes.

    Args:
        size: side in pixels.
        channels: order of the colour channels.
        mean: subtracted from each channel of values in 0..255, in the network's order of channels.
        std: divided by, likewise.
    """

    size: int
    channels: Literal["rgb", "bgr"] = "rgb"
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)


# Files of these names are known; any other ONNX file is described by a file of InputFormat's fields beside it.
KNOWN_FORMATS = {
    "mobilefacenet_512": InputFormat(112, "bgr", (127.5,) * 3, (127.5,) * 3),
    "sface_2021dec": InputFormat(112, "rgb"),
    "face_recognition_sface_2021dec": InputFormat(112, "rgb"),
}


def input_format(file: Path) -> InputFormat:
    """The input format of an ONNX face network: from FILE.json or FILE.yaml beside it, or by its known name.

    Raises:
        ModelError: if none of them says it, or a description is not what it should be.
        MissingExtraError: if it is described in YAML and PyYAML is not installed.
    """
    for suffix in (".json", ".yaml"):
        beside = file.with_suffix(suffix)
        if beside.exists():
            return _described(beside)
    if file.stem in KNOWN_FORMATS:
        return KNOWN_FORMATS[file.stem]
    raise ModelError(
        f"{file}: how its images must be prepared is not known: write {file.stem}.json beside it, "
        'e.g. {"size": 112, "channels": "bgr", "mean": [127.5, 127.5, 127.5], "std": [127.5, 127.5, 127.5]}'
    )


def _described(file: Path) -> InputFormat:
    try:
        values = _read(file)
        form = InputFormat(
            size=_side(values["size"]),
            channels=values.get("channels", "rgb"),
            mean=_triple("mean", values.get("mean", 0.0)),
            std=_triple("std", values.get("std", 1.0)),
        )
    except (AttributeError, KeyError, OSError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ModelError(f"{file}: expected size, channels (rgb or bgr), mean and std, but: {error!r}") from error
    if form.channels not in ("rgb", "bgr") or min(form.std) <= 0:
        raise ModelError(f"{file}: expected channels rgb or bgr, and a positive std")
    return form


def _side(value: Any) -> int:
    if isinstance(value, bool) or value != int(value) or not 1 <= value <= _LARGEST_SIDE:
        raise ValueError(f"size: expected a whole number of pixels from 1 to {_LARGEST_SIDE}, got {value}")
    return int(value)


def _read(file: Path) -> Mapping[str, Any]:
    """Content of the file; a ValueError where it is neither JSON nor YAML."""
    text = read_regular_text(file)
    if file.suffix == ".json":
        found: Mapping[str, Any] = json.loads(text)
        return found
    require("evaluate", "yaml", what=str(file), instead=f"write the same as {file.stem}.json")
    import yaml

    from bonaface.strict_yaml import load_yaml

    try:
        found = load_yaml(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    return found


def _triple(name: str, value: Any) -> Triple:
    values = (value,) * 3 if isinstance(value, int | float) else tuple(value)
    if len(values) != 3:
        raise ValueError(f"{name}: {len(values)} numbers where 1 or 3 are expected")
    first, second, third = (finite(name, each) for each in values)
    return first, second, third
