"""Precision and memory format of training: the fastest on this CPU, by a short measurement."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import torch
from rich.console import Console

from bonaface.errors import ConfigError
from bonaface.io import atomic_write, parse_json
from bonaface.models.depthwise import FastDepthwise
from bonaface.models.face_model import Branch
from bonaface.reading import read_regular_text

__all__ = ["Precision", "choose_precision", "fastest", "lightning_precision"]

_IMAGES = 16
_LONG = 2.0
"""Seconds of a step beyond which one is enough."""


@dataclass(frozen=True)
class Precision:
    """Precision and memory format.

    Args:
        precision: Lightning's name: 32-true, bf16-mixed or 16-mixed.
        channels_last: whether the channels of a pixel lie side by side in memory.
    """

    precision: str
    channels_last: bool = True

    @property
    def memory_format(self) -> torch.memory_format:
        """Of weights and images."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def __str__(self) -> str:
        """For the log."""
        return f"{self.precision.split('-')[0]} with channels {'last' if self.channels_last else 'first'}"


def choose_precision(
    trained: Mapping[str, Branch], setting: str, device: str, file: Path | None, console: Console
) -> Precision:
    """The precision that the setting names, or for ``auto`` on a CPU the fastest by measurement, noted for when the run resumes.

    Args:
        trained: the branches that are trained.
        setting: auto, 32, bf16 or 16.
        device: cpu or cuda.
        file: note of a measured choice; None measures nothing, since several processes must agree.
        console: where a measured choice is shown.

    Raises:
        ConfigError: if the note is not as it was written.
    """
    if setting != "auto" or device != "cpu" or file is None:
        return Precision(lightning_precision(setting, device))
    if file.exists():
        try:
            return Precision(**parse_json(read_regular_text(file)))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{file}: not the note of a precision ({error}): delete it to measure again") from error
    speeds = fastest(trained)
    best = next(iter(speeds))
    console.log(
        f"precision: {', '.join(f'{how} {speed:.0f} images/s' for how, speed in speeds.items())}: the first is used"
    )
    with atomic_write(file) as temporary:
        temporary.write_text(json.dumps(asdict(best)), encoding="utf-8")
    return best


def fastest(trained: Mapping[str, Branch]) -> dict[Precision, float]:
    """Images a second of training steps on this CPU, forward and backward of all branches, by how they compute; fastest first.

    Copies are measured: weights, running statistics and random numbers stay as they are.
    """
    precisions = ["32-true"] + (["bf16-mixed"] if _cpu_has_bf16() else [])
    speeds = {}
    with torch.random.fork_rng(devices=[]):
        for precision, channels_last in product(precisions, (True, False)):
            how = Precision(precision, channels_last)
            speeds[how] = _IMAGES / sum(_seconds(branch, how) for branch in trained.values())
    return dict(sorted(speeds.items(), key=lambda item: -item[1]))


def _seconds(branch: Branch, how: Precision) -> float:
    """Of a training step of one branch, after a first one that is not counted unless it is long."""
    net = copy.deepcopy(branch).train()
    net.backbone.lay_out(how.memory_format)
    images = torch.randint(0, 256, (_IMAGES, 3, branch.view.size, branch.view.size), dtype=torch.uint8)
    least = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=how.precision != "32-true"), FastDepthwise():
            made = net(images)
        made.float().square().mean().backward()
        least = min(least, time.perf_counter() - started)
        if least > _LONG:
            break
    return least


def lightning_precision(setting: str, device: str) -> str:
    """Lightning's name of a precision; ``auto`` takes bf16 where the device computes it natively."""
    named = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
    if setting in named:
        return named[setting]
    native = torch.cuda.is_bf16_supported(including_emulation=False) if device == "cuda" else _cpu_has_bf16()
    return "bf16-mixed" if native else "32-true"


def _cpu_has_bf16() -> bool:
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe()) if probe else False
