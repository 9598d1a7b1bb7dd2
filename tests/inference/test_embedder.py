"""Photos to embeddings: each distinct content once, in any order, broken ones named."""

import shlex
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bonaface.config import BranchConfig, ModelConfig
from bonaface.errors import ConfigError, ModelError
from bonaface.images.decoding import decode
from bonaface.images.preprocessing import Preprocessor
from bonaface.inference import embedder as runtime
from bonaface.inference.backends.torch import TorchNetwork
from bonaface.inference.embedder import Embedder, load_embedder
from bonaface.models.face_model import build_model


@pytest.fixture(scope="module")
def embedder():
    torch.manual_seed(0)
    branch = BranchConfig(backbone="timm:test_resnet", weights="none", size=32)
    model = build_model(ModelConfig(branch)).eval()
    return Embedder(TorchNetwork(model, "tiny"), Preprocessor.of(model.views, 32, None))


@pytest.fixture
def photos(tmp_path, write_image):
    return [write_image(tmp_path / f"{n}.png") for n in range(7)]


def test_each_row_is_the_networks_own_answer(embedder, photos):
    embedded = embedder.embed(photos)
    assert embedded.place.tolist() == [0, 1, 2, 3, 4, 5, 6]
    for photo, vector in zip(photos, embedded.distinct.identity, strict=True):
        x = torch.from_numpy(decode(photo)).permute(2, 0, 1)[None]
        with torch.inference_mode():
            alone = torch.nn.functional.normalize(embedder.network.model.identity(x))[0]
        np.testing.assert_allclose(vector, alone.numpy(), atol=1e-5)


def test_equal_content_is_embedded_once(embedder, photos, tmp_path):
    (tmp_path / "copy.png").write_bytes(photos[2].read_bytes())
    embedded = embedder.embed([photos[2], photos[0], tmp_path / "copy.png", photos[2]])
    assert embedded.place.tolist() == [0, 1, 0, 0]
    assert len(embedded.distinct) == 2


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64])
def test_chunks_change_nothing(embedder, photos, monkeypatch, chunk):
    repeated = [*photos, *reversed(photos)]
    whole = embedder.embed(repeated)
    monkeypatch.setattr(runtime, "_CHUNK", chunk)
    parts = embedder.embed(repeated)
    assert parts.place.tolist() == whole.place.tolist() == [*range(7), *reversed(range(7))]
    np.testing.assert_allclose(parts.distinct.identity, whole.distinct.identity, atol=1e-5)


def test_broken_photos_are_named_and_take_no_place(embedder, photos, tmp_path):
    (tmp_path / "web.jpg").write_bytes(b"<html>404")
    embedded = embedder.embed([photos[0], tmp_path / "web.jpg", tmp_path / "gone.jpg", photos[1]])
    assert embedded.place.tolist() == [0, -1, -1, 1]
    assert embedded.faults[1].startswith(f"{tmp_path / 'web.jpg'}: is a web page")
    assert (
        embedded.faults[2] == f"{tmp_path / 'gone.jpg'}: can't be read (no such file or directory); expected an image"
    )


@pytest.mark.parametrize("names", [[], ["gone.jpg"]])
def test_nothing_to_embed(embedder, tmp_path, names):
    embedded = embedder.embed([tmp_path / name for name in names])
    assert embedded.distinct.identity.shape == (0, embedder.network.dim)
    assert len(embedded.place) == len(names)


def test_models_that_are_none(tmp_path):
    with pytest.raises(ModelError, match="gone: no such file or folder; expected the folder of a run"):
        load_embedder(str(tmp_path / "gone"))
    with pytest.raises(ModelError, match="not the folder of a run"):
        load_embedder(str(tmp_path))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_run_that_is_not_calibrated_is_refused_with_the_command_that_resumes_it(tmp_path, monkeypatch):
    stopped = SimpleNamespace(model=SimpleNamespace(authenticity=object()), calibration=None)
    monkeypatch.setattr("bonaface.training.run.load_run", lambda path: stopped)
    (tmp_path / "a run").mkdir()
    with pytest.raises(ModelError) as refused:
        load_embedder(str(tmp_path / "a run"))
    words = shlex.split(str(refused.value).partition("resume it by ")[2])
    assert words == ["bonaface", "train", "--config", str(tmp_path / "a run" / "config.yaml"), "--resume"]


def test_cuda_where_there_is_none(embedder):
    with pytest.raises(ConfigError, match="no CUDA device"):
        TorchNetwork(embedder.network.model, "tiny", "cuda")


def test_images_are_embedded_as_their_files_are(embedder, photos):
    images = [decode(photo) for photo in photos]
    np.testing.assert_allclose(
        embedder.embed_images(images).identity, embedder.embed(photos).distinct.identity, atol=1e-6
    )
    assert embedder.embed_images([]).identity.shape == (0, embedder.network.dim)


def test_a_fingerprint_knows_weights_and_preparation(embedder):
    def another(seed, frame):
        torch.manual_seed(seed)
        branch = BranchConfig(backbone="timm:test_resnet", weights="none", size=32)
        model = build_model(ModelConfig(branch)).eval()
        return Embedder(TorchNetwork(model, "other"), Preprocessor.of(model.views, frame, None)).fingerprint

    assert another(0, 32) == embedder.fingerprint
    assert len({another(0, 32), another(1, 32), another(0, 64)}) == 3


def test_an_embedding_that_is_not_finite_is_refused(photos):
    model = build_model(ModelConfig(BranchConfig(backbone="timm:test_resnet", weights="none", size=32))).eval()
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    broken = Embedder(TorchNetwork(model, "broken"), Preprocessor.of(model.views, 32, None))
    with pytest.raises(ModelError, match="broken: gave an embedding that is not finite"):
        broken.embed(photos[:1])
