"""Decoded once, read many times: the store equals decoding, survives kills and changes, and batches depend on the step alone."""

import json
import os

import numpy as np
import pytest
import torch

import bonaface.batches.image_cache as loading
from bonaface.batches.augmentation import Augmentation
from bonaface.batches.dataset import Batch, LabelledImages, TestBatches, TrainingBatches
from bonaface.batches.image_cache import open_store
from bonaface.batches.samplers import BalanceSampler
from bonaface.data.table import FaceTable, read_faces
from bonaface.errors import ConfigError, DataError
from bonaface.images.alignment import Aligner
from bonaface.images.crops import InputSpec, centre_crop, square
from bonaface.images.decoding import decode
from bonaface.images.preprocessing import Preprocessor

VIEWS = {"identity": InputSpec("aligned", 24), "authenticity": InputSpec("face_crop", 20, crop=True)}


@pytest.fixture
def table(plain_tree):
    return read_faces(plain_tree({"Ann": 3, "Bob": 2, "Cyd": 4}, size=40))


@pytest.fixture
def prepare():
    return Preprocessor.of(VIEWS, 32, None)


@pytest.fixture
def store(table, prepare, tmp_path):
    return open_store(table, prepare, tmp_path / "cache")


def batches(store, first=0, count=4, views=VIEWS, seed=0, augmentation=None):
    labels = np.array([0, 0, 0, 1, 1, -1, 2, 2, 2])
    rows = np.flatnonzero(labels >= 0)
    return TrainingBatches(
        LabelledImages(store, labels, np.arange(9) % 2 == 1, rows),
        BalanceSampler(labels[rows], 2, 2, seed=5),
        augmentation or Augmentation(flip=0.5, degrade=0.5),
        views,
        range(first, first + count),
        seed,
    )


def equal(one: Batch, other: Batch) -> bool:
    tensors = [(one.images[name], other.images[name]) for name in one.images]
    tensors += [(one.labels, other.labels), (one.is_fake, other.is_fake)]
    return all(torch.equal(a, b) for a, b in tensors)


def test_preparer(prepare):
    assert prepare.kinds == ("aligned", "face_crop")
    assert (prepare.size("face_crop"), prepare.size("aligned")) == (32, 24)
    assert Preprocessor.of({"identity": InputSpec("face_crop", 224)}, 64, None).kinds == ("face_crop",)
    with pytest.raises(ConfigError, match="does not fit a face crop of 16"):
        Preprocessor.of(VIEWS, 16, None)


def test_the_store_equals_decoding(table, store):
    aligner = Aligner(None, 24)
    assert {kind: array.shape for kind, array in store.arrays.items()} == {
        "aligned": (9, 24, 24, 3),
        "face_crop": (9, 32, 32, 3),
    }
    for row in range(len(table)):
        image = decode(table.path(row))
        np.testing.assert_array_equal(store.image(row, VIEWS["authenticity"]), square(image, 32))
        np.testing.assert_array_equal(store.image(row, VIEWS["identity"]), aligner.align(image).image)


@pytest.mark.parametrize("threads", [1, 4])
def test_threads_change_nothing(table, prepare, store, tmp_path, threads):
    other = open_store(table, prepare, tmp_path / "other", threads=threads)
    for kind, array in store.arrays.items():
        np.testing.assert_array_equal(array, other.arrays[kind])


def test_the_store_is_reused(table, prepare, store, tmp_path, monkeypatch):
    (done,) = (tmp_path / "cache").glob("*/done.json")
    before = done.stat().st_mtime_ns
    monkeypatch.setattr(loading, "decode", None)  # nobody may decode again
    again = open_store(table, prepare, tmp_path / "cache")
    assert done.stat().st_mtime_ns == before
    np.testing.assert_array_equal(again.arrays["face_crop"], store.arrays["face_crop"])
    assert json.loads(done.read_text()) == {"images": 9, "kinds": ["aligned", "face_crop"]}


def test_a_changed_file_is_decoded_again(table, prepare, store, tmp_path, write_image):
    was = np.array(store.arrays["face_crop"])
    write_image(table.path(4), size=40)
    again = open_store(table, prepare, tmp_path / "cache")
    np.testing.assert_array_equal(again.arrays["face_crop"][4], square(decode(table.path(4)), 32))
    assert not np.array_equal(again.arrays["face_crop"][4], was[4])
    np.testing.assert_array_equal(np.delete(again.arrays["face_crop"], 4, 0), np.delete(was, 4, 0))


def test_the_time_of_a_file_counts(table, prepare, store, tmp_path):
    """A file of the same length with other content has another time."""
    os.utime(table.path(0), ns=(1, 1))
    open_store(table, prepare, tmp_path / "cache")
    assert len(list((tmp_path / "cache").glob("*/done.json"))) == 2


def test_other_settings_are_another_store(table, store, tmp_path):
    crops = open_store(table, Preprocessor.of({"identity": InputSpec("face_crop", 99)}, 16, None), tmp_path / "cache")
    assert crops.arrays["face_crop"].shape == (9, 16, 16, 3)
    part = FaceTable(table.root, table.frame.iloc[2:].reset_index(drop=True))
    fewer = open_store(part, Preprocessor.of(VIEWS, 32, None), tmp_path / "cache")
    np.testing.assert_array_equal(fewer.arrays["face_crop"], store.arrays["face_crop"][2:])
    assert len(list((tmp_path / "cache").glob("*/done.json"))) == 3


def test_a_stop_in_the_middle_leaves_no_store(table, prepare, tmp_path, monkeypatch):
    cache = tmp_path / "cache"

    def stop(path):
        if path == table.path(5):
            raise KeyboardInterrupt
        return decode(path)

    monkeypatch.setattr(loading, "decode", stop)
    with pytest.raises(KeyboardInterrupt):
        open_store(table, prepare, cache)
    assert [file for file in cache.iterdir() if file.suffix != ".lock"] == []
    monkeypatch.undo()
    whole = open_store(table, prepare, cache)
    np.testing.assert_array_equal(whole.arrays["face_crop"][8], square(decode(table.path(8)), 32))


def test_what_a_kill_left_is_not_taken(table, prepare, store, tmp_path):
    """A folder without done.json, as no rename leaves it, is made anew."""
    (done,) = (tmp_path / "cache").glob("*/done.json")
    done.unlink()
    np.save(done.parent / "frame.npy", np.zeros(3))
    again = open_store(table, prepare, tmp_path / "cache")
    assert again.arrays["face_crop"].shape == (9, 32, 32, 3)


def test_a_store_that_lacks_a_kind_is_made_anew(table, prepare, store, tmp_path):
    (crops,) = (tmp_path / "cache").glob("*/face_crop.npy")
    crops.rename(crops.with_name("frame.npy"))  # what 0.1 called it
    again = open_store(table, prepare, tmp_path / "cache")
    np.testing.assert_array_equal(again.arrays["face_crop"], store.arrays["face_crop"])


def test_an_unreadable_image_is_named(table, prepare, tmp_path):
    table.path(3).write_bytes(b"<html>")
    with pytest.raises(DataError, match=table.path(3).name):
        open_store(table, prepare, tmp_path / "cache")
    assert [file for file in (tmp_path / "cache").iterdir() if file.suffix != ".lock"] == []


def test_a_cache_that_can_not_be_written(table, prepare, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"decoded images can't be kept there .*: set faces\.cache elsewhere"):
        open_store(table, prepare, tmp_path / "file")


def test_a_full_disk(table, prepare, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "open_memmap", full)
    with pytest.raises(DataError, match=r"No space left on device\): set faces\.cache elsewhere"):
        open_store(table, prepare, tmp_path / "cache")


def test_batches(store):
    batch = batches(store)[0]
    assert batch.images["identity"].shape == (4, 3, 24, 24)
    assert batch.images["authenticity"].shape == (4, 3, 20, 20)
    assert {image.dtype for image in batch.images.values()} == {torch.uint8}
    assert (batch.labels.dtype, batch.is_fake.dtype) == (torch.int64, torch.bool)
    assert sorted(batch.labels.unique(return_counts=True)[1].tolist()) == [2, 2]


def test_a_batch_holds_the_rows_that_the_sampler_drew(store):
    made = batches(store, augmentation=Augmentation())
    for step in range(4):
        rows = made.images.rows[made.sampler.batch(step)]
        batch = made[step]
        assert batch.labels.tolist() == made.images.labels[rows].tolist()
        assert batch.is_fake.tolist() == made.images.is_fake[rows].tolist()
        for place, row in enumerate(rows):
            image = batch.images["identity"][place].permute(1, 2, 0).numpy()
            np.testing.assert_array_equal(image, store.image(int(row), VIEWS["identity"]))


def test_a_batch_is_a_function_of_its_step(store):
    whole, rest = batches(store, 0, 8), batches(store, 3, 5)
    for step in (7, 3, 5, 3):  # in any order, and again
        assert equal(whole[step], rest[step - 3])
    assert not equal(whole[0], whole[1])
    assert not equal(whole[0], batches(store, seed=1)[0])
    assert len(rest) == 5
    for item in (-1, 5):
        with pytest.raises(IndexError):
            rest[item]


def test_views_of_one_image_are_augmented_alike_up_to_the_crop(store):
    """Both branches look at the same variant: mirrored in one is mirrored in the other."""
    both = {"a": InputSpec("face_crop", 32), "b": InputSpec("face_crop", 32)}
    batch = batches(store, views=both)[0]
    assert torch.equal(batch.images["a"], batch.images["b"])


def test_batches_move():
    batch = Batch({"identity": torch.zeros(2, 3, 4, 4)}, torch.zeros(2), torch.zeros(2))
    moved = batch.to("meta")
    assert moved.images["identity"].is_meta
    assert moved.labels.is_meta
    assert moved.is_fake.is_meta


def test_test_batches(store):
    rows = np.array([8, 0, 3, 3, 5])
    made = TestBatches(store, rows, VIEWS, 2)
    assert len(made) == 3
    parts = [made[item] for item in range(3)]
    assert [len(part["identity"]) for part in parts] == [2, 2, 1]
    whole = torch.cat([part["authenticity"] for part in parts]).permute(0, 2, 3, 1).numpy()
    for place, row in enumerate(rows):
        np.testing.assert_array_equal(whole[place], centre_crop(store.arrays["face_crop"][row], 20))
    with pytest.raises(IndexError):
        made[3]
    assert len(TestBatches(store, rows[:0], VIEWS, 2)) == 0


def test_paths_of_the_table_decide_not_its_other_columns(table, prepare, store, tmp_path):
    renamed = FaceTable(table.root, table.frame.assign(person="x", is_fake=True, split="val"))
    open_store(renamed, prepare, tmp_path / "cache")
    assert len(list((tmp_path / "cache").glob("*/done.json"))) == 1
