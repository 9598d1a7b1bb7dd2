"""Checks a graphics card: training steps in fp32 and bf16, DDP, and embedding by torch and by onnxruntime-gpu; at most 8 minutes.

    make gpu-check
    python benchmarks/gpu_check.py [--oml-python .venv-oml/bin/python]

Prints the card's name, times and peak memory; OML's training step stands beside ours where its interpreter has CUDA. Exit code 0:
all is well; 1: a check failed, and is named; 2: there is no card.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from results import say
from training import write_faces, write_weights
from training_sides import Job, Timed

HERE = Path(__file__).parent
SECONDS = 480.0
"""What the whole check may take; a part that would begin later is left out and named."""
LEAST_COSINE = {"torch": 0.9999, "onnxruntime": 0.9999}
"""Between a photo's vectors by the card and by the processor: TF32 moves them by less."""


@dataclass(frozen=True)
class Sizes:
    """How much is computed.

    Args:
        backbone: of torchvision, which OML has too.
        side: of its input in px.
        n_labels: classes of a training batch, each of ``n_instances`` images.
        n_instances: images of a class.
        steps: that are timed.
        photos: that are embedded.
    """

    backbone: str = "resnet34"
    side: int = 112
    n_labels: int = 25
    n_instances: int = 7
    steps: int = 30
    photos: int = 1024


class CheckError(Exception):
    """A check that failed, in one sentence."""


def side(python: str, name: str, job: Job, seconds: float) -> Timed:
    """One side of benchmarks/training_sides.py in a process of its own."""
    words = [python, str(HERE / "training_sides.py"), name, json.dumps(asdict(job))]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise CheckError(f"{name}: not done after {seconds:.0f} s") from None
    if done.returncode:
        raise CheckError(f"{name}: {(done.stderr.strip().splitlines() or ['failed without a word'])[-1]}")
    return Timed(**json.loads(done.stdout.splitlines()[-1]))


def check_training(sizes: Sizes, device: str, folder: Path, oml: Path | None, seconds: float) -> None:
    """Steps of ``bonaface train`` in 32 bits and in bf16, and of OML's loop."""
    write_faces(folder)
    write_weights(folder, sizes.backbone)
    job = Job(
        sizes.backbone, sizes.side, sizes.n_labels, sizes.n_instances, sizes.steps, folder=str(folder), device=device
    )
    sides = {how: (sys.executable, "bonaface", replace(job, how=how)) for how in ("32", "bf16")}
    if oml is not None and oml.exists():
        sides["oml"] = (str(oml.absolute()), "oml", job)
    taken: dict[str, float] = {}
    for name, (python, which, own) in sides.items():
        timed = side(python, which, own, seconds)
        taken[name] = 1e3 * statistics.median(timed.seconds)
        say({"training step": name, "ms": round(taken[name], 1), "peak MB": round(timed.megabytes)})
    if "oml" in taken:
        say(
            {
                "training step": "times as fast as OML",
                "32": taken["oml"] / taken["32"],
                "bf16": taken["oml"] / taken["bf16"],
            }
        )
    if device == "cuda" and taken["bf16"] > 1.1 * taken["32"]:
        raise CheckError("training in bf16 is slower than in 32 bits; precision: auto would choose 32")


def check_ddp(device: str, seconds: float) -> None:
    """Gradients of a network in DistributedDataParallel, one process, against its own."""
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1", __file__]
    try:
        done = subprocess.run(
            [*words, "--ddp", device],
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
            env=dict(os.environ),
        )
    except subprocess.TimeoutExpired:
        raise CheckError(f"DDP: not done after {seconds:.0f} s") from None
    if done.returncode:
        raise CheckError(f"DDP: {(done.stderr.strip().splitlines() or ['failed without a word'])[-1]}")
    say({"DDP": done.stdout.strip().splitlines()[-1]})


def ddp_process(device: str) -> None:
    """What torchrun starts: raises AssertionError where the gradients differ."""
    import torch
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3),
        torch.nn.BatchNorm2d(8),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(8 * 900, 16),
    ).to(device)
    images = torch.randn(16, 3, 32, 32, device=device)
    found = []
    for model in (net, DistributedDataParallel(net)):
        net.zero_grad()
        with torch.autocast(device, torch.bfloat16):
            made = model(images)
        made.float().square().mean().backward()
        found.append([each.grad.clone() for each in net.parameters() if each.grad is not None])
    for alone, together in zip(*found, strict=True):
        torch.testing.assert_close(alone, together)
    print(f"gradients of {len(found[0])} tensors are those of one process, by {dist.get_backend()}")
    dist.destroy_process_group()


def check_embedding(sizes: Sizes, device: str, folder: Path) -> None:
    """Images a second by torch and by ONNX Runtime on the device, and the cosines to what the processor says."""
    import onnx
    import torch

    from bonaface.config import BranchConfig, ModelConfig
    from bonaface.exporting.graph import folded_graph
    from bonaface.exporting.simplification import simplified
    from bonaface.inference.backends.onnx import OnnxNetwork
    from bonaface.inference.backends.torch import TorchNetwork
    from bonaface.inference.metadata import Description
    from bonaface.models.face_model import build_model

    torch.manual_seed(0)
    branch = BranchConfig(backbone=f"timm:{sizes.backbone}", weights="none", size=sizes.side)
    model = build_model(ModelConfig(identity=branch)).eval()
    side_px = model.views["identity"].size
    description = Description("check", model.views, side_px, side_px, model.identity.dim)
    graph = simplified(folded_graph(model, description))
    onnx.helper.set_model_props(graph, description.as_metadata())
    onnx.save(graph, folder / "check.onnx")
    rng = np.random.default_rng(0)
    images = {"identity": rng.integers(0, 256, (sizes.photos, side_px, side_px, 3), dtype=np.uint8)}
    few = {"identity": images["identity"][:16]}
    reference = TorchNetwork(model, "check", "cpu")(few).identity
    networks: dict[str, Callable[[], object]] = {
        "torch": lambda: TorchNetwork(model, "check", device),
        "onnxruntime": lambda: OnnxNetwork.of(folder / "check.onnx", device),
    }
    for name, make in networks.items():
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        network = make()
        assert isinstance(network, TorchNetwork | OnnxNetwork)
        cosine = float((network(few).identity * reference).sum(axis=1).min())
        network(images)  # warms up: kernels are chosen by the size of a batch
        started = time.perf_counter()
        network(images)
        row: dict[str, float | str | int] = {
            "embedding": network.runtime,
            "images/s": round(sizes.photos / (time.perf_counter() - started), 1),
        }
        if device == "cuda" and name == "torch":
            row["peak MB"] = round(torch.cuda.max_memory_allocated() / 1e6)
        say({**row, "lowest cosine to the processor": round(cosine, 6)})
        if cosine < LEAST_COSINE[name]:
            raise CheckError(
                f"{name} on {device}: cosine {cosine:.5f} to the processor's; expected {LEAST_COSINE[name]}"
            )


def run_checks(sizes: Sizes, device: str, oml: Path | None, seconds: float = SECONDS) -> list[str]:
    """Every check in turn; what failed, one sentence each."""
    from bonaface.errors import BonafaceError

    started, failed = time.monotonic(), []

    def left() -> float:
        return seconds - (time.monotonic() - started)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checks: dict[str, Callable[[], None]] = {
            "embedding": lambda: check_embedding(sizes, device, folder),
            "DDP": lambda: check_ddp(device, left()),
            "training": lambda: check_training(sizes, device, folder, oml, left() / 3),
        }
        for what, check in checks.items():
            if left() < 1:
                failed.append(f"{what}: left out, {seconds:.0f} s were over")
                continue
            try:
                check()
            except (CheckError, BonafaceError) as error:
                failed.append(str(error))
    print(f"{time.monotonic() - started:.0f} s")
    return failed


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads the command line, checks, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oml-python", type=Path, metavar="PYTHON", help="interpreter with open-metric-learning")
    parser.add_argument("--ddp", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.ddp:
        ddp_process(options.ddp)
        return 0
    import torch

    if not torch.cuda.is_available():
        print("gpu-check: this machine has no CUDA device that torch can use; nothing was checked", file=sys.stderr)
        return 2
    card = torch.cuda.get_device_properties(0)
    print(f"{card.name}, {card.total_memory / 2**30:.0f} GiB; torch {torch.__version__}, CUDA {torch.version.cuda}")
    failed = run_checks(Sizes(), "cuda", options.oml_python)
    for why in failed:
        print(f"failed: {why}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
