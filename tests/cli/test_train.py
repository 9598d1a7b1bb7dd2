"""From a folder of people to a run, to figures and a submission, as a user goes there."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from bonaface.config import TrainConfig
from bonaface.config_io import load_config

ROOT = Path(__file__).parent.parent.parent
SCORER = ROOT.parent / "shared" / "score.py"


def test_from_people_to_a_submission(say, words, make_people, make_pairs, tmp_path, monkeypatch):
    people = make_people()
    (people / "images" / "00000003" / "2.png").write_bytes(b"<html>404</html>")
    said = say("train", *words(**{"faces.train": people, "name": "mine"}))
    assert said.code == 0, said.err
    run = tmp_path / "runs" / "mine"
    assert said.lines[-1].startswith(f"{run}: best val EER ")
    assert any("63 images read from" in line and "left out: 1 unreadable" in line for line in said.lines)
    check_run(run)
    faults = pd.read_csv(run / "issues.csv")
    assert faults["path"].tolist() == ["images/00000003/2.png"]
    assert faults["evidence"].tolist() == [
        "is a web page; expected a JPEG, PNG, WebP, TIFF, AVIF, JPEG 2000, HEIC, BMP or GIF image"
    ]

    pairs = make_pairs()
    out = tmp_path / "evaluation"
    said = say("evaluate", "--model", run, "--pairs", pairs, "--labels", pairs / "labels.csv", "--out", out)
    assert said.code == 0, said.err
    figures = json.loads((out / "metrics.json").read_text())
    figures = figures if "challenge_eer" in figures else figures["models"][0]
    assert {"challenge_eer", "sv_eer", "spf_eer", "sasv_eer"} <= figures.keys()

    monkeypatch.chdir(tmp_path)
    said = say("submit", "--model", run, "--pairs", pairs)
    assert (said.code, said.err) == (0, "submission.csv: 12 pairs scored\n")
    if SCORER.exists():
        scorer = [sys.executable, SCORER, "submission.csv", pairs / "labels.csv"]
        shown = subprocess.run(scorer, capture_output=True, text=True, check=True).stdout
        assert f"{figures['challenge_eer']:.3f}" in shown, shown


def test_networks_are_judged_and_kept_as_they_come(say, words, tmp_path):
    said = say("train", *words(name="kept", steps=0))
    assert said.code == 0, said.err
    run = tmp_path / "runs" / "kept"
    error = json.loads((run / "metrics.json").read_text())["val"]["challenge_eer"]
    assert said.lines[-1] == f"{run}: val EER {error:.4f}, nothing trained"
    assert not (run / "last.ckpt").exists()
    again = say("train", *words(name="kept", steps=0))
    assert again.code == 2
    assert "a run of this name exists" in again.err


def check_run(run: Path) -> None:
    """All that the issue names is there and belongs together."""
    assert {"config.yaml", "best.ckpt", "last.ckpt", "metrics.csv", "metrics.json", "issues.csv"} <= {
        file.name for file in run.iterdir()
    }
    settings = yaml.safe_load((run / "config.yaml").read_text())
    assert settings.keys() == TrainConfig.__dataclass_fields__.keys()
    assert load_config(run / "config.yaml").name == run.name
    history = pd.read_csv(run / "metrics.csv")
    assert history["step"].tolist() == [0, 2, 4]
    figures = json.loads((run / "metrics.json").read_text())
    assert figures["untrained"]["challenge_eer"] == pytest.approx(history["val_challenge_eer"][0])
    assert figures["val"]["challenge_eer"] == pytest.approx(history["val_challenge_eer"][1:].min())
    assert not [file for file in run.iterdir() if file.name.startswith(".")]


def test_the_config_alone_repeats_the_run(say, run_folder, tmp_path):
    said = say("train", "--config", run_folder / "config.yaml", f"--out={tmp_path}", "--name=again")
    assert said.code == 0, said.err
    assert (tmp_path / "again" / "metrics.csv").exists()
    first, again = (pd.read_csv(run / "metrics.csv") for run in (run_folder, tmp_path / "again"))
    pd.testing.assert_frame_equal(first.drop(columns="images_per_second"), again.drop(columns="images_per_second"))


def test_the_help_fits_three_screens(say, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    said = say("train", "--help")
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0] == "usage: bonaface train --config FILE [--any.setting VALUE ...] [--resume]"
    assert len(lines) <= 110
    assert max(map(len, lines)) <= 120
    text = " ".join(said.out.split())
    assert "--resume resume the run of this name where it was stopped" in text
    assert "--batch.n_labels N classes (balanced) or people (paired_fakes) in a batch (25)" in text


def test_baseline_needs_no_batch(say, words):
    """With no steps the people need not fill a batch."""
    said = say("train", *words(name="few", steps=0, **{"batch.n_labels": 500}))
    assert said.code == 0, said.err


def test_a_log_file_has_one_line_an_event(run_folder, say, words):
    said = say("train", *words(name="a" * 60))
    assert said.code == 0
    events = [line for line in said.lines if line[:2].isdigit()]
    assert any("val EER" in line and line.endswith(")") and len(line) > 100 for line in events)
    assert all(line == line.rstrip() for line in events)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("file", ["config.yaml", "issues.csv"])
def test_a_full_disk_before_training_leaves_nothing(say, words, tmp_path, monkeypatch, code, file):
    whole = Path.replace

    def replace(self, target):
        if Path(target).name == file:
            raise OSError(code, os.strerror(code), str(self))
        return whole(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    said = say("train", *words())
    assert said.code == 2
    assert said.lines[-1].startswith(
        f"bonaface train: {tmp_path / 'runs' / 'run' / file}: can't be written, the disk is full"
    )
    assert not (tmp_path / "runs" / "run").exists()


def test_a_full_disk_at_the_first_checkpoint_leaves_nothing(say, words, tmp_path, monkeypatch):
    def full(*arguments, **named):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(torch, "save", full)
    said = say("train", *words())
    assert said.code == 2
    assert "no space left" in said.lines[-1] or "the disk is full" in said.lines[-1]
    assert not (tmp_path / "runs" / "run").exists()


def interrupted(words: list[str], when: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """A training in a process group of its own that gets Ctrl-C once ``when`` stands in its log."""
    log = tmp_path / "log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "bonaface", "train", *words],
            stderr=stderr,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            cwd=ROOT,
            # Started in the background of a shell, this process ignores Ctrl-C, and so would its children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        try:
            give_up = time.monotonic() + 300  # a busy machine takes a minute to import torch
            while when not in log.read_text() and process.poll() is None and time.monotonic() < give_up:
                time.sleep(0.1)
            assert when in log.read_text(), log.read_text()
            os.killpg(process.pid, signal.SIGINT)
            code = process.wait(60)
        finally:
            process.kill()
    return subprocess.CompletedProcess(words, code, "", log.read_text())


def test_ctrl_c_says_how_to_resume(say, words, tmp_path):
    # A worker process gets the signal too, as in a terminal; between two rounds it is being ended.
    endless = words(steps=100_000, val_every=2, **{"faces.workers": 1})
    done = interrupted(endless, "step 4: ", tmp_path)  # the checkpoint of step 2 is whole by then
    settings = tmp_path / "runs" / "run" / "config.yaml"
    assert done.returncode == 130, done.stderr
    assert done.stderr.splitlines()[-1] == (
        f"bonaface train: interrupted; resume by bonaface train --config {settings} --resume"
    )
    assert "Traceback" not in done.stderr
    assert done.stderr.count("interrupted") == 1
    assert (settings.parent / "last.ckpt").exists()
    assert np.all(np.isfinite(pd.read_csv(settings.parent / "metrics.csv")["val_challenge_eer"]))
