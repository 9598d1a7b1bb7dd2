"""The report's two scripts on real deepfakes: ``train.py``, then ``make_submission.py``, judged by the challenge's own score.py."""

import csv
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
DFDC = SHARED / "dfdc-faces"

pytestmark = pytest.mark.skipif(
    not (DFDC.is_dir() and (SHARED / "score.py").is_file()), reason="no dfdc-faces and score.py in ../shared"
)


def run(*words: object) -> str:
    """What a script says; the test fails with its errors if it does not end well."""
    ended = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    """24 people with photos and deepfakes, and 60 of the public pairs, in the challenge's layout."""
    folder = tmp_path_factory.mktemp("dfdc")
    meta = json.loads((DFDC / "train" / "meta.json").read_text())
    kinds = Counter((name.split("/")[0], fake) for name, fake in meta.items())
    people = sorted({person for person, _ in kinds if kinds[person, 0] >= 2 and kinds[person, 1] >= 2})[:24]
    for person in people:
        shutil.copytree(DFDC / "train" / "images" / person, folder / "train" / "images" / person)
    kept = {name: fake for name, fake in meta.items() if name.split("/")[0] in people}
    (folder / "train" / "meta.json").write_text(json.dumps(kept))
    with (DFDC / "test_public" / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    chosen = [row for kind in ("same", "impostor", "own_fake") for row in rows if row["kind"] == kind][::23]
    assert {row["kind"] for row in chosen} == {"same", "impostor", "own_fake"}
    for row in chosen:
        shutil.copytree(DFDC / "test_public" / "images" / row["pair_id"], folder / "test" / "images" / row["pair_id"])
    with (folder / "labels.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(chosen)
    return folder


def test_from_the_data_to_a_submission(part, tmp_path):
    settings = {
        "faces.train": part / "train",
        "faces.cache": tmp_path / "cache",
        "faces.val_fraction": 0.25,
        "faces.val_pairs": 40,
        "faces.crop_size": 64,
        "faces.workers": 0,
        "model.identity.backbone": "timm:resnet10t",
        "model.identity.weights": "none",
        "model.identity.size": 32,
        "batch.n_labels": 6,
        "batch.n_instances": 2,
    }
    words = [f"--{name}={value}" for name, value in settings.items()]
    run(
        ROOT / "train.py",
        "--config",
        ROOT / "configs/report.yaml",
        "--name=r",
        f"--out={tmp_path}",
        "--steps=4",
        *words,
    )
    submission = tmp_path / "submission.csv"
    run(ROOT / "make_submission.py", "--model", tmp_path / "r", "--pairs", part / "test", "--out", submission)

    with submission.open() as file:
        written = {row["pair_id"]: float(row["similarity"]) for row in csv.DictReader(file)}
    with (part / "labels.csv").open() as file:
        labels = list(csv.DictReader(file))
    assert written.keys() == {row["pair_id"] for row in labels}
    told = run(SHARED / "score.py", submission, part / "labels.csv")
    found = re.match(r"EER (0\.\d{4})  \((\d+) pairs\)", told)
    assert found is not None, told
    assert int(found[2]) == len(labels)
    assert 0.05 < float(found[1]) < 0.7  # of a network that has seen 48 images
