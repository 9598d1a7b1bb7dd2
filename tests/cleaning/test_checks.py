"""Every kind of issue, planted in a small set whose embeddings are known."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from bonaface.cleaning.checks import Observations, collect_issues
from bonaface.cleaning.duplicates import HeldOutSet, leak_candidates
from bonaface.cleaning.graph import unit
from bonaface.cleaning.merges import merge_targets
from bonaface.cleaning.similarity_model import SimilarityModel
from bonaface.data.inspection import FaceCounter, Inspection, inspect
from bonaface.data.table import FaceTable

SHARED = Path(__file__).parents[3] / "shared"
PEOPLE, PHOTOS = 60, 6


@pytest.fixture
def scene(rng: np.random.Generator) -> tuple[FaceTable, Observations]:
    """60 people of 6 photos each, clean: cosines near 0.63, looks far apart."""
    names = [f"p{person:02d}" for person in range(PEOPLE) for _ in range(PHOTOS)]
    paths = [f"{name}/{row % PHOTOS}.jpg" for row, name in enumerate(names)]
    frame = pd.DataFrame({"path": paths, "person": names, "is_fake": False, "split": ""})
    centres = rng.standard_normal((PEOPLE, 128)).repeat(PHOTOS, axis=0)
    vectors = unit((1.3 * centres + rng.standard_normal(centres.shape)).astype(np.float32))
    inspection = Inspection(
        [row.to_bytes(16, "big") for row in range(len(frame))],
        [None] * len(frame),
        rng.integers(0, 2**64, len(frame), dtype=np.uint64),
        np.ones(len(frame), np.int64),
    )
    return FaceTable(Path("faces"), frame), Observations(inspection, vectors)


def renamed(table: FaceTable, rows: list[int], person: str) -> FaceTable:
    frame = table.frame.copy()
    frame.loc[rows, "person"] = person
    return FaceTable(table.root, frame)


def found(table: FaceTable, seen: Observations) -> pd.DataFrame:
    issues = collect_issues(table, seen)
    assert issues.columns.tolist() == ["path", "issue", "evidence", "suggestion", "confidence"]
    assert issues["path"].is_unique
    assert issues["confidence"].between(0, 1).all()
    return issues.set_index("path")


def copied(vectors: NDArray[np.float32], source: int, target: int) -> None:
    vectors[target] = vectors[source]


def test_a_clean_set(scene: tuple[FaceTable, Observations]) -> None:
    assert found(*scene).empty


def test_mislabelled(scene: tuple[FaceTable, Observations]) -> None:
    table, seen = scene
    issues = found(renamed(table, [0], "p30"), seen)
    assert issues["issue"].to_dict() == {"p00/0.jpg": "mislabelled"}
    assert issues["suggestion"].to_dict() == {"p00/0.jpg": "move to person p00"}
    assert (
        issues["evidence"]
        .str.fullmatch(r"-?0\.\d\d like its person's other photos \(usual: 0\.\d\d\), 0\.\d\d like p00")
        .all()
    )


def test_merge_and_what_is_moved_there(scene: tuple[FaceTable, Observations]) -> None:
    table, seen = scene
    table = renamed(renamed(table, [0, 1], "p99"), [6], "p30")
    frame = pd.concat(
        [table.frame, pd.DataFrame([("fake.jpg", "p99", True, "")], columns=table.frame.columns)], ignore_index=True
    )
    inspection = replace(
        seen.inspection,
        digest=[*seen.inspection.digest, b"f" * 16],
        reason=[*seen.inspection.reason, None],
        look=np.append(seen.inspection.look, np.uint64(0)),
        faces=np.append(seen.inspection.faces, 1),
    )
    assert seen.embeddings is not None
    vectors = np.concatenate([seen.embeddings, np.full((1, 128), np.nan, np.float32)])
    issues = found(FaceTable(table.root, frame), Observations(inspection, vectors))
    merged = dict.fromkeys(["p00/0.jpg", "p00/1.jpg", "fake.jpg"], "merge with person p00")
    assert issues["suggestion"].to_dict() == merged | {"p01/0.jpg": "move to person p01"}


def test_merging_takes_the_largest_of_a_group() -> None:
    rng = np.random.default_rng(0)
    cores = unit(rng.standard_normal((40, 64)).astype(np.float32))
    for copy, of in ((7, 3), (11, 3), (20, 19)):
        cores[copy] = unit(cores[of] + 0.05 * rng.standard_normal(64).astype(np.float32))
    sizes = np.full(40, 5)
    sizes[11], sizes[35] = 9, 0
    target = merge_targets(cores, sizes, SimilarityModel(0.6, 0.08, 0.08, 0.01, 0.0, 0.125))
    expected = np.arange(40)
    expected[[3, 7, 11]], expected[[19, 20]] = 11, 19
    np.testing.assert_array_equal(target.person, expected)
    assert np.isfinite(target.similarity[[3, 7, 20]]).all()
    assert (target.confidence[[3, 7, 20]] > 0.9).all()
    assert (target.confidence[np.setdiff1d(np.arange(40), [3, 7, 11, 19, 20])] == 0).all()


def test_near_duplicates(scene: tuple[FaceTable, Observations]) -> None:
    table, seen = scene
    look, vectors = seen.inspection.look, seen.embeddings
    assert vectors is not None
    look[1] = look[0] ^ np.uint64(0b11111)
    copied(vectors, 0, 1)  # one person, 5 bits, same face
    look[13] = look[12] ^ np.uint64(0b11111)  # one person, 5 bits, another photo
    look[24] = look[18] ^ np.uint64(1)  # two people
    path = table.path
    issues = found(table, seen)
    assert issues["issue"].to_dict() == {"p00/1.jpg": "near_duplicate"}
    assert issues.loc["p00/1.jpg", "evidence"] == (
        "the same image as p00/0.jpg: 5 of 64 bits differ, and the faces are 1.00 alike"
    )
    assert found(table, replace(seen, embeddings=None)).empty  # there are no files that could be copies
    without = found(table, replace(seen, embeddings=None, are_copies=lambda a, b: {a, b} == {path(18), path(24)}))
    assert without["issue"].to_dict() == dict.fromkeys(["p03/0.jpg", "p04/0.jpg"], "near_duplicate_across")
    assert without.loc["p03/0.jpg", "evidence"] == "the same image as p04/0.jpg: 1 of 64 bits differ, of p04"


@pytest.mark.parametrize(("own", "misfiled"), [(0, 12), (12, 0)])
def test_a_copy_in_a_strangers_folder(scene: tuple[FaceTable, Observations], own: int, misfiled: int) -> None:
    """Moved to its person, it would be there twice: the misfiled one is dropped, whichever comes first."""
    table, seen = scene
    assert seen.embeddings is not None
    copied(seen.embeddings, own, misfiled)
    seen.inspection.look[misfiled] = seen.inspection.look[own] ^ np.uint64(1)
    issues = found(table, seen)
    wrong, right = table.frame["path"].iat[misfiled], table.frame["path"].iat[own]
    assert issues["issue"].to_dict() == {wrong: "near_duplicate"}
    assert issues["suggestion"].item() == "drop"
    assert right in issues["evidence"].item()
    assert issues["evidence"].item().endswith(f", of {table.frame['person'].iat[own]}")


def test_a_misfiled_photo_of_the_test_set_is_not_moved_but_dropped(scene: tuple[FaceTable, Observations]) -> None:
    table, seen = scene
    assert seen.embeddings is not None
    seen.embeddings[12] = unit(seen.embeddings[1:2] + seen.embeddings[2:3])[0]
    assert found(table, seen)["suggestion"].to_dict() == {"p02/0.jpg": "move to person p00"}
    digest = [seen.inspection.digest[12]]
    same = Inspection(digest, [None], seen.inspection.look[12:13], np.ones(1, np.int64))
    issues = found(table, replace(seen, test=HeldOutSet(["t.jpg"], same)))
    assert issues[["issue", "suggestion"]].loc["p02/0.jpg"].tolist() == ["leak", "drop"]


def test_deepfakes_are_no_near_duplicates(scene: tuple[FaceTable, Observations]) -> None:
    table, seen = scene
    seen.inspection.look[1] = seen.inspection.look[0]
    table.frame.loc[[1, 2], "is_fake"] = True
    assert found(table, seen).empty


def test_of_the_same_file_twice_the_one_at_home_stays(scene: tuple[FaceTable, Observations]) -> None:
    table, seen = scene
    assert seen.embeddings is not None
    copied(seen.embeddings, 0, 12)  # p00's photo, in p02's folder too
    seen.inspection.digest[12] = seen.inspection.digest[0]
    seen.inspection.look[12] = seen.inspection.look[0]
    assert found(table, seen)["issue"].to_dict() == {"p02/0.jpg": "duplicate_across"}
    both = found(table, replace(seen, embeddings=None))
    assert both["issue"].to_dict() == dict.fromkeys(["p00/0.jpg", "p02/0.jpg"], "duplicate_across")


def test_a_wrong_photo_is_not_vouched_for_by_its_copy(scene: tuple[FaceTable, Observations]) -> None:
    table, seen = scene
    assert seen.embeddings is not None
    table = renamed(table, [0, 1], "p30")
    copied(seen.embeddings, 0, 1)
    seen.inspection.digest[1] = seen.inspection.digest[0]
    issues = found(table, seen)
    assert issues["issue"].to_dict() == {"p00/0.jpg": "mislabelled", "p00/1.jpg": "duplicate"}


def test_faces_are_counted(scene: tuple[FaceTable, Observations], rng: np.random.Generator) -> None:
    table, seen = scene
    assert seen.embeddings is not None
    seen.inspection.faces[[0, 1, 2]] = [0, 3, 0]
    seen.embeddings[0] = unit(
        rng.standard_normal(128).astype(np.float32)
    )  # no face, and like nobody; photo 2 is like its person
    issues = found(table, seen)
    assert issues["issue"].to_dict() == {"p00/0.jpg": "no_face", "p00/1.jpg": "several_faces"}
    assert issues["suggestion"].to_dict() == {"p00/0.jpg": "drop", "p00/1.jpg": "look"}
    without = found(table, replace(seen, embeddings=None))
    assert without["issue"].to_dict() == {"p00/0.jpg": "no_face", "p00/1.jpg": "several_faces", "p00/2.jpg": "no_face"}
    assert set(without["suggestion"]) == {"look"}


def test_deepfakes_marked_real(scene: tuple[FaceTable, Observations]) -> None:
    table, seen = scene
    genuine = np.full(len(table), np.log(0.9))
    genuine[[3, 9, 10]] = np.log([0.01, 0.01, 0.2])
    table.frame.loc[9, "is_fake"] = True
    table.frame.loc[8, "is_fake"] = True
    issues = found(table, replace(seen, genuine=genuine))
    assert issues["issue"].to_dict() == {"p00/3.jpg": "fake_as_real"}
    assert issues.loc["p00/3.jpg", "confidence"] == pytest.approx(0.99)


def test_what_is_in_the_test_set_too(scene: tuple[FaceTable, Observations], rng: np.random.Generator) -> None:
    table, seen = scene
    assert seen.embeddings is not None
    look = rng.integers(0, 2**64, 5, dtype=np.uint64)
    look[1] = seen.inspection.look[7] ^ np.uint64(0b1111100)
    look[2] = seen.inspection.look[8] ^ np.uint64(0b1111100)
    digest = [b"t%015d" % n for n in range(5)]
    digest[0] = seen.inspection.digest[6]
    test = Inspection(digest, [None, None, None, None, "broken"], look, np.full(5, -1))
    pairs, bits = leak_candidates(seen.inspection, test)
    assert {tuple(pair) for pair in pairs} == {(7, 1), (8, 2)}
    assert bits.tolist() == [5, 5]
    vectors = np.full((5, 128), np.nan, np.float32)
    vectors[1], vectors[2] = seen.embeddings[7], seen.embeddings[20]
    issues = found(table, replace(seen, test=HeldOutSet([f"t/{n}.jpg" for n in range(5)], test, vectors)))
    assert issues["issue"].to_dict() == {"p01/0.jpg": "leak", "p01/1.jpg": "leak"}
    assert issues.loc["p01/0.jpg", "evidence"] == "the same file as t/0.jpg of the test set"


def test_classes_that_grow_and_shrink(scene: tuple[FaceTable, Observations]) -> None:
    table, seen = scene
    table = renamed(table, [0, 1, 2, 3], "p30")  # of p00 photos 4 and 5 stay; the others go home
    assert set(found(table, seen)["suggestion"]) == {"move to person p00"}
    reasons = list(seen.inspection.reason)
    for row in range(1, 6):
        reasons[row] = "is empty"
    alone = found(scene[0], replace(seen, inspection=replace(seen.inspection, reason=reasons)))
    assert alone["issue"].value_counts().to_dict() == {"unreadable": 5, "small_class": 1}


def test_inspection(write_image: Callable[..., Path], tmp_path: Path) -> None:
    good, copy, broken = write_image(tmp_path / "a.png", 64), tmp_path / "b.png", tmp_path / "c.png"
    copy.write_bytes(good.read_bytes())
    broken.write_bytes(good.read_bytes()[:60])
    seen = inspect([good, copy, broken, tmp_path / "none.png"], workers=2)
    assert seen.readable.tolist() == [True, True, False, False]
    assert seen.digest[0] == seen.digest[1] != b""
    assert seen.look[0] == seen.look[1]
    assert seen.reason[3] == "can't be read (no such file or directory)"
    assert seen.faces.tolist() == [-1] * 4


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared, a face detector and photos, isn't there")
def test_faces_of_real_photos_are_counted() -> None:
    counter = FaceCounter(SHARED / "weights" / "yunet_2023mar_int8bq.onnx")
    faces = sorted((SHARED / "lfw-deepfakes" / "train" / "images" / "00000027").glob("*.jpg"))[:6]
    from bonaface.images.decoding import decode

    photo = decode(faces[0])
    assert counter.count(photo) == 1
    assert counter.count(np.concatenate([photo, photo, photo], axis=1)) == 3
    assert counter.count(np.full((160, 160, 3), 127, np.uint8)) == 0
