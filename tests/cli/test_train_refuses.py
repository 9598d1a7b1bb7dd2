"""Each bad input of ``train`` gets one clear line and exit code 2, and leaves nothing behind."""

import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

Words = Callable[..., list[str]]
MakePeople = Callable[..., Path]


@pytest.fixture
def refused(say, words: Words, tmp_path: Path) -> Callable[..., str]:
    """Runs a training that must be refused; gives the one line that was said, without the command's name."""

    def run(*more: object, **settings: Any) -> str:
        before = files_below(tmp_path)
        said = say("train", *words(**settings), *more)
        assert said.code == 2, said.err
        *events, error = said.lines
        assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in events), said.err
        assert error.startswith("bonaface train: ")
        assert said.out == ""
        assert files_below(tmp_path) == before
        return error.removeprefix("bonaface train: ")

    return run


def files_below(folder: Path) -> list[str]:
    """Files and folders, but for an empty folder of runs."""
    return sorted(str(path) for path in folder.rglob("*") if path != folder / "runs" or not path.is_dir())


def noise(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)).save(path)
    return path


def edit_meta(root: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    meta = json.loads((root / "meta.json").read_text())
    change(meta)
    (root / "meta.json").write_text(json.dumps(meta))
    return root


# Folders ---------------------------------------------------------------------------------------------------------------


def test_no_data_named(refused):
    assert refused(**{"faces.train": ""}).startswith("faces.train: no training data named: set it to")


def test_a_folder_that_is_not_there(refused, tmp_path):
    said = refused(**{"faces.train": tmp_path / "gone"})
    assert f"{tmp_path / 'gone'}: no such file or folder; expected meta.json beside images/" in said


def test_a_missing_folder_is_found_before_weights_are_looked_for(refused, tmp_path):
    said = refused(**{"faces.train": tmp_path / "gone", "model.identity.weights": tmp_path / "gone.pt"})
    assert f"{tmp_path / 'gone'}: no such file or folder" in said


def test_nothing_to_resume(refused):
    assert "runs/run: no run of this name to resume: leave --resume out" in refused("--resume")


def test_an_empty_folder(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    assert f"{tmp_path / 'empty'}: is empty; expected" in refused(**{"faces.train": tmp_path / "empty"})


def test_a_folder_that_is_no_layout(refused, tmp_path):
    noise(tmp_path / "odd" / "a" / "b" / "c" / "0.png")
    said = refused(**{"faces.train": tmp_path / "odd"})
    assert "odd: holds no folder with images directly in it; expected" in said


def test_a_folder_of_pairs(refused, make_pairs):
    said = refused(**{"faces.train": make_pairs(count=4)})
    assert "holds test pairs" in said
    assert "submit and evaluate read with --pairs" in said


def test_a_file_that_is_no_table(refused, tmp_path):
    (tmp_path / "faces.zip").write_bytes(b"PK")
    assert "faces.zip: is neither a folder nor a .csv" in refused(**{"faces.train": tmp_path / "faces.zip"})


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("00000000/99.png", 0, '"00000000/99.png": no such image in images/; expected an image that is there'),
        ("../../secret.png", 0, '"../../secret.png": leaves the folder images/'),
        ("/etc/passwd", 0, '"/etc/passwd": leaves the folder images/'),
        ("00000000/0.png", 2, '"00000000/0.png": expected 0 or 1, got 2'),
    ],
)
def test_a_wrong_line_of_meta(refused, make_people, key, value, what):
    root = edit_meta(make_people(), lambda meta: meta.update({key: value}))
    assert f"{root / 'meta.json'}: {what}" in refused(**{"faces.train": root})


def test_a_image_that_meta_does_not_name(refused, make_people):
    root = edit_meta(make_people(), lambda meta: meta.pop("00000002/3.png"))
    said = refused(**{"faces.train": root})
    assert "meta.json: doesn't name 00000002/3.png; expected 0 or 1 for every image" in said


def test_meta_that_is_no_json(refused, make_people):
    root = make_people()
    (root / "meta.json").write_text('{"00000000/0.png": 0,')
    assert "meta.json: isn't JSON" in refused(**{"faces.train": root})


def test_a_person_with_only_deepfakes(refused, make_people):
    root = edit_meta(
        make_people(), lambda meta: meta.update(dict.fromkeys([k for k in meta if k.startswith("00000004")], 1))
    )
    said = refused(**{"faces.train": root})
    assert "person 00000004 has deepfakes only; expected at least one real photo of each person" in said


def test_fewer_people_than_a_batch_takes(refused):
    said = refused(**{"batch.n_labels": 50})
    assert "n_labels: a step needs 50 labels, and the training data has 12; set n_labels to at most 12" in said


def test_two_people_only(refused, make_people):
    assert "holds 2 people; expected at least 3" in refused(**{"faces.train": make_people(people=2)})


def test_no_image_can_be_read(refused, make_people):
    root = make_people(people=3)
    for file in root.rglob("*.png"):
        file.write_bytes(b"<html>404</html>")
    said = refused(**{"faces.train": root})
    assert "no photo is left of 21 (21 unreadable); expected some that can be used" in said


# Settings --------------------------------------------------------------------------------------------------------------


def test_a_config_file_that_is_not_there(refused, tmp_path):
    assert f"{tmp_path / 'gone.yaml'}: can't be read (no such file or directory); expected a YAML file" in refused(
        f"--config={tmp_path / 'gone.yaml'}"
    )


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"batch: {n_lables: 4}", "batch.n_lables: there is no such setting; did you mean batch.n_labels?"),
        (b"bach: {n_labels: 4}", "bach.n_labels: there is no such setting; did you mean batch.n_labels?"),
        (b"- a\n- b\n", "holds no settings by name; expected a YAML file of settings"),
        (b"", "holds nothing; expected a YAML file of settings"),
        (b"batch: [4\nname: x", "line 2: is no YAML"),
        (b"optimizer: {lr: fast}", 'optimizer.lr: expected float, got "fast"'),
        (b"\0\1", "is no YAML"),
        (b"name: \xe9", "is no UTF-8 text"),
        (b"batch: &b {n_labels: *b}", "refers to itself by an alias; expected a YAML file of settings"),
        (b"[" * 5000, "is nested too deeply; expected a YAML file of settings"),
        (b"optimizer: {lr: .inf}", "optimizer.lr: expected a finite number, got inf"),
        (b"loss: {identity_weight: .nan}", "loss.identity_weight: expected a finite number, got nan"),
        (b"start: runs/first", "start: is called init_from now"),
        (b"batch: {sampler: beside_fakes}", "batch.sampler: beside_fakes is called paired_fakes now"),
    ],
    ids=[
        "unknown setting",
        "unknown group",
        "a list",
        "empty",
        "broken",
        "wrong type",
        "binary",
        "latin 1",
        "itself",
        "deep",
        "infinite",
        "not a number",
        "old name",
        "old value",
    ],
)
def test_a_wrong_config_file(refused, tmp_path, text, what):
    file = tmp_path / "x.yaml"
    file.write_bytes(text)
    assert f"{file}: {what}" in refused(f"--config={file}")
    assert f"{file}: {what}" in refused("--config", file)


def test_a_config_file_that_is_a_folder(refused, tmp_path):
    assert f"{tmp_path}: can't be read (is a directory)" in refused(f"--config={tmp_path}")


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"batch.n_lables": 4}, "batch.n_lables: there is no such setting; did you mean batch.n_labels?"),
        ({"faces.frame_size": 32}, "faces.frame_size: is called faces.crop_size now"),
        ({"model.identity.view": "frame"}, "model.identity.view: frame is called face_crop now"),
        ({"model.authenticity": "{sees: picture}"}, "model.authenticity.sees: picture is called image now"),
        ({"steps": "many"}, 'steps: expected int or null, got "many"'),
        ({"loss.name": "sphereface"}, "loss.name: expected soft_triplet or triplet or cosine_triplet or arcface or "),
        ({"faces.val_fraction": 1.5}, "faces.val_fraction: expected a number"),
        ({"name": "../up"}, "name: expected the name of one folder"),
        ({"steps": -1}, "steps: expected at least 0, got -1"),
        ({"faces.workers": -1}, "faces.workers: expected at least 0, got -1"),
        ({"seed": -1}, "seed: expected at least 0, got -1"),
        ({"optimizer.lr": -0.1}, "optimizer.lr: expected at least 0, got -0.1"),
        ({"model.identity.dim": 0}, "model.identity.dim: expected at least 1, got 0"),
        ({"model.identity.size": 0}, "model.identity.size: expected at least 1, got 0"),
        ({"batch.n_instances": 1}, "n_instances: expected a whole number of at least 2, got 1"),
        ({"loss.margin": "null"}, "loss.margin: triplet needs a margin such as 0.5"),
        ({"loss.margin": -1}, "margin"),
        ({"model.identity.frozen": "true"}, "model: every branch is frozen, so there is nothing to train"),
        ({"faces.transforms": "[{name: Explode}]"}, "Explode"),
        ({"faces.transforms": "[{name: ColorJitter, options: {loudness: 3}}]"}, "ColorJitter"),
        (
            {"model.identity.crop": "true", "model.identity.size": 64},
            "a crop of 64 pixels does not fit a face crop of 32",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_a_wrong_setting(refused, settings, what):
    assert what in refused(**settings)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_where_there_is_none(refused):
    assert "device: cuda was asked for, and this machine has no CUDA device" in refused(device="cuda")


# Networks --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backbone", "what"),
    [
        ("resnet99", 'no backbone is called "resnet99": expected one of resnet18_imagenet1k_v1'),
        ("timm:resnot18", 'timm has no model "resnot18"'),
        ("onnx:gone.onnx", "gone.onnx: no such ONNX file"),
    ],
)
def test_an_unknown_network(refused, backbone, what):
    assert what in refused(**{"model.identity.backbone": backbone})


def test_an_onnx_file_that_is_none(refused, tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"<html>404</html>")
    (tmp_path / "net.yaml").write_text("size: 112")
    said = refused(**{"model.identity.backbone": f"onnx:{tmp_path / 'net.onnx'}", "model.identity.size": "null"})
    assert f"{tmp_path / 'net.onnx'}: can't be used as a network" in said


def test_weights_that_are_not_there(refused, tmp_path):
    said = refused(**{"model.identity.weights": tmp_path / "gone.pt"})
    assert f"{tmp_path / 'gone.pt'}: no such file of weights" in said


def test_weights_that_would_run_code(refused, tmp_path):
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Path.cwd))
    said = refused(**{"model.identity.weights": tmp_path / "evil.pt"})
    assert "evil.pt: refused, for it holds more than tensors" in said


def test_weights_cut_short(refused, tmp_path, run_folder):
    (tmp_path / "half.pt").write_bytes((run_folder / "best.ckpt").read_bytes()[:5000])
    assert "half.pt: not a readable file of weights" in refused(**{"model.identity.weights": tmp_path / "half.pt"})


def test_weights_of_another_backbone(refused, run_folder):
    settings = {"model.identity.backbone": "timm:test_vit", "model.identity.weights": run_folder / "best.ckpt"}
    said = refused(**settings, **{"model.identity.size": "null"})
    assert "best.ckpt: weights of another backbone" in said


@pytest.mark.parametrize("text", [None, b"", b"<html>404</html>"], ids=["missing", "empty", "web page"])
def test_a_detector_that_is_none(refused, tmp_path, text):
    file = tmp_path / "yunet.onnx"
    if text is not None:
        file.write_bytes(text)
    said = refused(**{"faces.detector": file, "model.identity.view": "aligned"})
    assert str(file) in said
    assert "YuNet face detector" in said


# What is there already -------------------------------------------------------------------------------------------------


def test_a_run_of_this_name(refused, run_folder, tmp_path):
    shutil.copytree(run_folder, tmp_path / "runs" / "shared")
    said = refused(name="shared")
    assert "runs/shared: a run of this name exists: resume it by --resume, or choose another --name" in said


def test_going_on_with_other_settings(refused, run_folder, tmp_path):
    shutil.copytree(run_folder, tmp_path / "runs" / "shared")
    said = refused("--resume", name="shared", steps=5)
    assert "runs/shared: was made with other settings (out, steps): resume it by --config" in said


def test_a_folder_of_something_else(refused, tmp_path):
    (tmp_path / "runs" / "run").mkdir(parents=True)
    (tmp_path / "runs" / "run" / "thesis.txt").write_text("mine")
    said = refused()
    assert "runs/run: holds thesis.txt and no run: choose another --name" in said


def test_a_damaged_last_checkpoint(refused, run_folder, tmp_path):
    run = tmp_path / "runs" / "shared"
    shutil.copytree(run_folder, run)
    config = (run / "config.yaml").read_text().replace(str(run_folder.parent), str(tmp_path / "runs"))
    (run / "config.yaml").write_text(config)
    (run / "last.ckpt").write_bytes((run / "last.ckpt").read_bytes()[:3000])
    assert f"{run / 'last.ckpt'}: not a readable file of weights" in refused("--resume", name="shared")


def test_a_file_where_the_folder_of_runs_should_be(refused, tmp_path):
    (tmp_path / "runs").write_text("a file")
    assert "runs/run" in refused()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to(refused, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "locked" in refused(out=tmp_path / "locked")


def test_a_cache_that_can_not_be_made(refused, tmp_path):
    (tmp_path / "file").write_text("a file")
    said = refused(**{"faces.cache": tmp_path / "file" / "cache"})
    assert "decoded images can't be kept there" in said
    assert "set faces.cache elsewhere" in said


@pytest.mark.parametrize(
    ("text", "what"),
    [(None, "no such file")],
    ids=["missing"],
)
def test_a_list_of_issues_that_is_none(refused, tmp_path, text, what):
    if text is not None:
        (tmp_path / "issues.csv").write_text(text)
    said = refused(**{"faces.issues": tmp_path / "issues.csv"})
    assert f"{tmp_path / 'issues.csv'}: " in said
    assert what in said
