"""A run's folder: repeated, moved, gone on with after a kill, refused where it does not fit."""

import errno
import io
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pandas as pd
import pytest
import torch
import yaml
from rich.console import Console

from bonaface.assets import shipped_detector
from bonaface.config import FacesConfig
from bonaface.config_io import RENAMED, parse_config
from bonaface.errors import ConfigError, DataError, ModelError, UnalignedWarning
from bonaface.inference.embedder import load_embedder
from bonaface.training.module import FaceTraining
from bonaface.training.run import RunFolder, load_run
from bonaface.training.train import train

AUTHENTIC = {
    "model.identity.frozen": True,
    "model.authenticity.backbone": "timm:test_efficientnet",
    "model.authenticity.weights": "none",
    "model.authenticity.size": 24,
    "model.authenticity.crop": True,
    "batch.sampler": "paired_fakes",
    "faces.degrade": 0.5,
}
# Without batch norm and with no steps every validation is exactly as good as the first.
STILL = {"model.identity.backbone": "timm:test_convnext", "optimizer.lr": 0.0}


def weights(run: Path, which: str = "last") -> dict[str, torch.Tensor]:
    return torch.load(run / f"{which}.ckpt", weights_only=True)["state_dict"]


def assert_equal(one: Path, other: Path) -> None:
    for which in ("last", "best"):
        a, b = weights(one, which), weights(other, which)
        assert list(a) == list(b)
        assert [name for name in a if not torch.equal(a[name], b[name])] == []
    columns = ["step", "train_loss", "active"]
    rows, others = (pd.read_csv(run / "metrics.csv").drop(columns="images_per_second") for run in (one, other))
    pd.testing.assert_frame_equal(rows, others)
    assert list(rows.columns[:3]) == columns


def stop_at(monkeypatch, stop: int, error: type[BaseException] = RuntimeError) -> None:
    """Training raises when it is to make its ``stop``-th step, counted from 0."""
    whole, made = FaceTraining.training_step, iter(range(10**6))

    def step(self, batch, index):
        if next(made) == stop:
            raise error("stopped")
        return whole(self, batch, index)

    monkeypatch.setattr(FaceTraining, "training_step", step)


def test_one_seed_one_model(trained):
    first, second, other = trained("first"), trained("second"), trained("other", seed=1)
    assert_equal(first, second)
    changed = [not torch.equal(a, b) for a, b in zip(weights(first).values(), weights(other).values(), strict=True)]
    assert any(changed)


def test_what_a_run_leaves(trained):
    run = trained("whole")
    files = {"config.yaml", "issues.csv", "best.ckpt", "last.ckpt", "metrics.csv", "metrics.json", "calibration.json"}
    files |= {"curves.html", "people.json"}
    assert {file.name for file in run.iterdir()} == files
    rows = pd.read_csv(run / "metrics.csv")
    assert rows["step"].tolist() == [0, 2, 4, 6]
    assert rows["train_loss"].isna().tolist() == [True, False, False, False]
    figures = json.loads((run / "metrics.json").read_text())
    assert {"val", "untrained", "best_step", "steps", "val_pairs", "seed", "bonaface", "torch"} <= set(figures)
    assert {"challenge_eer", "sv_eer", "spf_eer", "sasv_eer"} <= set(figures["val"])
    assert {"challenge_eer", "sv_eer", "spf_eer", "sasv_eer"} <= set(figures["untrained"])
    assert (figures["steps"], figures["val_pairs"], figures["seed"]) == (6, 24, 0)
    eers = rows["val_challenge_eer"]
    assert figures["untrained"]["challenge_eer"] == eers[0]
    assert figures["val"]["challenge_eer"] == pytest.approx(eers[1:].min(), abs=1e-6)
    assert figures["best_step"] == rows["step"][eers[1:].idxmin()]


def test_the_untrained_model_is_no_best_step(trained):
    """best.ckpt is never the untrained model, so metrics.json must not say so."""
    run = trained("worse", **STILL)
    assert json.loads((run / "metrics.json").read_text())["best_step"] == 2


def test_config_alone_repeats_a_run(trained):
    run = trained("a", **{"faces.flip": 0.7, "optimizer.lr": 2e-3, "faces.transforms": "[{name: RandomGrayscale}]"})
    again = train(parse_config(["--config", str(run / "config.yaml"), "--name", "b"]), Console(file=io.StringIO()))
    assert_equal(run, again)
    saved = yaml.safe_load((run / "config.yaml").read_text())
    assert saved["faces"]["transforms"] == [{"name": "RandomGrayscale", "options": {}}]


def killed(command: list[str], run: Path, after: int) -> None:
    """Kills a training by SIGKILL once metrics.csv tells of step ``after``."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        if (run / "metrics.csv").exists() and pd.read_csv(run / "metrics.csv")["step"].max() >= after:
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, said


def test_a_killed_run_goes_on_as_if_never_killed(words, trained, tmp_path):
    settings = {"steps": 100, "val_every": 4}
    reference = trained("reference", **settings)
    run = tmp_path / "runs" / "killed"
    command = [sys.executable, "-m", "bonaface", "train", *words("killed", **settings)]
    killed(command, run, after=8)
    assert not (run / "metrics.json").exists(), "the kill came too late to test anything"
    stood_at = pd.read_csv(run / "metrics.csv")["step"].max()
    assert 8 <= stood_at < 100
    (run / ".curves.0123abcd.html").write_text("<html>")  # as a kill leaves it that comes while it is written
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "untrained: val EER" not in done.stderr, "it began anew"
    assert_equal(reference, run)
    keys = ("val", "untrained", "best_step")
    of_both = [json.loads((each / "metrics.json").read_text()) for each in (reference, run)]
    assert [of_both[0][key] for key in keys] == [of_both[1][key] for key in keys]
    assert not list(run.glob(".*")), "half-written files"


@pytest.mark.parametrize(
    ("settings", "stop"),
    [
        ({}, 1),
        ({}, 10),
        (AUTHENTIC, 4),
        ({"optimizer.accumulate": 2, "optimizer.name": "sgd", "optimizer.clip": 1.0}, 7),
        ({"patience": 2, **STILL}, 8),
        ({"optimizer.ema": 0.5}, 7),
        ({"loss.name": "adaface"}, 7),
        ({"loss.memory": 30, "optimizer.ema": 0.5}, 7),
    ],
    ids=["first round", "last round", "authentic", "accumulate", "patience", "average", "centres", "memory"],
)
def test_any_stop_any_recipe(trained, monkeypatch, settings, stop):
    """Rounds of 3, 3, 3 and 2 steps."""
    settings = {"steps": 11, "val_every": 3, **settings}
    reference = trained("reference", **settings)
    if "patience" in settings:
        assert pd.read_csv(reference / "metrics.csv")["step"].max() == 9  # two validations no better than the first
    with monkeypatch.context() as context:
        stop_at(context, stop)
        with pytest.raises(RuntimeError, match="stopped"):
            trained("stopped", **settings)
    there = stop >= settings["val_every"]  # of one that failed before its first checkpoint nothing is left
    assert_equal(reference, trained("stopped", resume=there, **settings))


def test_the_average_of_the_weights_is_kept(trained):
    settings = {"optimizer.schedule": "constant", "optimizer.warmup": 0, "optimizer.lr": 1e-2}

    def weights(steps, average):
        run = trained(f"{steps} {average}", steps=steps, val_every=steps, **settings, **{"optimizer.ema": average})
        state = torch.load(run / "best.ckpt", weights_only=True)["state_dict"]
        return {name: value for name, value in state.items() if value.is_floating_point()}

    first, second, averaged = weights(1, 0.0), weights(2, 0.0), weights(2, 0.75)
    assert any(not torch.equal(first[name], second[name]) for name in first)
    for name, value in averaged.items():
        torch.testing.assert_close(value, 0.75 * first[name] + 0.25 * second[name])


def test_a_run_starts_with_the_weights_of_another(trained, monkeypatch, tmp_path):
    first = trained("first", **AUTHENTIC)
    best = json.loads((first / "metrics.json").read_text())["val"]
    start = {**AUTHENTIC, "init_from": first, "faces.degrade": 0.0}
    further = trained("further", **start)
    begun = json.loads((further / "metrics.json").read_text())["untrained"]
    for name in ("challenge_eer", "sv_eer", "spf_eer", "sasv_eer"):
        assert begun[name] == pytest.approx(best[name])
    assert any(not torch.equal(value, weights(first, "best")[name]) for name, value in weights(further).items())
    with monkeypatch.context() as context:
        stop_at(context, 4)
        with pytest.raises(RuntimeError, match="stopped"):
            trained("stopped", **start)
    shutil.move(first, tmp_path / "moved")  # what was begun needs it no more
    assert_equal(further, trained("stopped", resume=True, **start))


def test_a_start_that_is_none_is_refused(trained, tmp_path):
    first = trained("first")
    with pytest.raises(ModelError, match=r"best\.ckpt: made with another backbone than model says: \d+ of \d+ tensors"):
        trained("other", init_from=first, **{"model.identity.backbone": "timm:test_convnext"})
    with pytest.raises(ConfigError, match=r"init_from: .*nowhere: not the folder of a run"):
        trained("other", init_from=tmp_path / "nowhere")
    assert not (tmp_path / "runs" / "other").exists()


def test_two_runs_side_by_side(trained):
    """Kept without a step, a network for the image and one for its residual say the mean of what they said apart."""
    image = trained("image", **AUTHENTIC)
    residual = trained("residual", **AUTHENTIC, **{"model.authenticity.sees": "residual", "optimizer.lr": 0.01})
    both = AUTHENTIC | {"model.authenticity.sees": "both", "init_from": f"[{image}, {residual}]"}
    run = load_run(trained("both", **both, steps=0))
    images = torch.randint(0, 256, (5, 3, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    apart, inputs = [load_run(each).model for each in (image, residual)], {"authenticity": images}
    with torch.inference_mode():
        said = [model.authenticate(inputs) for model in apart]
        torch.testing.assert_close(run.model.authenticate(inputs), (said[0] + said[1]) / 2)
    assert not torch.allclose(*said)
    assert json.loads((run.folder / "metrics.json").read_text())["steps"] == 0
    assert run.calibration is not None
    further = trained("further", **AUTHENTIC | {"model.authenticity.sees": "both", "init_from": run.folder})
    moved = {
        name for name, value in weights(further).items() if not torch.equal(value, weights(run.folder, "best")[name])
    }
    assert {name.split(".")[4] for name in moved if ".backbone.net." in name} == {"image", "residual"}


def test_runs_that_can_not_stand_side_by_side_are_refused(trained):
    first, plain = trained("first", **AUTHENTIC), trained("plain")
    both = AUTHENTIC | {"model.authenticity.sees": "both", "steps": 0}
    with pytest.raises(
        ConfigError, match=r"init_from: expected one folder, or two if model\.authenticity\.sees is both, got 2"
    ):
        trained("other", **AUTHENTIC, init_from=f"[{first}, {first}]")
    with pytest.raises(ConfigError, match=r"got 3"):
        trained("other", **both, init_from=f"[{first}, {first}, {first}]")
    with pytest.raises(ConfigError, match=r"got 0"):
        trained("other", **both, init_from="[]")
    with pytest.raises(
        ConfigError,
        match=r"init_from: .*plain: expected an .* that sees the residual, and it has none",
    ):
        trained("other", **both, init_from=f"[{first}, {plain}]")
    with pytest.raises(
        ConfigError, match=r"init_from: .*first: expected .* sees the residual, and it has one that sees image"
    ):
        trained("other", **both, init_from=f"[{first}, {first}]")
    with pytest.raises(ModelError, match=r"made with another backbone than model says"):
        trained("other", **both, init_from=first)


def test_dropout_is_the_same_after_a_stop(trained, monkeypatch, tmp_path, write_network):
    file = write_network(tmp_path / "dropout.onnx", size=16, dropout=0.5)
    settings = {"model.identity.backbone": f"onnx:{file}", "model.identity.weights": "pretrained"}
    settings |= {"model.identity.size": 16, "steps": 8}
    reference = trained("reference", **settings)
    with monkeypatch.context() as context:
        stop_at(context, 5)
        with pytest.raises(RuntimeError, match="stopped"):
            trained("stopped", **settings)
    assert_equal(reference, trained("stopped", resume=True, **settings))


@pytest.fixture(autouse=True)
def sigint():
    """Lightning leaves SIGINT ignored after an interrupt."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_is_not_swallowed(trained, monkeypatch):
    with monkeypatch.context() as context:
        stop_at(context, 3, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            trained("interrupted")
    assert_equal(trained("reference"), trained("interrupted", resume=True))


@pytest.mark.parametrize("settings", [{}, {"patience": 1, **STILL}], ids=["done", "out of patience"])
def test_going_on_with_a_finished_run_changes_nothing(trained, settings):
    reference, run = trained("reference", **settings), trained("finished", **settings)
    assert trained("finished", resume=True, **settings) == run
    assert_equal(reference, run)


def test_there_is_nothing_to_resume(trained, tmp_path):
    with pytest.raises(
        ConfigError, match=r"fresh: no run of this name to resume: leave --resume out, or correct --name"
    ):
        trained("fresh", resume=True)
    assert not (tmp_path / "runs").exists()


def test_a_run_is_not_overwritten(trained):
    run = trained("once")
    before = weights(run)
    with pytest.raises(ConfigError, match=r"once: a run of this name exists: resume it by --resume"):
        trained("once")
    with pytest.raises(ConfigError, match=r"was made with other settings \(optimizer\): resume it by --config"):
        trained("once", resume=True, **{"optimizer.lr": 0.5})
    assert all(torch.equal(before[name], value) for name, value in weights(run).items())


def test_nothing_is_written_before_the_settings_make_sense(trained, tmp_path):
    cases = [
        ({"batch.n_labels": 500}, ConfigError),
        ({"faces.train": tmp_path / "nowhere"}, DataError),
        ({"faces.train": ""}, ConfigError),
        ({"model.identity.backbone": "resnet1"}, ConfigError),
        ({"model.identity.crop": True, "model.identity.size": 64}, ConfigError),
    ]
    for settings, error in cases:
        with pytest.raises(error) as caught:
            trained("never", **settings)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"model.identity.frozen": True}, "nothing to train"),
        ({"loss.margin": "null"}, "triplet needs a margin"),
        ({"faces.transforms": "[{name: Sharpen}]"}, "no transform"),
        ({"device": "cuda"}, "no CUDA device"),
    ],
)
def test_settings_that_training_refuses(trained, tmp_path, settings, sentence):
    if settings.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(ConfigError, match=sentence):
        trained("never", **settings)
    assert not (tmp_path / "runs" / "never").exists()


@pytest.mark.parametrize("beside", [None, "net.onnx.data", "weights/net.bin"])
def test_a_run_can_be_moved(trained, tmp_path, write_network, beside):
    source = tmp_path / "networks"
    source.mkdir()
    network = write_network(source / "net.onnx", size=16)
    if beside is not None:
        (source / beside).parent.mkdir(exist_ok=True)
        onnx.save_model(onnx.load(network), network, save_as_external_data=True, location=beside, size_threshold=64)
    settings = {"model.identity.backbone": f"onnx:{network}", "model.identity.size": 16}
    settings["model.identity.weights"] = "pretrained"
    run = trained("moving", **settings)
    expected = load_run(run)
    moved = tmp_path / "elsewhere" / "moved"
    shutil.move(run, moved)
    shutil.rmtree(source)
    loaded = load_run(moved)
    assert loaded.folder == moved
    assert loaded.calibration == expected.calibration is not None
    assert not loaded.model.training
    images = {"identity": torch.randint(0, 256, (3, 3, 32, 32), generator=torch.Generator().manual_seed(0))}
    with torch.inference_mode():
        assert torch.equal(loaded.model.embed(images)[0], expected.model.embed(images)[0])
    best = weights(moved, "best")
    assert all(torch.equal(best[f"model.{name}"], value) for name, value in loaded.model.state_dict().items())


def test_weights_of_one_file_name(trained, tmp_path, write_network):
    """Two networks whose weights lie in files of one name, which a run's folder can't hold."""
    settings = {"batch.sampler": "paired_fakes"}
    for branch in ("identity", "authenticity"):
        file = write_network(tmp_path / branch / f"{branch}.onnx", size=16)
        onnx.save_model(onnx.load(file), file, save_as_external_data=True, location="w.bin", size_threshold=64)
        settings |= {f"model.{branch}.backbone": f"onnx:{file}", f"model.{branch}.size": 16}
        settings[f"model.{branch}.weights"] = "pretrained"
    with pytest.raises(ConfigError, match=r"two different files are called w\.bin"):
        trained("two", **settings)


def test_networks_of_one_file_name(trained, tmp_path, write_network):
    one, other = (
        write_network(tmp_path / folder / "net.onnx", size=16, width=width) for folder, width in (("a", 3), ("b", 5))
    )
    settings = {
        "model.identity.backbone": f"onnx:{one}",
        "model.identity.size": 16,
        "model.identity.weights": "pretrained",
        "batch.sampler": "paired_fakes",
    }
    with pytest.raises(ConfigError, match=r"two different files are called net\.onnx"):
        trained("two", **settings, **{"model.authenticity.backbone": f"onnx:{other}"})
    assert not (tmp_path / "runs").exists()
    assert (
        load_run(trained("one", **settings, **{"model.authenticity.backbone": f"onnx:{one}"})).model.identity.dim == 3
    )


def test_no_run(tmp_path, trained, monkeypatch):
    with pytest.raises(ModelError, match=r"not the folder of a run: expected config\.yaml"):
        load_run(tmp_path)
    with monkeypatch.context() as context:
        stop_at(context, 0, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            trained("early")
    with pytest.raises(ModelError, match="stopped before its first validation; resume it by --resume"):
        load_run(tmp_path / "runs" / "early")


def test_a_checkpoint_of_another_backbone(trained):
    run, other = trained("resnet"), trained("other", **{"model.identity.backbone": "timm:test_efficientnet"})
    shutil.copy(other / "best.ckpt", run / "best.ckpt")
    with pytest.raises(ModelError, match=r"best\.ckpt: made with another backbone than .*config\.yaml says") as caught:
        load_run(run)
    assert "\n" not in str(caught.value)
    (run / "best.ckpt").write_bytes((other / "best.ckpt").read_bytes()[:5000])
    with pytest.raises(ModelError, match=r"best\.ckpt"):
        load_run(run)


def test_an_interrupted_run_has_no_calibration(trained, monkeypatch, tmp_path):
    with monkeypatch.context() as context:
        stop_at(context, 5)
        with pytest.raises(RuntimeError, match="stopped"):
            trained("interrupted")
    assert load_run(tmp_path / "runs" / "interrupted").calibration is None


def test_a_run_of_0_1_loads_and_resumes(trained, monkeypatch, tmp_path):
    """Its settings and its modules had other names."""
    settings = AUTHENTIC | {"model.authenticity.sees": "both", "model.five_crop": True, "optimizer.ema": 0.5}
    reference = trained("reference", **settings)
    with monkeypatch.context() as context:
        stop_at(context, 4)
        with pytest.raises(RuntimeError, match="stopped"):
            trained("old", **settings)
    for name in ("reference", "old"):
        make_old(shutil.copytree(tmp_path / "runs" / name, tmp_path / "0.1" / name))
    new, old = load_run(reference).model.state_dict(), load_run(tmp_path / "0.1" / "reference").model.state_dict()
    assert all(torch.equal(value, old[name]) for name, value in new.items())
    shutil.rmtree(tmp_path / "runs" / "old")
    shutil.move(tmp_path / "0.1" / "old", tmp_path / "runs" / "old")
    resumed = trained("old", resume=True, **settings)
    ended, wanted = weights(resumed), weights(reference)
    assert list(ended) == list(wanted)
    assert all(torch.equal(value, ended[name]) for name, value in wanted.items())


def make_old(run: Path) -> None:
    """Gives a run the names of 0.1."""
    text = (run / "config.yaml").read_text()
    for old, new in RENAMED.items():
        text = text.replace(f"{new.rpartition('.')[2]}: ", f"{old.rpartition('.')[2]}: ")
    text = text.replace("sampler: paired_fakes", "sampler: beside_fakes").replace("view: face_crop", "view: frame")
    (run / "config.yaml").write_text(text)
    for file in run.glob("*.ckpt"):
        checkpoint = torch.load(file, weights_only=True)
        for key in {"state_dict", "current_model_state"} & checkpoint.keys():
            named = checkpoint[key].items()
            checkpoint[key] = {name.replace("backbone.net.image.", "backbone.net.picture."): x for name, x in named}
        torch.save(checkpoint, file)


def test_a_run_is_read_without_lightning():
    code = "import sys, bonaface.training.run; print(*sorted({'lightning', 'pandas', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_detector_inside_the_shipped_model_is_the_default_and_kept(trained, tmp_path):
    assert FacesConfig().detector == "shipped"
    run = trained("a", **{"faces.detector": "shipped"}, steps=2)
    moved = run.rename(tmp_path / "moved")
    detector = load_run(moved).detector
    assert detector.is_relative_to(moved)
    assert detector.read_bytes() == shipped_detector()


def test_a_recogniser_without_a_detector_warns_once(trained):
    run = trained("a", **{"model.identity.view": "aligned"}, steps=2)
    with pytest.warns(UnalignedWarning, match="^a: identity: expects aligned faces of 32 px") as said:
        load_embedder(str(run))
    assert len(said) == 1


def test_two_at_once_under_one_name(trained, tmp_path):
    """The second is refused while the first writes, and the first ends as if alone."""
    run = RunFolder(tmp_path / "runs" / "held")
    with (
        run.held(),
        pytest.raises(ConfigError, match="held: is being trained by another process: choose another --name"),
    ):
        trained("held")
    assert not run.path.exists()
    assert trained("held") == run.path
    assert not list(run.path.glob("*.lock"))


def test_a_training_that_diverges_says_so(trained, tmp_path):
    sentence = r"training diverged: by step \d+ the network gives embeddings that aren't finite; .* optimizer\.lr \(it is 1e\+30\)"
    with pytest.raises(ModelError, match=sentence):
        trained("diverged", **{"optimizer.lr": 1e30})
    assert not (tmp_path / "runs").exists()


def test_a_file_system_without_locks_trains(trained, monkeypatch):
    def without(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("bonaface.training.run.try_lock", without)
    run = trained("unlocked")
    assert (run / "metrics.json").exists()
    assert not list(run.glob("*.lock"))
