"""Training on several folders of faces: equal parts of every batch, people apart, figures that stay those of one folder."""

import io
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from rich.progress import Progress

from bonaface.batches.samplers import EachSource, PairedFakesSampler
from bonaface.errors import ConfigError, DataError
from bonaface.metrics import challenge_eer
from bonaface.models.face_model import build_model
from bonaface.training.datamodule import prepare
from bonaface.training.sources import clean, read_sources

PAIRED = {
    "batch.sampler": "paired_fakes",
    "batch.n_labels": 4,
    "batch.n_instances": 2,
    "faces.forgery.methods": '["self_blend"]',
}


@pytest.fixture
def second(people, tmp_path):
    """Nine of the same people as a plain tree of photos elsewhere: the same names, other files."""
    root = tmp_path / "elsewhere"
    meta = json.loads((people / "meta.json").read_text())
    for person in sorted({key.split("/")[0] for key in meta})[:9]:
        (root / person).mkdir(parents=True)
        for key, fake in meta.items():
            if key.startswith(f"{person}/") and not fake:
                shutil.copy(people / "images" / key, root / key)
    return root


@pytest.fixture
def prepared(config):
    def make(sources, **settings):
        made = config(**{"faces.train": json.dumps([str(each) for each in sources]), **PAIRED, **settings})
        console = Console(file=io.StringIO())
        with Progress(console=console) as progress:
            tables, _, issues = clean(read_sources(made.faces), made.faces, made.batch, console, progress)
            views = build_model(made.model).views
            return prepare(tables, views, made.faces, made.batch, made.seed, console, progress), issues

    return make


def test_each_source_fills_an_equal_part_of_every_batch(prepared, people, second):
    faces, _ = prepared([people, second])
    sampler = faces.sampler()
    for step in range(40):
        source = faces.source[faces.train_rows[sampler.batch(step)]]
        np.testing.assert_array_equal(source, np.repeat([0, 1], len(source) // 2))


def test_a_single_photo_of_a_person_is_enough_beside_deepfakes(prepared, people, second):
    for folder in second.iterdir():
        for spare in sorted(folder.iterdir())[1:]:
            spare.unlink()
    faces, issues = prepared([people, second])
    assert "small_class" not in set(issues["issue"])
    drawn = faces.train_rows[np.concatenate([faces.sampler().batch(step) for step in range(40)])]
    single = np.flatnonzero((faces.source == 1) & (faces.labels >= 0))
    assert set(single) <= set(drawn)
    assert set(faces.table.frame["person"].iloc[single].value_counts()) == {1}
    balanced = {"batch.sampler": "balanced", "faces.forgery.methods": "[]"}
    with pytest.raises(DataError, match="small_class"):
        prepared([people, second], **balanced)


def test_people_of_one_name_in_two_folders_are_two_people(prepared, people, second):
    faces, _ = prepared([people, second])
    frame = faces.table.frame
    assert frame["person"].nunique() == 14 + 9
    by_person = frame.groupby("person")["split"].nunique()
    assert (by_person == 1).all()
    assert all(faces.table.path(row).is_file() for row in range(len(frame)))


def test_both_sources_are_validated_on_all_kinds(prepared, people, second):
    faces, _ = prepared([people, second], **{"faces.val_pairs": 200})
    own = faces.pairs.photos.iloc[faces.pairs.first[faces.pairs.kind == "own_fake"]]
    assert set(own["person"].str.rpartition("/")[0]) == set(faces.names)


def test_a_list_of_issues_belongs_to_its_source(prepared, people, second, tmp_path):
    listed = tmp_path / "issues.csv"
    gone = "00000003/1.png"
    pd.DataFrame(
        [(gone, "mislabelled", "", "drop", 1.0)], columns=["path", "issue", "evidence", "suggestion", "confidence"]
    ).to_csv(listed, index=False)
    faces, issues = prepared([people, second], **{"faces.issues": json.dumps([None, str(listed)])})
    used = set(faces.table.frame["path"])
    assert str(second / gone) not in used
    assert str(people / "images" / gone) in used
    assert str(second / gone) in set(issues["path"])


def test_originals_stand_in_the_batches(prepared, people, second, tmp_path):
    fakes = [key for key, fake in json.loads((people / "meta.json").read_text()).items() if fake]
    listed = tmp_path / "originals.csv"
    pairs = [(fake, f"{fake.split('/')[0]}/0.png") for fake in fakes]
    pd.DataFrame(pairs, columns=["deepfake", "original"]).to_csv(listed, index=False)
    settings = {"faces.originals": json.dumps([str(listed), None]), "faces.forgery.share": 0.0}
    faces, _ = prepared([people, second], **settings)
    rows = faces.train_rows[faces.sampler().batch(0)].reshape(4, 2, 2)  # people, photos or deepfakes, two each
    names = faces.table.frame["path"].str.rpartition("/")[2].to_numpy()
    assert (names[rows[:2, 0]] == "0.png").all()
    assert (faces.source[rows[2:]] == 1).all()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"batch.n_labels": 3}, "batch.n_labels: expected a multiple of 2"),
        ({"faces.issues": '["a.csv", "b.csv", "c.csv"]'}, "faces.issues: expected one for each of 2"),
        ({"faces.issues": "a.csv"}, "faces.issues: expected one for each of 2"),
        ({"faces.originals": "a.csv"}, "faces.originals: expected one for each of 2"),
    ],
)
def test_what_does_not_fit_the_sources_is_said(prepared, people, second, settings, said):
    def drawn():
        faces, _ = prepared([people, second], **settings)
        return faces.sampler()

    with pytest.raises(ConfigError, match=said):
        drawn()


def test_a_run_on_two_sources_trains_and_says_how_each_fares(trained, people, second):
    judge = {"backbone": "timm:test_efficientnet", "weights": "none", "size": 32}
    both = json.dumps([str(people), str(second)])
    settings = {f"model.authenticity.{name}": value for name, value in judge.items()} | PAIRED
    run = trained(**{"faces.train": both, "faces.val_pairs": 120}, **settings)
    figures = json.loads((run / "metrics.json").read_text())
    assert len(figures["val_by_source"]) == 2
    for each in figures["val_by_source"].values():
        assert 0 <= each["challenge_eer"] <= 1
        assert -1 <= each["regret_challenge_eer"] <= 1
    rows = pd.read_csv(run / "metrics.csv")
    eers = rows[[f"val_challenge_eer/{name}" for name in figures["val_by_source"]]]
    np.testing.assert_array_equal(rows["val_worst_eer"], eers.max(axis=1))
    assert figures["best_step"] == rows["step"][1:][rows["val_worst_eer"][1:].idxmin()]


def test_validation_pairs_lie_within_sources_and_regret_is_a_difference(prepared, people, second, rng):
    faces, _ = prepared([people, second], **{"faces.val_pairs": 81})
    pairs = faces.pairs
    source = faces.source[pairs.rows[np.stack([pairs.first, pairs.second])]]  # (2, n)
    np.testing.assert_array_equal(source[0], source[1])
    np.testing.assert_array_equal(source[0], pairs.source)
    np.testing.assert_array_equal(np.bincount(pairs.source), [41, 40])
    scores, cosines = rng.normal(size=(2, 81))
    found = pairs.errors_by_source(scores, cosines)
    for number, name in enumerate(faces.names):
        rows = np.flatnonzero(pairs.source == number)
        kinds = pairs.kind[rows]
        for key, negative in (("challenge_eer", kinds != "same"), ("sv_eer", kinds == "impostor")):
            of = [challenge_eer(each[rows][kinds == "same"], each[rows][negative]) for each in (scores, cosines)]
            assert found[name][key] == of[0]
            assert found[name][f"regret_{key}"] == of[0] - of[1]


def test_each_source_draws_what_its_sampler_draws():
    samplers = [
        PairedFakesSampler(np.repeat(np.arange(6), 4), np.tile([0, 0, 1, 1], 6), 2, 1, 1, seed) for seed in (0, 1)
    ]
    both = EachSource(samplers, [np.arange(24), 100 + np.arange(24)])
    for step in range(10):
        np.testing.assert_array_equal(
            both.batch(step), np.concatenate([samplers[0].batch(step), 100 + samplers[1].batch(step)])
        )
    assert len(both) == 3
