"""Input format of an ONNX face network, which its file does not state: a description beside it does, or its name."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from bonaface.errors import ConfigError, ModelError
from bonaface.extras import require
from bonaface.reading import read_regular_text
from bonaface.verification.calibration import finite

__all__ = ["InputFormat", "input_format"]

Triple = tuple[float, float, float]
_LARGEST_SIDE = 4096
_LARGEST_VALUE = 255
_EXPECTED = "expected size, channels (rgb or bgr), mean and std by name"


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
    values = _mapping(_read(file), file)
    try:
        size, channels = _side(values["size"]), values.get("channels", "rgb")
        mean, std = _triple("mean", values.get("mean", 0.0)), _triple("std", values.get("std", 1.0))
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"{file}: {error}; {_EXPECTED}") from error
    if channels not in ("rgb", "bgr"):
        raise ModelError(f"{file}: channels: expected rgb or bgr, got {channels}")
    if min(mean) < 0 or max(mean) > _LARGEST_VALUE:
        raise ModelError(f"{file}: mean: expected 0 to {_LARGEST_VALUE}, as it is subtracted, got {values['mean']}")
    if min(std) <= 0:
        raise ModelError(f"{file}: std: expected more than 0, as it is divided by, got {values['std']}")
    return InputFormat(size, channels, mean, std)


def _mapping(content: Any, file: Path) -> Mapping[str, Any]:
    """The content with the keys of a description alone; a size is one of them."""
    if not isinstance(content, dict):
        raise ModelError(f"{file}: names no keys; {_EXPECTED}")
    known = [field.name for field in fields(InputFormat)]
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            told = f"did you mean {near[0]}?" if near else _EXPECTED
            raise ModelError(f"{file}: {key}: there is no such key; {told}")
    if "size" not in content:
        raise ModelError(f"{file}: says no size; {_EXPECTED}")
    return content


def _side(value: Any) -> int:
    side = finite("size", value)
    if side != int(side) or not 1 <= side <= _LARGEST_SIDE:
        raise ValueError(f"size: expected a whole number of pixels from 1 to {_LARGEST_SIDE}, got {value}")
    return int(side)


def _read(file: Path) -> Any:
    """Content of the file; a ModelError where it is neither JSON nor YAML."""
    if file.suffix == ".json":
        return _read_json(file)
    require("evaluate", "yaml", what=str(file), instead=f"write the same as {file.stem}.json")
    from bonaface.strict_yaml import read_yaml

    try:
        return read_yaml(file, _EXPECTED)
    except ConfigError as error:
        raise ModelError(str(error)) from error


def _read_json(file: Path) -> Any:
    try:
        return json.loads(read_regular_text(file), object_pairs_hook=_each_once)
    except OSError as error:
        raise ModelError(f"{file}: can't be read ({(error.strerror or str(error)).lower()}); {_EXPECTED}") from error
    except RecursionError as error:
        raise ModelError(f"{file}: is nested too deeply; {_EXPECTED}") from error
    except UnicodeDecodeError as error:
        raise ModelError(f"{file}: is no UTF-8 text; {_EXPECTED}") from error
    except ValueError as error:
        raise ModelError(f"{file}: is no JSON ({str(error)[:1].lower()}{str(error)[1:]}); {_EXPECTED}") from error


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    for key, count in Counter(key for key, _ in pairs).items():
        if count > 1:
            raise ValueError(f'"{key}" stands twice')
    return dict(pairs)


def _triple(name: str, value: Any) -> Triple:
    values = value if isinstance(value, list) else [value] * 3
    if len(values) != 3:
        raise ValueError(f"{name}: {len(values)} numbers where 1 or 3 are expected")
    first, second, third = (finite(name, each) for each in values)
    return first, second, third
