"""Folders of forgeries: the layout, the same bytes again, going on after a stop, refusals, and what JPEG statistics tell."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bonaface.assets import unpack_demo
from bonaface.cli import main
from bonaface.data.pair_lists import read_pair_list
from bonaface.data.table import FaceTable, read_faces
from bonaface.errors import ConfigError, DataError
from bonaface.forgery.donors import Donors
from bonaface.forgery.evaluation_sets import with_forged_validation
from bonaface.forgery.generate import forge_tree
from bonaface.forgery.methods import METHODS, NEEDS_DONOR
from bonaface.forgery.recipe import Recipe, seed_of
from bonaface.images.decoding import decode

SIDE = 64


def portrait(person: int, n: int, height: int = SIDE, width: int = SIDE) -> NDArray[np.uint8]:
    """A smooth pattern of the person, in other light and with other noise in each photo."""
    coarse = np.random.default_rng(person).uniform(40, 215, (6, 6, 3)).astype(np.float32)
    rng = np.random.default_rng([person, n])
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) + rng.normal(0, 8, 3)
    return np.clip(image + rng.normal(0, 5, image.shape), 0, 255).astype(np.uint8)


def write_tree(root: Path, people: int = 4, photos: int = 3) -> Path:
    for person in range(people):
        folder = root / f"person {person}"
        folder.mkdir(parents=True)
        for n in range(photos):
            Image.fromarray(portrait(person, n)).save(folder / f"{n}.png")
    return root


def digests(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack_demo(tmp_path_factory.mktemp("demo")) / "train"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "faces")


def test_layout_counts_and_what_the_csv_says(tree: Path, tmp_path: Path) -> None:
    count = len(METHODS)
    forged = forge_tree(read_faces(tree), tmp_path / "out", Recipe(per_person=count))
    table = read_faces(tmp_path / "out")
    rows = pd.read_csv(tmp_path / "out" / "forgeries.csv")
    assert (forged.people, forged.photos, forged.left_out, forged.lonely, forged.kept) == (4, 12, {}, 0, 0)
    assert forged.methods == dict.fromkeys(METHODS, 4)
    assert table.frame.groupby("person")["is_fake"].agg(["sum", "size"]).to_numpy().tolist() == [[count, count + 3]] * 4
    assert set(rows["path"]) == set(table.frame.loc[table.frame["is_fake"], "path"])
    assert all((tree / path).exists() for path in rows["source"])
    assert (rows["path"].str.split("/").str[1] == rows["source"].str.split("/").str[0]).all()
    swaps = rows["method"].isin(NEEDS_DONOR)
    assert rows["donor"].notna().equals(swaps)
    assert (rows["donor"][swaps].str.split("/").str[0] != rows["source"][swaps].str.split("/").str[0]).all()
    assert all(decode(table.path(row)).shape == (SIDE, SIDE, 3) for row in range(len(table)))


def test_numbers_do_not_tell_photos_from_deepfakes(tree: Path, tmp_path: Path) -> None:
    forge_tree(read_faces(tree), tmp_path / "out", Recipe(per_person=3))
    orders = {tuple(is_fake) for _, is_fake in read_faces(tmp_path / "out").frame.groupby("person")["is_fake"]}
    assert len(orders) > 1


def test_same_seed_same_bytes_whatever_the_workers(tree: Path, tmp_path: Path) -> None:
    table = read_faces(tree)
    recipe = Recipe(per_person=2, seed=3)
    for name, workers in (("one", 1), ("two", 2)):
        forge_tree(table, tmp_path / name, recipe, workers)
    forge_tree(table, tmp_path / "other", Recipe(per_person=2, seed=4))
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert digests(tmp_path / "one") != digests(tmp_path / "other")


def test_workers_end_with_a_command_that_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import time\nfrom bonaface.forgery.generate import _workers\n\n"
        "if __name__ == '__main__':\n    with _workers(2) as each:\n"
        "        next(each(time.sleep, [0.01] * 4 + [600] * 4))\n        print('begun', flush=True)\n        time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "begun\n"
        parent.kill()
        assert parent.communicate(timeout=60)[0] == ""  # which its workers hold too


def test_more_people_leave_what_needs_no_donor_as_it_was(tmp_path: Path) -> None:
    recipe = Recipe(("self_blend", "reenact"), per_person=2)
    few, many = (write_tree(tmp_path / name, people) for name, people in (("few", 2), ("many", 4)))
    forge_tree(read_faces(few), tmp_path / "a", recipe)
    forge_tree(read_faces(many), tmp_path / "b", recipe)
    images = {path: digest for path, digest in digests(tmp_path / "a").items() if path.startswith("images/")}
    assert images.items() <= digests(tmp_path / "b").items()


class StoppedError(Exception):
    """Stands for Ctrl-C."""


def test_a_stopped_run_goes_on_and_keeps_what_is_there(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bonaface.forgery.generate as forging

    table, recipe, out = read_faces(tree), Recipe(per_person=2), tmp_path / "out"
    forge_tree(table, tmp_path / "whole", recipe)
    make, made = forging.Workshop.make, []

    def stopping(self: forging.Workshop, order: forging.Order) -> bytes:
        if len(made) == 7:
            raise StoppedError
        made.append(order.path)
        return make(self, order)

    monkeypatch.setattr(forging.Workshop, "make", stopping)
    with pytest.raises(StoppedError):
        forge_tree(table, out, recipe)
    assert not (out / "meta.json").exists()
    times = {path: (out / path).stat().st_mtime_ns for path in made}
    monkeypatch.setattr(forging.Workshop, "make", make)
    assert forge_tree(table, out, recipe).kept == 7
    assert digests(out) == digests(tmp_path / "whole")
    assert times == {path: (out / path).stat().st_mtime_ns for path in made}


def test_another_recipe_or_other_photos_are_refused_in_a_folder_that_was_begun(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    forge_tree(read_faces(tree), out, Recipe(per_person=1))
    before = digests(out)
    with pytest.raises(DataError, match="started with other per_person, seed;"):
        forge_tree(read_faces(tree), out, Recipe(per_person=2, seed=1))
    Image.fromarray(portrait(9, 9)).save(tree / "person 0" / "new.png")
    with pytest.raises(DataError, match="started with other faces;"):
        forge_tree(read_faces(tree), out, Recipe(per_person=1))
    assert digests(out) == before


@pytest.mark.parametrize("change", ["restored", "of another content", "of another person"])
def test_a_folder_is_not_resumed_with_another_plan(tree: Path, tmp_path: Path, change: str) -> None:
    out, recipe, photo = tmp_path / "out", Recipe(per_person=1), tree / "person 0" / "1.png"
    whole = photo.read_bytes()
    photo.write_bytes(bytes(len(whole)))  # as a download that did not end leaves it: of its own size
    table = read_faces(tree)
    assert list(forge_tree(table, out, recipe).left_out) == ["person 0/1.png"]
    before = digests(out)
    assert forge_tree(table, out, recipe).kept == 15
    if change == "restored":
        photo.write_bytes(whole)
    elif change == "of another content":
        photo.write_bytes(b"\1" * len(whole))
    else:
        person = table.frame["person"].where(table.frame["path"] != "person 3/0.png", "person 2")
        table = FaceTable(table.root, table.frame.assign(person=person))
    with pytest.raises(DataError, match="started with other faces; repeat that command to resume, or choose a new"):
        forge_tree(table, out, recipe)
    assert digests(out) == before


def test_deepfakes_that_are_there_are_not_used(demo: Path, tmp_path: Path) -> None:
    table = read_faces(demo)
    some = table.take(table.frame["person"].isin(["0000", "0001", "0002"]).to_numpy())
    forge_tree(some, tmp_path / "out", Recipe(per_person=2))
    rows = pd.read_csv(tmp_path / "out" / "forgeries.csv", keep_default_na=False)
    fakes = set(table.frame.loc[table.frame["is_fake"], "path"])
    assert not fakes & {*rows["source"], *rows["donor"]}
    assert len(read_faces(tmp_path / "out")) == 3 * (6 + 2)


def test_photos_that_cannot_be_read_are_left_out_and_sizes_may_differ(tree: Path, tmp_path: Path) -> None:
    (tree / "person 0" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut off")
    Image.fromarray(portrait(1, 7, 200, 150)).save(tree / "person 1" / "large.png")
    Image.fromarray(portrait(1, 8, 40, 48)).convert("L").save(tree / "person 1" / "small grey.png")
    Image.fromarray(portrait(9, 0)).save((tree / "person 9").mkdir() or tree / "person 9" / "single.png")
    forged = forge_tree(read_faces(tree), tmp_path / "out", Recipe(per_person=6))
    assert list(forged.left_out) == ["person 0/broken.jpg"]
    assert "broken.jpg" in forged.left_out["person 0/broken.jpg"]
    assert forged.lonely == 1
    table = read_faces(tmp_path / "out")
    assert len(table) == 15 + 5 * 6
    assert {decode(table.path(row)).shape for row in range(len(table))} == {(SIDE, SIDE, 3)}


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe(("magic",)), r"methods: expected some of self_blend, .* got magic"),
        (Recipe(()), "got none"),
        (Recipe(("reenact", "reenact")), "twice"),
        (Recipe(per_person=0), "per-person: expected a whole number of at least 1, got 0"),
        (Recipe(seed=-1), "seed"),
        (Recipe(quality=(90, 80)), "quality: .* got 90-80"),
        (Recipe(quality=(5, 80)), "quality"),
        (Recipe(size=20), "size: expected at least 32"),
    ],
)
def test_recipes_that_are_refused_leave_no_folder(tree: Path, tmp_path: Path, recipe: Recipe, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        forge_tree(read_faces(tree), tmp_path / "out", recipe)
    assert not (tmp_path / "out").exists()


def refusal(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main(["forge", *map(str, words), "--workers", "1"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    return lines[-1]


def test_folders_that_are_refused(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "lies in the folder of the photos" in refusal(capsys, tree, tree / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    assert "full: expected an empty or a new folder" in refusal(capsys, tree, tmp_path / "full")
    assert "is a file" in refusal(capsys, tree, tmp_path / "full" / "letter.txt")
    one = write_tree(tmp_path / "one", people=1)
    said = refusal(capsys, one, tmp_path / "out")
    assert "holds one person, and swap_alpha puts a face on another person's head" in said
    assert "--methods self_blend,reenact,rerender" in said
    assert "quality: expected LOW-HIGH such as 75-95, got high" in refusal(
        capsys, tree, tmp_path / "out", "--quality", "high"
    )
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "full" / "letter.txt").read_text() == "dear"


def test_one_person_is_enough_without_swaps_and_the_command_says_what_it_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = write_tree(tmp_path / "one", people=1)
    words = [
        "forge",
        str(one),
        str(tmp_path / "out"),
        "--methods",
        "reenact,rerender",
        "--per-person",
        "5",
        "--workers",
        "1",
    ]
    assert main(words) == 0
    assert "3 photos and 5 deepfakes of 1 person (reenact" in capsys.readouterr().err
    (one / "person 0" / "empty.jpg").write_bytes(b"")
    assert main([*words[:2], str(tmp_path / "again"), *words[3:]]) == 1
    assert "empty.jpg: is empty" in capsys.readouterr().err


def jpeg_statistics(path: Path) -> list[float]:
    """Quantisation, file size, how much stronger steps at the block grid are than elsewhere, width and height."""
    data = path.read_bytes()
    image = Image.open(io.BytesIO(data))
    tables = image.quantization
    grey = np.asarray(image.convert("L"), dtype=float)
    steps = [np.abs(np.diff(grey, axis=axis)) for axis in (0, 1)]
    across = [steps[1][:, k::8].mean() for k in range(8)]
    down = [steps[0][k::8].mean() for k in range(8)]
    grid = [each[7] / np.mean(each[:7]) for each in (across, down)]
    return [sum(tables[0]), sum(tables[1]), len(data), np.log(len(data)), *grid, *image.size]


def probe_auc(root: Path) -> float:
    """Cross-validated AUC of logistic regression, people kept apart."""
    meta = json.loads((root / "meta.json").read_text())
    features = np.array([jpeg_statistics(root / "images" / name) for name in meta])
    fake = np.array(list(meta.values()))
    people = [name.split("/")[0] for name in meta]
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    odds = cross_val_predict(probe, features, fake, groups=people, cv=GroupKFold(5), method="decision_function")
    return float(roc_auc_score(fake, odds))


def test_jpeg_history_tells_nothing(demo: Path, tmp_path: Path) -> None:
    table = read_faces(demo)
    some = table.take((table.frame["person"] < "0040").to_numpy())
    forge_tree(some, tmp_path / "out", Recipe(per_person=6))
    # 240 of each: the standard error of an AUC of 0.5 is 0.026.
    assert 0.43 < probe_auc(tmp_path / "out") < 0.57


def test_the_probe_sees_a_forgery_that_was_encoded_otherwise(tmp_path: Path) -> None:
    meta = {}
    for person in range(30):
        for n in range(4):
            path = tmp_path / "images" / str(person) / f"{n}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            quality = int(np.random.default_rng([person, n]).integers(75, 90)) + 5 * (n % 2)
            Image.fromarray(portrait(person, n)).save(path, quality=quality)
            meta[f"{person}/{n}.jpg"] = n % 2
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    assert probe_auc(tmp_path) > 0.65


@settings(deadline=None)
@given(people=st.lists(st.integers(0, 4), min_size=2, max_size=60), seed=st.integers(0, 2**32))
def test_a_donor_is_another_person(people: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    who = np.array(people)
    donors = Donors(who, random.uniform(0, 255, (len(who), 3)).astype(np.float32), np.zeros(len(who), np.float32))
    if len(set(people)) == 1:
        with pytest.raises(ValueError):
            donors.pick(0, random)
    else:
        assert all(who[donors.pick(photo, random)] != who[photo] for photo in range(len(who)))


def test_a_donor_is_alike_in_colour_and_pose() -> None:
    random = np.random.default_rng(0)
    tones = random.uniform(0, 255, (400, 3)).astype(np.float32)
    yaws = random.uniform(-0.5, 0.5, 400).astype(np.float32)
    donors = Donors(np.arange(400), tones, yaws)
    picked = np.array([donors.pick(k, random) for k in range(400)])
    far = np.random.default_rng(1).permutation(400)
    assert (
        np.linalg.norm(tones - tones[picked], axis=1).mean() < 0.5 * np.linalg.norm(tones - tones[far], axis=1).mean()
    )
    assert np.abs(yaws - yaws[picked]).mean() < 0.7 * np.abs(yaws - yaws[far]).mean()


@settings(deadline=None)
@given(st.integers(0, 2**40), st.text(max_size=9), st.integers(0, 99))
def test_seeds_are_of_all_their_words(seed: int, word: str, number: int) -> None:
    here = seed_of(seed, word, number)
    assert 0 <= here < 2**63
    assert (
        len({here, seed_of(seed + 1, word, number), seed_of(seed, word + "x", number), seed_of(seed, word, number + 1)})
        == 4
    )


@pytest.fixture
def split(tree: Path) -> Callable[[], object]:
    from bonaface.data.splits import split_by_person

    return lambda: split_by_person(read_faces(tree), 0.5, 0)


def test_validation_people_get_deepfakes_once(split: Callable[[], object], tmp_path: Path) -> None:
    table = split()
    recipe = Recipe(per_person=2, size=48)
    made = with_forged_validation(table, tmp_path / "cache", recipe)
    train, val = (made.frame[made.frame["split"] == name] for name in ("train", "val"))
    before = table.frame[table.frame["split"] == "train"]
    assert train.to_numpy().tolist() == before.to_numpy().tolist()
    assert val.groupby("person")["is_fake"].sum().tolist() == [2, 2]
    assert all(decode(made.path(row)).shape == (48, 48, 3) for row in val.index)
    kept = digests(tmp_path / "cache")
    again = with_forged_validation(table, tmp_path / "cache", recipe)
    assert again.frame.equals(made.frame)
    assert digests(tmp_path / "cache") == kept
    assert with_forged_validation(made, tmp_path / "cache", recipe) is made


def test_test_pairs_are_of_people_who_are_not_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faces = write_tree(tmp_path / "faces", people=10)
    words = ["forge", str(faces), str(tmp_path / "out"), "--per-person", "4", "--test-pairs", "40", "--workers", "1"]
    assert main(words) == 0
    assert "test/pairs.csv: 29 pairs" in capsys.readouterr().err.replace("\\", "/")
    train, test = (set(read_faces(tmp_path / "out" / part).frame["person"]) for part in ("train", "test"))
    assert (len(train), len(test), train & test) == (8, 2, set())
    pairs, labels = read_pair_list(tmp_path / "out" / "test" / "pairs.csv")
    assert labels["kind"].value_counts().to_dict() == {"own_fake": 10, "impostor": 9, "same": 6, "other_fake": 4}
    meta = json.loads((tmp_path / "out" / "test" / "meta.json").read_text())
    for (a, b), (_, label) in zip(pairs.frame[["path_0", "path_1"]].to_numpy(), labels.iterrows(), strict=True):
        fakes = [bool(meta[path.removeprefix("images/")]) for path in (a, b)]
        assert label["label"] == int(label["person_0"] == label["person_1"] and not any(fakes))
        assert [label["method_0"] != "real", label["method_1"] != "real"] == fakes
        assert {label["method_0"], label["method_1"]} <= {"real", *METHODS}
    before = digests(tmp_path / "out")
    assert main(words) == 0
    assert "56 of them from an earlier run" in capsys.readouterr().err
    assert digests(tmp_path / "out") == before
