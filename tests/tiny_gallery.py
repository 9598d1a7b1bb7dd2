"""Photos of a tiny model to enrol, and Milvus Lite as a server."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from bonaface.gallery.collection_name import ModelMark
from bonaface.gallery.people import NewPhoto

DIM = 16
MARK = ModelMark("tiny", "f" * 32, DIM, True)


def unit(rng: np.random.Generator) -> np.ndarray:
    vector = rng.standard_normal(DIM).astype(np.float32)
    return vector / np.linalg.norm(vector)


def photo(n: int, identity: np.ndarray | None = None) -> NewPhoto:
    return NewPhoto(b"image %d" % n, unit(np.random.default_rng(n)) if identity is None else identity, n / 4, {"n": n})


class MilvusServer:
    """Milvus Lite as a server of its own, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder / "server.db", 19_000 + os.getpid() % 900
        self.uri = f"http://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        """Returns when it listens."""
        code = f"from milvus_lite.adapter.grpc.server import run_server as r; r({str(self._folder)!r}, '127.0.0.1', {self._port})"
        self._process = subprocess.Popen([sys.executable, "-uc", code], stdout=subprocess.PIPE, text=True)
        assert "listening" in self._process.stdout.readline()

    def kill(self) -> None:
        """As a power cut does."""
        self._process.kill()
        self._process.communicate()
