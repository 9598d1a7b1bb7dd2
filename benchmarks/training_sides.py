"""Sides that benchmarks/training.py times, each in a process of its own: ``python training_sides.py SIDE JOB``, the job as JSON.

The interpreter of OML has neither Lightning nor, perhaps, bonaface: whatever a side needs is imported by that side.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from embedding_side import peak_mb
from processes import end_with_parent

__all__ = ["SIDES", "Job", "Timed"]

WARM_UP = 2
"""Steps of each turn that are not counted."""
MARGIN = 0.5


@dataclass(frozen=True)
class Job:
    """Settings of one timed process.

    Args:
        backbone: resnet18 or resnet34; of timm for the depthwise comparison.
        size: side of the network's input in pixels.
        n_labels: classes in a batch.
        n_instances: images of each.
        steps: that are timed.
        how: variant of the side: our precision, or what depthwise networks are trained with.
        folder: where table, weights and runs lie.
        device: cpu or cuda.
    """

    backbone: str
    size: int
    n_labels: int
    n_instances: int
    steps: int
    how: str = ""
    folder: str = ""
    device: str = "cpu"

    @property
    def weights(self) -> Path:
        """The weights that both sides start from."""
        return Path(self.folder) / f"{self.backbone}.pth"


@dataclass(frozen=True)
class Timed:
    """Figures of one timed process.

    Args:
        seconds: of each timed step.
        megabytes: largest resident set of the process; on a graphics card what torch held there at most.
        note: what the run chose itself.
        once: seconds that were spent before the first step on what is done once for a data set.
    """

    seconds: list[float]
    megabytes: float
    note: str = ""
    once: float = 0.0


def bonaface_steps(job: Job) -> Timed:
    """Training as ``bonaface train`` does it, with a clock that listens."""
    import torch
    from lightning.pytorch.callbacks import Callback
    from rich.console import Console
    from rich.progress import Progress

    from bonaface.config_io import parse_config
    from bonaface.models.face_model import build_model
    from bonaface.training.datamodule import prepare
    from bonaface.training.module import FaceTraining
    from bonaface.training.optim import Length
    from bonaface.training.run import RunFolder
    from bonaface.training.sources import clean, read_sources
    from bonaface.training.trainer import Compute, fit

    class Clock(Callback):
        def __init__(self) -> None:
            self.ends: list[float] = []

        def on_train_batch_end(self, *_: Any) -> None:
            if job.device == "cuda":
                torch.cuda.synchronize()
            self.ends.append(time.perf_counter())

    clock, console, steps = Clock(), Console(quiet=True), WARM_UP + job.steps
    config = parse_config([f"--{name}={value}" for name, value in _settings(job, steps).items()])
    run = Path(config.out) / config.name
    started = time.perf_counter()
    model = build_model(config.model)
    with Progress(disable=True) as progress:
        tables, _, _ = clean(read_sources(config.faces), config.faces, config.batch, console, progress)
        faces = prepare(tables, model.views, config.faces, config.batch, config.seed, console, progress)
    once = time.perf_counter() - started
    training = FaceTraining(model, faces, faces.sampler(), Length(steps, steps), config.loss, config.optimizer)
    fit(training, RunFolder(run), Compute(job.device, config.precision), console, trackers=[clock])
    return Timed(_between(clock.ends), _peak(job.device), _chosen(run), once)


def _settings(job: Job, steps: int) -> dict[str, object]:
    folder = Path(job.folder)
    name = f"{job.backbone}-{job.size}-{job.n_labels}x{job.n_instances}-{job.how}"
    return {
        "name": name,
        "out": folder / "runs",
        "faces.train": folder / "faces.csv",
        "faces.cache": folder / "cache" / name,
        "faces.crop_size": job.size,
        "faces.flip": 0.5,  # as OML's transform
        "faces.val_pairs": 8,
        "model.identity.backbone": f"{job.backbone}_imagenet1k_v1",
        "model.identity.weights": job.weights,
        "model.identity.size": job.size,
        "batch.n_labels": job.n_labels,
        "batch.n_instances": job.n_instances,
        "loss.margin": MARGIN,
        "optimizer.lr": 1e-4,
        "steps": steps,
        "val_every": steps,
        "precision": job.how,
        "device": job.device,
    }


def _chosen(run: Path) -> str:
    """The precision and layout that a run measured to be the fastest; nothing where one was set."""
    from bonaface.training.precision import Precision

    note = run / "precision.json"
    if not note.exists():
        return ""
    return str(Precision(**json.loads(note.read_text(encoding="utf-8"))))


def oml_steps(job: Job) -> Timed:
    """The training loop of OML's documentation, with a table and weights of ours."""
    import pandas as pd
    import torch
    from oml.datasets import ImageLabeledDataset
    from oml.losses import TripletLossWithMiner
    from oml.miners import AllTripletsMiner
    from oml.models import ResnetExtractor
    from oml.samplers import BalanceSampler
    from oml.transforms.images.torchvision import get_augs_torch
    from torch.utils.data import DataLoader

    table = pd.read_csv(Path(job.folder) / "faces.csv")
    table = table[table["split"] == "train"].reset_index(drop=True)
    model = ResnetExtractor(str(job.weights), job.backbone, gem_p=None, remove_fc=True, normalise_features=True).train()
    model = model.to(job.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    train = ImageLabeledDataset(table, dataset_root=job.folder, transform=get_augs_torch(job.size))
    criterion = TripletLossWithMiner(margin=MARGIN, miner=AllTripletsMiner())
    sampler = BalanceSampler(train.get_labels(), n_labels=job.n_labels, n_instances=job.n_instances)
    loader = DataLoader(train, batch_sampler=sampler, num_workers=1)
    ends: list[float] = []
    while len(ends) < WARM_UP + job.steps:
        for batch in loader:
            embeddings = model(batch["input_tensors"].to(job.device))
            loss = criterion(embeddings, batch["labels"].to(job.device))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if job.device == "cuda":
                torch.cuda.synchronize()
            ends.append(time.perf_counter())
            if len(ends) == WARM_UP + job.steps:
                break
    return Timed(_between(ends), _peak(job.device))


def depthwise_steps(job: Job) -> Timed:
    """Steps of a network of depthwise convolutions in bfloat16 that tell random images of two kinds apart: no data."""
    from contextlib import nullcontext

    import timm
    import torch

    from bonaface.models.depthwise import FastDepthwise
    from bonaface.training.trainer import keep_freed_memory

    kept = keep_freed_memory() if "memory" in job.how else True
    torch.manual_seed(0)
    net = timm.create_model(job.backbone, pretrained=False, num_classes=1)
    net = net.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
    images = torch.randn(job.n_labels * job.n_instances, 3, job.size, job.size)
    images = images.contiguous(memory_format=torch.channels_last)
    ends: list[float] = []
    truth = torch.randint(0, 2, (len(images), 1)).float()
    for _ in range(WARM_UP + job.steps):
        kernels = FastDepthwise() if "gradients" in job.how else nullcontext()
        with torch.autocast("cpu", torch.bfloat16), kernels:
            made = net(images)
        torch.nn.functional.binary_cross_entropy_with_logits(made.float(), truth).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        ends.append(time.perf_counter())
    return Timed(_between(ends), peak_mb(), "" if kept else "this C library keeps no memory")


def _peak(device: str) -> float:
    import torch

    return torch.cuda.max_memory_allocated() / 1e6 if device == "cuda" else peak_mb()


def _between(ends: Sequence[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(ends[WARM_UP - 1 :])]


SIDES: dict[str, Callable[[Job], Timed]] = {
    "bonaface": bonaface_steps,
    "oml": oml_steps,
    "depthwise": depthwise_steps,
}


if __name__ == "__main__":
    end_with_parent()
    print(json.dumps(asdict(SIDES[sys.argv[1]](Job(**json.loads(sys.argv[2]))))))
