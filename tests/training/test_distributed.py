"""Two processes that train together do what one process does with both their batches."""

import contextlib
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bonaface.models.state_dicts import read_state_dict
from bonaface.training.datamodule import TrainingFaces
from bonaface.training.distributed import ALONE, Distributed
from bonaface.training.train import train

ROOT = Path(__file__).parent.parent.parent
TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


@given(st.integers(1, 40), st.integers(1, 7))
def test_shares_are_equally_long_and_together_all_of_it(count, world):
    rows = np.arange(100, 100 + count)
    shares = [Distributed(rank, world, world).share(rows) for rank in range(world)]
    assert len({len(share) for share in shares}) == 1
    assert np.concatenate(shares)[:count].tolist() == rows.tolist()


def test_without_torchrun_there_is_one_process(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setenv("RANK", "3")
    assert Distributed.from_environment() == ALONE
    assert ALONE.is_main
    assert ALONE.nodes == 1


def test_torchrun_says_which_process_this_is(monkeypatch):
    said = {"TORCHELASTIC_RUN_ID": "x", "RANK": "5", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    assert Distributed.from_environment() == Distributed(5, 8, 4)
    assert Distributed.from_environment().nodes == 2
    assert not Distributed.from_environment().is_main


def torchrun(words: list[str]) -> str:
    """What two processes said."""
    process = subprocess.Popen(
        [sys.executable, "-m", *TORCHRUN, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=900)  # a busy machine takes a minute to import torch
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, said
    return said


class Joint:
    """The batches of all processes as one."""

    def __init__(self, samplers):
        self.samplers = samplers

    def __len__(self):
        return len(self.samplers[0])

    def batch(self, step):
        return np.concatenate([sampler.batch(step) for sampler in self.samplers])


@pytest.mark.parametrize("loss", ["triplet", "adaface"])
def test_two_processes_train_as_one_with_both_batches(words, config, tmp_path, monkeypatch, loss):
    """Losses, error rates and weights; the network has no batch norm, whose statistics each process on a CPU has for itself."""
    settings = {
        "batch.sampler": "paired_fakes",
        "batch.n_labels": 2,
        "model.identity.backbone": "timm:test_vit",
        "model.authenticity": "{backbone: timm:test_vit, weights: none, size: 32}",
        "faces.flip": 0,
        "optimizer.name": "sgd",
        "optimizer.lr": 0.05 if loss == "triplet" else 0.005,
        "loss.name": loss,
    }
    said = torchrun(["-m", "bonaface", "train", *words("two", **settings)])
    assert said.count("best val EER") == 1

    alone = TrainingFaces.sampler

    def joint(self, distributed=ALONE):
        return Joint([alone(self, Distributed(rank, 2, 2)) for rank in range(2)])

    monkeypatch.setattr(TrainingFaces, "sampler", joint)
    one = train(config("one", **settings), Console(file=io.StringIO()))
    two = tmp_path / "runs" / "two"
    histories = [pd.read_csv(run / "metrics.csv").drop(columns="images_per_second") for run in (one, two)]
    pd.testing.assert_frame_equal(*histories, atol=1e-5, rtol=0)
    assert len(histories[0]) == 4
    ours, theirs = (read_state_dict(run / "best.ckpt") for run in (one, two))
    for name, weight in ours.items():
        torch.testing.assert_close(theirs[name], weight, atol=1e-5, rtol=0)
