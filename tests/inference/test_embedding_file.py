"""A folder of images becomes one file that NumPy reads."""

import os

import numpy as np
import pytest

from bonaface.cli import main
from bonaface.errors import DataError
from bonaface.inference.embedding_file import embed_folder

pytest_plugins = ("tiny_models",)


@pytest.fixture
def folder(write_image, tmp_path):
    """Images at several depths, one of them broken, and files that are passed over."""
    root = tmp_path / "photos"
    for name in ("b/2.png", "a/1.png", "a/deep/3.png", "0.png", ".hidden/4.png", "_cache/5.png"):
        write_image(root / name)
    (root / "a" / "broken.jpg").write_bytes(b"<html>")
    (root / "notes.txt").write_text("no image")
    return root


def test_every_image_has_its_embedding(tiny_embedder, folder, tmp_path):
    assert embed_folder(tiny_embedder, folder, tmp_path / "e.npz") == (5, 1)
    with np.load(tmp_path / "e.npz", allow_pickle=False) as file:
        kept = dict(file)
    assert kept["path"].tolist() == ["0.png", "a/1.png", "a/broken.jpg", "a/deep/3.png", "b/2.png"]
    own = tiny_embedder.embed([folder / "b/2.png"]).distinct
    np.testing.assert_allclose(kept["embedding"][4], own.identity[0], atol=1e-6)
    np.testing.assert_allclose(kept["authenticity"][4], own.authenticity[0], atol=1e-4)
    assert np.isnan(kept["embedding"][2]).all()
    assert np.isnan(kept["authenticity"][2])
    assert "broken.jpg: " in kept["fault"][2]
    assert kept["fault"][[0, 1, 3, 4]].tolist() == [""] * 4
    assert kept["model"] == tiny_embedder.fingerprint


def test_what_holds_no_images(tiny_embedder, tmp_path):
    with pytest.raises(DataError, match="gone: no such folder; expected a folder of images"):
        embed_folder(tiny_embedder, tmp_path / "gone", tmp_path / "e.npz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: holds no images"):
        embed_folder(tiny_embedder, tmp_path / "empty", tmp_path / "e.npz")
    assert not (tmp_path / "e.npz").exists()


def test_the_command(tiny_exported, folder, tmp_path, capsys):
    words = ["embed", str(folder), "--model", str(tiny_exported), "--out", str(tmp_path / "e.npz")]
    assert main(words) == 1
    device, *said = capsys.readouterr().err.splitlines()
    assert device.startswith("device: ONNX Runtime on CPU")
    assert said == [f"{tmp_path / 'e.npz'}: 4 images embedded; 1 can't be used"]
    assert main([*words, "--workers", "2"]) == 2
    assert "e.npz: one process writes it, without --workers" in capsys.readouterr().err


@pytest.mark.parametrize("name", [b"q\xff", b"q\xff.png"], ids=["folder", "file"])
def test_names_that_are_no_text_are_refused(tiny_embedder, folder, write_image, tmp_path, name):
    place = folder / "a" / os.fsdecode(name)
    (folder / "a" / "1.png").rename(place) if place.suffix else write_image(place / "1.png")
    with pytest.raises(DataError, match="is not UTF-8 text"):
        embed_folder(tiny_embedder, folder, tmp_path / "e.npz")
    assert not (tmp_path / "e.npz").exists()


def test_an_empty_file_is_written_and_one_of_another_kind_stays(tiny_embedder, folder, tmp_path):
    out = tmp_path / "e.npz"
    out.touch(mode=0o600)  # as mktemp makes it
    embed_folder(tiny_embedder, folder, out)
    assert out.stat().st_size
    out.write_bytes(b"notes")
    with pytest.raises(DataError, match=r"e\.npz: is there and is another kind of file"):
        embed_folder(tiny_embedder, folder, out)
    assert out.read_bytes() == b"notes"
