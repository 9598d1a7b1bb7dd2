"""Videos and photos as embeddings: each frame is embedded once, and a video is the mean of its frames."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import bonaface
from bonaface.assets import unpack_demo
from bonaface.images.decoding import decode
from bonaface.inference.looks import embed_looks, looks_at
from bonaface.inference.verifier import Verifier

FRAMES = 4


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return bonaface.load()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return sorted((unpack_demo(tmp_path_factory.mktemp("demo")) / "train" / "images" / "0000").glob("*.jpg"))


def write_video(path: Path, photo: Path) -> Path:
    """A face that moves a little from frame to frame."""
    face = cv2.resize(decode(photo), (240, 240))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 5, (320, 240))
    for number in range(FRAMES):
        frame: NDArray[np.uint8] = np.full((240, 320, 3), 128, np.uint8)
        frame[:, 40 + 4 * number : 280 + 4 * number] = face[:, :, ::-1]
        writer.write(frame)
    writer.release()
    return path


def test_each_frame_is_embedded_once(verifier, photos, tmp_path, monkeypatch):
    video = write_video(tmp_path / "v.mp4", photos[0])
    embedded: list[int] = []
    embed = verifier.embedder.embed_inputs

    def counted(inputs):
        embedded.append(len(inputs))
        return embed(inputs)

    monkeypatch.setattr(verifier.embedder, "embed_inputs", counted)
    verdict = verifier.verify(video, photos[1])
    assert np.isfinite(verdict.similarity)
    assert sum(embedded) == FRAMES + 1


def test_a_video_is_the_mean_of_its_frames(verifier, photos, tmp_path):
    video, photo = verifier.read(write_video(tmp_path / "v.mp4", photos[0])), verifier.read(photos[1])
    frames = verifier.embedder.embed_inputs(video.inputs)
    made = verifier.embed_photos([photo, video, photo])
    mean = frames.identity.mean(axis=0)
    np.testing.assert_allclose(made.identity[1], mean / np.linalg.norm(mean), atol=1e-5)
    np.testing.assert_allclose(made.authenticity[1], frames.authenticity.mean(), atol=1e-4)
    alone = verifier.embed_photos([photo])
    np.testing.assert_allclose(made.identity[[0, 2]], alone.identity.repeat(2, axis=0), atol=1e-5)


def test_another_models_embeddings_are_not_taken(verifier, photos, tmp_path):
    video = verifier.read(write_video(tmp_path / "v.mp4", photos[0]))
    assert looks_at(video, verifier.fingerprint) is not video.inputs
    assert looks_at(video, "another") is video.inputs
    by_looks = embed_looks(verifier.embedder, [looks_at(video, "another")])
    np.testing.assert_allclose(by_looks.identity, verifier.embed_photos([video]).identity, atol=1e-5)
