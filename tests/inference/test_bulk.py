"""Embeddings of many images, shard by shard: as the embedder's own, gone on with, broken images named."""

import errno
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from bonaface.config import BranchConfig, ModelConfig
from bonaface.errors import ConfigError, DataError
from bonaface.images.preprocessing import Preprocessor
from bonaface.inference import bulk as bulk_embedding
from bonaface.inference.backends.torch import TorchNetwork
from bonaface.inference.bulk import BulkJob, ShardEmbedder, begin, embed_shards, finished_shards
from bonaface.inference.embedder import Embedder, load_embedder
from bonaface.models.face_model import build_model


def load_tiny(model, detector=None, device="cpu"):
    """A network from random weights; ``model`` is the seed."""
    torch.manual_seed(int(model))
    branch = BranchConfig(backbone="timm:test_resnet", weights="none", size=32)
    judge = BranchConfig(backbone="timm:test_resnet", weights="none", size=32, crop=True)
    network = build_model(ModelConfig(branch, judge)).eval()
    return Embedder(TorchNetwork(network, "tiny"), Preprocessor.of(network.views, 32, None))


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    monkeypatch.setattr(bulk_embedding, "load_embedder", load_tiny)


@pytest.fixture
def photos(tmp_path, write_image):
    """Seven images, the fourth of which is a web page, the last cut short."""
    for n in range(7):
        write_image(tmp_path / "photos" / f"{n}.png")
    (tmp_path / "photos" / "3.png").write_bytes(b"<html>404</html>")
    whole = (tmp_path / "photos" / "6.png").read_bytes()
    (tmp_path / "photos" / "6.png").write_bytes(whole[: len(whole) // 2])
    return tmp_path / "photos"


def embedded(job: BulkJob) -> pd.DataFrame:
    return pd.read_parquet(job.out).sort_values("path", ignore_index=True)


def all_shards(job: BulkJob) -> list[tuple[int, int]]:
    worker = ShardEmbedder(job)
    images = job.images()
    done = finished_shards(job, images)
    return [worker.embed(shard) for shard in range(images.shards) if shard not in done]


@pytest.mark.parametrize("where", ["disk", "object storage"])
def test_rows_are_the_embedders_own_answers(photos, tmp_path, where):
    out = str(tmp_path / "faces.parquet") if where == "disk" else f"memory://{tmp_path.name}.parquet"
    job = BulkJob(out, "7")
    begin(job, str(photos), shard=3)
    assert all_shards(job) == [(3, 0), (3, 1), (1, 1)]
    table = embedded(job)
    assert table.columns.tolist() == ["path", "embedding", "authenticity", "fault"]
    assert table["path"].tolist() == [f"{n}.png" for n in range(7)]
    good = [0, 1, 2, 4, 5]
    own = load_tiny("7").embed([photos / f"{n}.png" for n in good]).distinct
    np.testing.assert_allclose(np.stack(table["embedding"][good].tolist()), own.identity, atol=1e-5)
    np.testing.assert_allclose(table["authenticity"][good], own.authenticity, atol=1e-4)
    assert table["embedding"][[3, 6]].isna().all()
    assert table["fault"][good].isna().all()
    assert "is a web page" in table["fault"][3]
    assert "6.png" in table["fault"][6]


@pytest.mark.parametrize("chunk", [1, 2, 64])
def test_chunks_change_nothing(photos, tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(bulk_embedding, "_CHUNK", chunk)
    job = BulkJob(str(tmp_path / "a"), "7")
    begin(job, str(photos))
    assert all_shards(job) == [(7, 2)]
    own = load_tiny("7").embed([photos / "0.png", photos / "5.png"]).distinct
    table = embedded(job)
    np.testing.assert_allclose(np.stack(table["embedding"][[0, 5]].tolist()), own.identity, atol=1e-5)


def test_a_run_that_was_stopped_goes_on(photos, tmp_path):
    job = BulkJob(str(tmp_path / "a"), "7")
    images = begin(job, str(photos), shard=2)
    assert finished_shards(job, images) == {}
    worker = ShardEmbedder(job)
    worker.embed(1)
    before = job.part(1).read()
    assert list(finished_shards(job, begin(job, str(photos), shard=5))) == [1]  # the list that is there stays
    all_shards(job)
    assert list(finished_shards(job, images)) == [0, 1, 2, 3]
    assert job.part(1).read() == before
    assert len(embedded(job)) == 7


@pytest.mark.parametrize("where", ["disk", "object storage"])
def test_a_full_disk_is_an_outcome_in_one_sentence(photos, tmp_path, monkeypatch, where):
    job = BulkJob(str(tmp_path / "a") if where == "disk" else f"memory://{tmp_path.name}", "7")
    begin(job, str(photos))
    worker = ShardEmbedder(job)

    def full(*_):
        raise OSError(errno.ENOSPC, "Error writing bytes to file. Detail: No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(bulk_embedding.pq, "write_table", full)
        outcome = worker({"shard": np.array([0])})
    (refusal,) = outcome["refusal"]
    assert refusal.startswith(f"{job.out}/part-00000000.parquet: can't be ")
    assert "\n" not in refusal
    again = worker({"shard": np.array([0])})
    assert {name: values.tolist() for name, values in again.items() if name != "core_seconds"} == {
        "images": [7],
        "faults": [2],
        "refusal": [""],
    }


def test_a_model_that_a_worker_can_not_load_is_an_outcome(photos, tmp_path, monkeypatch):
    job = BulkJob(str(tmp_path / "a"), "7")
    begin(job, str(photos))
    monkeypatch.setattr(bulk_embedding, "load_embedder", load_embedder)
    (refusal,) = ShardEmbedder(job)({"shard": np.array([0])})["refusal"]
    assert refusal.startswith("7: no such file or folder")


def test_what_does_not_belong_together_is_refused(photos, tmp_path):
    job = BulkJob(str(tmp_path / "a"), "7")
    begin(job, str(photos))
    with pytest.raises(
        DataError, match="holds embeddings by another model, which can't be compared: choose another --out"
    ):
        begin(BulkJob(job.out, "8"), str(photos))
    with pytest.raises(DataError, match=r"holds embeddings of .*photos as it was .* and .*elsewhere is another source"):
        begin(job, str(tmp_path / "elsewhere"))
    with pytest.raises(DataError, match="holds something else; expected a new folder"):
        begin(BulkJob(str(photos), "7"), str(photos))
    with pytest.raises(DataError, match=r"0\.png: is a file; expected a new folder"):
        begin(BulkJob(str(photos / "0.png"), "7"), str(photos))
    with pytest.raises(DataError, match="no such file or folder"):
        begin(BulkJob(str(tmp_path / "new"), "7"), str(tmp_path / "gone"))
    for damaged in ("{", "[1]", "{}", "[" * 100_000):
        (tmp_path / "a" / bulk_embedding._MODEL).write_text(damaged)
        with pytest.raises(DataError, match="is damaged; choose another --out"):
            begin(job, str(photos))


def test_a_source_that_changed_is_refused(photos, tmp_path, monkeypatch):
    here = tmp_path / "here"
    shutil.copytree(photos, here / "in")
    job = BulkJob(str(tmp_path / "a"), "7")
    monkeypatch.chdir(here)
    begin(job, "in")
    monkeypatch.chdir(tmp_path)
    assert begin(job, "here/in").source == str(here / "in")
    with pytest.raises(DataError, match="is another source"):
        begin(job, "in")
    shutil.copy(here / "in" / "0.png", here / "in" / "new.png")
    with pytest.raises(DataError, match="holds other images now; choose another --out"):
        begin(job, "here/in")


def test_a_list_whose_model_was_not_noted_is_made_anew(photos, tmp_path):
    job = BulkJob(str(tmp_path / "a"), "7")
    begin(job, str(photos), shard=2)
    (tmp_path / "a" / "_model.json").unlink()
    assert begin(job, str(photos), shard=7).shards == 1
    assert json.loads((tmp_path / "a" / "_model.json").read_text())["model"] == "7"


@pytest.mark.usefixtures("ray_here")
def test_cards_that_are_not_there(photos, tmp_path):
    import ray

    if ray.cluster_resources().get("GPU"):
        pytest.skip("this machine has a graphics card")
    job = BulkJob(str(tmp_path / "a"), "7", device="cuda")
    with pytest.raises(ConfigError, match="device: cuda was asked for, and no machine of this Ray has one"):
        embed_shards(job, [0], None)
