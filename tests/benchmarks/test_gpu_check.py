"""The check of a graphics card, in tiny form on the processor."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TINY = """
import sys
import gpu_check
sizes = gpu_check.Sizes("resnet18", 32, 4, 2, 2, 20)
failed = gpu_check.run_checks(sizes, "cpu", None, seconds=1800.0)
print(failed)
sys.exit(bool(failed))
"""


def test_every_part_runs_on_the_processor():
    words = [sys.executable, "-c", TINY]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=BENCHMARKS, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    for part in ("PyTorch on CPU", "ONNX Runtime on CPU", "by gloo", "training step 32", "training step bf16"):
        assert part in done.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_without_a_card_it_says_so():
    words = [sys.executable, "gpu_check.py"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=BENCHMARKS)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "gpu-check: this machine has no CUDA device that torch can use; nothing was checked"
    ]
