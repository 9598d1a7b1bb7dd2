"""Pipes that nobody writes to and devices without end are refused by every command, wherever a file is read."""

import os
import signal

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="of Unix")

SECONDS = 20
WRITTEN = {"--audit", "--auth", "--cache", "--gallery", "--keep-photos"}
"""Options whose file a mistake could replace, which must not be the machine's own device."""
SUFFIXES = (".jpg", ".mp4", ".onnx", ".xml", ".csv", ".parquet", ".json", ".txt", ".db")
DOORS = [
    "check {}",
    "check {zero}.jpg",
    "check {photo} --model {}.onnx",
    "check {photo} --model {}.xml",
    "check {photo} --model {}",
    "check {photo} --detector {}",
    "check {photo} --model {run}",
    "verify {photo} {}",
    "verify {photo} {}.mp4",
    "verify {photo} {photo} --model {}.onnx",
    "verify {photo} {photo} --detector {}",
    "verify --pairs {}",
    "verify --pairs {}.csv",
    "submit --pairs {}",
    "embed {} --out e.npz",
    "embed {folder} --model {}.onnx --out e.npz",
    "embed {}.csv --out e",
    "embed {}.parquet --out e",
    "enrol {} --gallery g.sqlite",
    "enrol {folder} --gallery {}",
    "enrol {folder} --gallery {}.db",
    "search {} --gallery {}",
    "search {photo} --gallery {}",
    "clean {} --files-only --out i.csv",
    "clean {}.csv --files-only --out i.csv",
    "clean {}.parquet --files-only --out i.csv",
    "clean {folder} --model {}.onnx --out i.csv",
    "evaluate --scores {} --out ev",
    "evaluate --scores {scores} --labels {} --out ev",
    "evaluate --scores {scores} --labels {scores} --val-scores {} --out ev",
    "evaluate --pairs {} --out ev",
    "evaluate --pairs {folder} --labels {}.txt --out ev",
    "calibrate --pairs {} --out c.onnx",
    "calibrate --pairs {}.csv --out c.onnx",
    "export --model {}.onnx --format onnx --out c.onnx",
    "train --config {}",
    "train --faces.train {}.csv --faces.val {folder}",
    "train --faces.train {folder} --faces.issues {}",
    "train --faces.train {folder} --model.init_from {}",
    "forge {} f",
    "forge {folder} f --issues {}",
    "forge {folder} f --landmarks {}.csv",
    "forge {folder} f --landmarks {}.parquet",
    "forge {folder} f --landmarks {}.json",
    "forge {folder} f --detector {}",
    "experiments run {}",
    "experiments report {}",
    "get lfw d --from {}",
    "serve --auth {}",
    "serve --auth {} --new-key me",
    "serve --model {}.onnx",
    "serve --detector {}",
    "serve --audit {}",
    "serve --gallery {}",
    "serve --gallery g.sqlite --keep-photos {}",
]


@pytest.fixture
def soon():
    """Let a test fail that waits without end."""

    def late(*_: object) -> None:
        raise AssertionError(f"took more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("kind", ["pipe", "device"])
@pytest.mark.parametrize("door", DOORS)
def test_what_has_no_end_is_refused(say, tmp_path, monkeypatch, device, door, kind):
    monkeypatch.chdir(tmp_path)
    zero = device("zero") if kind == "device" and WRITTEN & set(door.split()) else "/dev/zero"
    folder = tmp_path / "people"
    for person in ("ann", "bob"):
        (folder / person).mkdir(parents=True)
        Image.new("RGB", (64, 64)).save(folder / person / "1.png")
    scores, run = tmp_path / "scores.csv", tmp_path / "run"
    scores.write_text("pair_id,similarity,label\na,1,1\nb,0,0\n", encoding="utf-8")
    run.mkdir()
    for endless in (tmp_path / f"endless{suffix}" for suffix in ("", *SUFFIXES)):
        (os.mkfifo if kind == "pipe" else lambda path: path.symlink_to(zero))(endless)
    (run / "config.yaml").symlink_to(tmp_path / "endless")
    names = {
        "photo": folder / "ann" / "1.png",
        "folder": folder,
        "scores": scores,
        "run": run,
        "zero": tmp_path / "endless",
    }
    said = say(*(word.format(tmp_path / "endless", **names) for word in door.split()))
    assert said.code == (1 if door.startswith("check") and "--" not in door else 2), said
    assert "Traceback" not in said.err


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_weights_beside_a_network_are_a_regular_file(say, tmp_path, kind):
    onnx = pytest.importorskip("onnx")
    weights = onnx.numpy_helper.from_array(np.ones((12, 8), np.float32), "w")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Flatten", ["x"], ["f"]), onnx.helper.make_node("MatMul", ["f", "w"], ["y"])],
        "g",
        [value("x", onnx.TensorProto.FLOAT, [1, 3, 2, 2])],
        [value("y", onnx.TensorProto.FLOAT, [1, 8])],
        [weights],
    )
    file, beside, photo = tmp_path / "n.onnx", tmp_path / "n.data", tmp_path / "a.png"
    onnx.save_model(
        onnx.helper.make_model(graph), file, save_as_external_data=True, location=beside.name, size_threshold=0
    )
    beside.unlink()
    os.mkfifo(beside) if kind == "pipe" else beside.symlink_to("/dev/zero")
    (tmp_path / "n.json").write_text('{"size": 2, "channels": "rgb", "mean": [0, 0, 0], "std": [1, 1, 1]}')
    Image.new("RGB", (64, 64)).save(photo)
    said = say("verify", str(photo), str(photo), "--model", str(file))
    assert (said.code, f"n.data: can't be read (is a {kind}, and no regular file)" in said.err) == (2, True), said
