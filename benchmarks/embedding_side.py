"""One side of benchmarks/embedding.py, in a process of its own: ``embedding_side.py bonaface|oml JSON``.

The JSON is one object: for bonaface ``model``, what ``--model`` takes; for OML ``arch``, ``weights``, ``size``, ``workers`` and
``filtering`` (own, area or cubic). It then answers each line of its standard input, ``{"paths": FILE, "save": FILE or null}``
with the paths one a line, by ``{"seconds": ..., "peak_mb": ...}``. OML's environment needs nothing of bonaface's.
"""

from __future__ import annotations

import json
import platform
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from processes import end_with_parent

Embed = Callable[[list[Path]], np.ndarray]
"""Paths to vectors, shape ``(n, dim)``."""

_BATCH = 64
"""Images that a network is given at once, on both sides: what bonaface's Embedder takes."""


def ours(job: dict[str, Any]) -> Embed:
    """As ``bonaface submit`` and ``evaluate`` embed."""
    from bonaface.inference.embedder import load_embedder

    embedder = load_embedder(job["model"], device="cpu")

    def embed(paths: list[Path]) -> np.ndarray:
        made = embedder.embed(paths)
        if made.faults:
            raise ValueError(f"unreadable: {made.faults}")
        distinct = made.distinct.identity
        return distinct if len(distinct) == len(paths) else distinct[made.place]  # indexing copies

    return embed


def omls(job: dict[str, Any]) -> Embed:
    """As OML's documentation embeds, with its dataset and its own transform; its loader's workers are the job's."""
    import albumentations as albu
    import cv2
    from oml.datasets import ImageBaseDataset
    from oml.inference import inference
    from oml.models import ResnetExtractor
    from oml.transforms.images.albumentations import get_normalisation_resize_albu

    extractor = ResnetExtractor(
        weights=job["weights"], arch=job["arch"], gem_p=None, remove_fc=True, normalise_features=True
    ).eval()
    transform = get_normalisation_resize_albu(im_size=job["size"])
    if job["filtering"] != "own":  # as bonaface resizes, to compare vectors
        filtering = {"area": cv2.INTER_AREA, "cubic": cv2.INTER_CUBIC}[job["filtering"]]
        first = albu.LongestMaxSize(max_size=job["size"], interpolation=filtering)
        transform = albu.Compose([first, *transform.transforms[1:]])

    def embed(paths: list[Path]) -> np.ndarray:
        dataset = ImageBaseDataset(paths=paths, transform=transform)
        return np.asarray(inference(extractor, dataset, batch_size=_BATCH, num_workers=job["workers"]))

    return embed


def peak_mb() -> float:
    """The most memory that this process held, its libraries included, without its children's."""
    if platform.system() == "Linux":  # getrusage would count what the process that started this one held
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        (line,) = (line for line in lines if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def main() -> None:
    """Loads the model, then answers line after line."""
    end_with_parent()
    embed = {"bonaface": ours, "oml": omls}[sys.argv[1]](json.loads(sys.argv[2]))
    for line in sys.stdin:
        asked = json.loads(line)
        paths = [Path(each) for each in Path(asked["paths"]).read_text(encoding="utf-8").splitlines()]
        started = time.perf_counter()
        vectors = embed(paths)
        seconds = time.perf_counter() - started
        if asked["save"]:
            np.save(asked["save"], vectors)
        print(json.dumps({"seconds": seconds, "peak_mb": peak_mb()}), flush=True)


if __name__ == "__main__":
    main()
