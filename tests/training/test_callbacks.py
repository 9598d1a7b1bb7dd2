"""A checkpoint that can't be written leaves the one before it, on a disk that is really full."""

import os
import subprocess

import pytest
import torch

from bonaface.errors import DataError
from bonaface.training.callbacks import AtomicCheckpoints


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can make a disk that is full")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_leaves_the_last_good_checkpoint(small_disk):
    writer, file = AtomicCheckpoints(), small_disk / "last.ckpt"
    writer.save_checkpoint({"weights": torch.ones(1000)}, file)
    with pytest.raises(DataError, match=r"last\.ckpt: can't be written, the disk is full"):
        writer.save_checkpoint({"weights": torch.zeros(200_000)}, file)
    assert [path.name for path in small_disk.iterdir()] == ["last.ckpt"]
    assert torch.load(file, weights_only=True)["weights"].sum() == 1000


def test_a_checkpoint_is_read_back(tmp_path):
    writer = AtomicCheckpoints()
    writer.save_checkpoint({"step": 3, "weights": torch.arange(4)}, tmp_path / "new" / "a.ckpt")
    content = writer.load_checkpoint(tmp_path / "new" / "a.ckpt", weights_only=True)
    assert content["step"] == 3
    assert content["weights"].tolist() == [0, 1, 2, 3]
