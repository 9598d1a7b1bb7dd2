"""A service that answers in milliseconds: its network sees patterns of colours for people, and a grid for a forgery."""

import io
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image

from bonaface.gallery.collection_name import ModelMark
from bonaface.gallery.gallery import Gallery
from bonaface.images.crops import InputSpec
from bonaface.images.preprocessing import Preprocessor
from bonaface.inference.embedder import Embedder
from bonaface.inference.verifier import Verifier
from bonaface.service.app import create_app
from bonaface.service.settings import ServiceSettings
from bonaface.verification.calibration import Calibration, Logistic
from bonaface.verification.embeddings import Embeddings
from bonaface.verification.thresholds import Threshold, Validation

SIDE = 40
HERE = "http://127.0.0.1"


class PatternNetwork:
    """Identity is the pattern of an image's sixteen squares; an image whose rows alternate looks forged."""

    name, dim, fingerprint = "patterns", 48, "ab" * 16

    def __init__(self, seconds: float = 0.0) -> None:
        self.views = {"identity": InputSpec("face_crop", SIDE), "authenticity": InputSpec("face_crop", SIDE)}
        self.seconds = seconds
        self.batches: list[int] = []

    def __call__(self, images) -> Embeddings:
        stack = images["identity"].astype(np.float32)  # (n, 40, 40, 3)
        self.batches.append(len(stack))
        time.sleep(self.seconds)
        squares = stack.reshape(-1, 4, 10, 4, 10, 3).mean(axis=(2, 4)).reshape(-1, 16, 3)
        flat = (squares - squares.mean(axis=1, keepdims=True)).reshape(len(stack), -1) + 1e-3  # (n, 48)
        identity = flat / np.linalg.norm(flat, axis=1, keepdims=True)
        grid = np.abs(stack[:, ::2] - stack[:, 1::2]).mean(axis=(1, 2, 3))
        return Embeddings(identity, 8 - grid)


def pixels(person: int, n: int = 0, fake: bool = False) -> NDArray[np.uint8]:
    """Image ``n`` of a person, (40, 40, 3)."""
    pattern = np.random.default_rng(person).uniform(40, 215, (4, 4, 3))
    rng = np.random.default_rng([person, n])
    squares = (
        (pattern + rng.normal(0, 6, pattern.shape)).repeat(10, 0).repeat(10, 1)
    )  # no two photos are alike to the digit
    image = squares + rng.normal(0, 20, 3) + rng.normal(0, 2, (SIDE, SIDE, 3))
    if fake:
        image[::2] += 25
    return np.clip(image, 0, 255).astype(np.uint8)


def random_image(person: int, n: int = 0, fake: bool = False, form: str = "PNG") -> bytes:
    """The same as a file, without loss."""
    written = io.BytesIO()
    Image.fromarray(pixels(person, n, fake)).save(written, form)
    return written.getvalue()


@pytest.fixture
def patterns() -> PatternNetwork:
    return PatternNetwork()


@pytest.fixture
def embedder(patterns: PatternNetwork) -> Embedder:
    calibration = Calibration(Logistic(20.0, -10.0), Logistic(1.0, 0.0))
    thresholds = tuple(Threshold(fmr, t, t - 0.1, t + 0.1, 10_000) for fmr, t in ((1e-2, -0.5), (1e-3, -0.3)))
    validation = Validation(thresholds, Logistic(3.0, 1.0), 10_000)
    return Embedder(patterns, Preprocessor.of(patterns.views, SIDE, None), calibration, validation)


@pytest.fixture
def settings() -> ServiceSettings:
    return ServiceSettings(requests_a_minute=1_000_000)


@pytest.fixture
def gallery(embedder: Embedder, tmp_path: Path) -> Gallery:
    """Closed by the application that it is given to."""
    mark = ModelMark(embedder.name, embedder.fingerprint, embedder.network.dim, True)
    return Gallery(str(tmp_path / "g.sqlite"), mark, tmp_path / "photos")


@pytest.fixture
def make_client(embedder: Embedder, settings: ServiceSettings) -> Iterator[Callable[..., TestClient]]:
    """``make_client(gallery=None, **settings)``: a client of a new service."""
    opened: list[TestClient] = []

    def make(gallery: Gallery | None = None, **changed: object) -> TestClient:
        app = create_app(Verifier(embedder), gallery, replace(settings, **changed))
        client = TestClient(app, base_url=HERE)
        client.__enter__()
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def client(make_client, gallery: Gallery) -> TestClient:
    """A service with a gallery that keeps images."""
    return make_client(gallery)


class Served:
    """A service on a real port, in a thread."""

    def __init__(self, app: FastAPI) -> None:
        config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", timeout_graceful_shutdown=5)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            time.sleep(0.02)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"{HERE}:{port}"

    def stop(self) -> None:
        """As SIGTERM does."""
        self._server.should_exit = True
        self._thread.join(30)


@pytest.fixture
def serve() -> Iterator[Callable[[FastAPI], Served]]:
    """``serve(app)`` until the test ends."""
    running: list[Served] = []

    def start(app: FastAPI) -> Served:
        running.append(Served(app))
        return running[-1]

    yield start
    for each in running:
        each.stop()


def files(**images: bytes | list[bytes]) -> list[tuple[str, tuple[str, bytes]]]:
    """Form fields of images, several under one name where a list is given."""
    listed = {name: each if isinstance(each, list) else [each] for name, each in images.items()}
    return [(name, ("x.png", data)) for name, several in listed.items() for data in several]
