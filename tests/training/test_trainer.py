import platform
import subprocess
import sys

import pytest

from bonaface.training import trainer

GROWTH = """
import resource, sys
import torch
from bonaface.training.trainer import keep_freed_memory

taken = keep_freed_memory() if sys.argv[1] == "kept" else None
for _ in range(20):
    torch.zeros(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.zeros(2**24)
print(taken, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
on_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library has no mallopt of glibc's")


def faults(how: str) -> tuple[str, int]:
    """What the call said, and the page faults of 10 tensors of 64 MiB after 20; it can't be undone, so in a process of its own."""
    done = subprocess.run([sys.executable, "-c", GROWTH, how], capture_output=True, text=True, check=True)
    taken, count = done.stdout.split()
    return taken, int(count)


@on_glibc
def test_freed_memory_is_used_again_without_page_faults():
    taken, kept = faults("kept")
    _, returned = faults("returned")
    assert taken == "True"
    assert kept < returned / 10, (kept, returned)


def test_other_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(trainer.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(trainer.ctypes, "CDLL", None)  # whoever asks for the library fails
    assert trainer.keep_freed_memory() is False
