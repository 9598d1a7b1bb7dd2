"""``submit`` as a user runs it."""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from bonaface.models.face_model import FaceModel


@pytest.fixture
def submit(say, run_folder, tmp_path):
    """``submit(pairs, ...)`` writes ``tmp_path / "out.csv"``."""
    return lambda pairs, *more: say(
        "submit", "--model", run_folder, "--pairs", pairs, "--out", tmp_path / "out.csv", *more
    )


@pytest.fixture
def refused(say, run_folder, tmp_path):
    """Runs a submit that must be refused; gives its one line. The file that was there before stays."""

    def run(**options):
        out = tmp_path / "out.csv"
        out.write_text("pair_id,similarity\nmine,1\n")
        before = sorted(tmp_path.rglob("*"))
        words = {"model": run_folder, "pairs": tmp_path / "pairs", "out": out} | options
        said = say("submit", *(part for name, value in words.items() for part in (f"--{name}", value)))
        assert said.code == 2, said.err
        assert len(said.lines) == 1, said.err
        assert said.lines[0].startswith("bonaface submit: ")
        assert out.read_text() == "pair_id,similarity\nmine,1\n"
        assert sorted(tmp_path.rglob("*")) == before
        return said.lines[0].removeprefix("bonaface submit: ")

    return run


def test_every_pair_once_in_the_order_of_the_folders(submit, make_pairs, tmp_path):
    pairs = make_pairs(count=12)
    (pairs / "images" / "00000003").rename(pairs / "images" / "00000077")
    said = submit(pairs)
    assert (said.code, said.out, said.err) == (0, "", f"{tmp_path / 'out.csv'}: 12 pairs scored\n")
    assert said.device == "device: PyTorch on CPU\n"  # once, at the start
    table = pd.read_csv(tmp_path / "out.csv", dtype={"pair_id": str})
    assert table.columns.tolist() == ["pair_id", "similarity"]
    assert table["pair_id"].tolist() == sorted(folder.name for folder in (pairs / "images").iterdir())
    assert np.isfinite(table["similarity"]).all()
    assert table["similarity"].nunique() > 6


def test_pairs_directly_in_the_folder_score_the_same(submit, make_pairs, tmp_path):
    pairs = make_pairs()
    submit(pairs)
    first = (tmp_path / "out.csv").read_bytes()
    submit(pairs / "images")
    assert (tmp_path / "out.csv").read_bytes() == first


def test_equal_images_are_embedded_once(submit, make_pairs, tmp_path, monkeypatch):
    seen = []
    embed = FaceModel.embed
    monkeypatch.setattr(
        FaceModel, "embed", lambda self, images: seen.append(len(images["identity"])) or embed(self, images)
    )
    pairs = make_pairs(count=18)
    distinct = {file.read_bytes() for file in pairs.rglob("*.png")}
    submit(pairs)
    assert sum(seen) == len(distinct) < 36


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"<!doctype html><html>404", "is a web page"),
        (None, "is cut short or damaged"),
        (b"\xff\xd8\xff\xe0", "has a damaged or cut-off header"),
        (b"GIMP", "is of an unknown format"),
    ],
    ids=["empty", "web page", "truncated", "header alone", "unknown"],
)
def test_a_broken_image_is_named_and_its_pair_gets_the_lowest(submit, make_pairs, tmp_path, content, what):
    pairs = make_pairs()
    broken = pairs / "images" / "00000005" / "1.png"
    broken.write_bytes(broken.read_bytes()[:700] if content is None else content)
    said = submit(pairs)
    assert said.code == 1
    assert said.lines[0].startswith(f"{broken}: {what}; expected")
    assert said.lines[1:] == [
        f"{tmp_path / 'out.csv'}: 12 pairs scored; 1 image can't be read, so 1 pair has the lowest similarity"
    ]
    scores = pd.read_csv(tmp_path / "out.csv")["similarity"]
    assert len(scores) == 12
    assert scores[5] == scores.min()
    assert np.isfinite(scores).all()


def test_a_image_that_is_too_large_is_refused_by_its_header(submit, make_pairs):
    pairs = make_pairs(count=4)
    wide = pairs / "images" / "00000002" / "0.png"
    Image.new("1", (30_000, 30_000)).save(wide)
    said = submit(pairs)
    assert said.code == 1
    assert said.lines[0] == f"{wide}: is 30000 x 30000 pixels; expected at most 250 megapixels"


@pytest.mark.parametrize("mode", ["L", "CMYK", "I;16", "P", "LA", "RGBA"])
def test_every_kind_of_image_is_read(submit, make_pairs, mode):
    pairs = make_pairs(count=4)
    file = pairs / "images" / "00000001" / "0.png"
    image = Image.open(file)
    if mode == "I;16":
        grey = np.asarray(image.convert("L")).astype(np.uint16) * 257
        image = Image.fromarray(grey)
    else:
        image = image.convert(mode)
    file.unlink()
    image.save(file.with_suffix(".jpg" if mode == "CMYK" else ".png"))
    said = submit(pairs)
    assert said.code == 0, said.err


def test_a_rotated_image_scores_as_its_upright_one(submit, make_pairs, tmp_path):
    pairs = make_pairs(count=2)
    upright = Image.open(pairs / "images" / "00000000" / "1.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    submit(pairs)
    first = pd.read_csv(tmp_path / "out.csv")["similarity"][0]
    upright.transpose(Image.Transpose.ROTATE_90).save(pairs / "images" / "00000000" / "1.png", exif=exif)
    submit(pairs)
    assert pd.read_csv(tmp_path / "out.csv")["similarity"][0] == pytest.approx(first, abs=1e-6)


@pytest.mark.parametrize("before", [None, "pair_id,similarity\nmine,1\n"])
def test_strict_writes_no_file(submit, make_pairs, tmp_path, before):
    pairs, out = make_pairs(), tmp_path / "out.csv"
    (pairs / "images" / "00000005" / "1.png").write_bytes(b"")
    if before:
        out.write_text(before)
    said = submit(pairs, "--strict")
    assert said.code == 2
    assert said.lines[-1] == f"bonaface submit: {pairs}: 1 image can't be read, so nothing was written (--strict)"
    assert (out.read_text() if before else out.exists()) == (before or False)


def test_all_images_broken(submit, make_pairs, tmp_path):
    pairs = make_pairs(count=3)
    for file in pairs.rglob("*.png"):
        file.write_bytes(b"")
    said = submit(pairs)
    assert said.code == 1
    assert said.lines[-1].endswith("3 pairs scored; 6 images can't be read, so 3 pairs have the lowest similarity")
    assert len(pd.read_csv(tmp_path / "out.csv")) == 3


# What is refused -------------------------------------------------------------------------------------------------------


def test_folders_that_hold_no_pairs(refused, make_people, tmp_path):
    assert "pairs: no such folder; expected <pair_id>/0.jpg" in refused()
    (tmp_path / "pairs").mkdir()
    assert "pairs: holds no folders; expected <pair_id>/0.jpg" in refused()
    people = make_people(people=2)
    assert "is a set of people's photos (it has meta.json), which train reads" in refused(pairs=people)
    assert "holds people's folders, which train reads" in refused(pairs=people / "images")


@pytest.mark.parametrize(("count", "shown"), [(0, "no image"), (1, "0.png"), (3, "0.png, 1.png, 2.png")])
def test_a_pair_of_another_number_of_images(refused, make_pairs, count, shown):
    folder = make_pairs() / "images" / "00000003"
    for n in range(count, 2):
        (folder / f"{n}.png").unlink()
    if count == 3:
        shutil.copy(folder / "1.png", folder / "2.png")
    assert f"{folder}: expected a 0.jpg and a 1.jpg and no other image, got {shown}" in refused()


def test_models_that_are_none(refused, make_pairs, tmp_path):
    make_pairs(count=2)
    assert "gone: no such file or folder; expected the folder of a run" in refused(model=tmp_path / "gone")
    assert "pairs: not the folder of a run: expected config.yaml" in refused(model=tmp_path / "pairs")
    assert "labels.csv: is neither; expected the folder of a run" in refused(model=tmp_path / "pairs" / "labels.csv")
    assert "gone.onnx: can't be read (no such file" in refused(model=tmp_path / "gone.onnx")
    (tmp_path / "net.onnx").write_bytes(b"onnx")
    assert "net.onnx: how its images must be prepared is not known" in refused(model=tmp_path / "net.onnx")
    (tmp_path / "net.yaml").write_text("size: 32")
    assert "net.onnx: ONNX Runtime" in refused(model=tmp_path / "net.onnx")


@pytest.fixture
def copied(run_folder, tmp_path) -> Path:
    return Path(shutil.copytree(run_folder, tmp_path / "copied"))


def test_runs_that_are_damaged(refused, make_pairs, copied):
    make_pairs(count=2)
    (copied / "calibration.json").write_text("{}")
    assert "calibration.json: not a calibration as training writes it" in refused(model=copied)
    (copied / "best.ckpt").write_bytes((copied / "best.ckpt").read_bytes()[:3000])
    assert "best.ckpt: not a readable file of weights" in refused(model=copied)
    (copied / "best.ckpt").unlink()
    assert "copied: has no best.ckpt: the run was stopped before its first validation" in refused(model=copied)
    (copied / "config.yaml").write_text("steps: [")
    (copied / "best.ckpt").write_bytes(b"")
    assert "config.yaml: line 1: is no YAML (" in refused(model=copied)


def test_a_checkpoint_of_another_backbone(refused, make_pairs, copied):
    make_pairs(count=2)
    torch.save({"state_dict": {"model.identity.head.weight": torch.zeros(3)}}, copied / "best.ckpt")
    assert f"best.ckpt: made with another backbone than {copied / 'config.yaml'} says: " in refused(model=copied)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_where_there_is_none(refused, make_pairs):
    make_pairs(count=2)
    assert "device: cuda was asked for, and this machine has no CUDA device" in refused(device="cuda")


def test_places_that_can_not_be_written_to(refused, make_pairs, tmp_path):
    make_pairs(count=2)
    (tmp_path / "file").write_text("a file")
    (tmp_path / "folder").mkdir()
    for out in (tmp_path / "file" / "x.csv", tmp_path / "folder"):
        assert f"{out}: can't be written" in refused(out=out)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to(refused, make_pairs, tmp_path):
    make_pairs(count=2)
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "locked/x.csv: can't be written (permission denied)" in refused(out=tmp_path / "locked" / "x.csv")
