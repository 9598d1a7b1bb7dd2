import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from bonaface.data import filters
from bonaface.data.filters import drop_issues
from bonaface.data.inspection import inspect
from bonaface.data.table import FaceTable, read_faces
from bonaface.errors import DataError

SHARED = Path(__file__).parents[3] / "shared" / "lfw-deepfakes" / "train"
Maker = Callable[..., Path]


def find_issues(table: FaceTable, *settings: str, workers: int = 2, progress: Progress | None = None) -> pd.DataFrame:
    files = inspect([table.path(row) for row in range(len(table))], workers, progress, look=False)
    return filters.find_issues(table, files, *settings)


def listed(issues: pd.DataFrame) -> dict[str, str]:
    """path below images/ -> issue."""
    return {path.removeprefix("images/"): issue for path, issue in zip(issues["path"], issues["issue"], strict=True)}


def test_a_clean_table_has_no_issues(challenge_train: Maker) -> None:
    table = read_faces(challenge_train({"1": [0, 0, 1, 1], "2": [0, 0]}))
    issues = find_issues(table)
    assert issues.columns.tolist() == ["path", "issue", "evidence", "suggestion", "confidence"]
    assert issues.empty
    pd.testing.assert_frame_equal(drop_issues(table, issues).frame, table.frame)


def test_unreadable_files_say_why(challenge_train: Maker) -> None:
    root = challenge_train({"1": [0, 0, 0, 0, 0]})
    images = root / "images" / "1"
    (images / "0.jpg").write_bytes(b"")
    (images / "1.jpg").write_bytes((images / "1.jpg").read_bytes()[:400])
    (images / "2.jpg").write_text("<!DOCTYPE html><html></html>")
    table = read_faces(root)
    issues = find_issues(table)
    assert set(issues["issue"]) == {"unreadable"}
    assert issues["evidence"].tolist() == [
        "is empty; expected a JPEG, PNG, WebP, TIFF, AVIF, JPEG 2000, HEIC, BMP or GIF image",
        "has a damaged or cut-off header; expected a whole image",
        "is a web page; expected a JPEG, PNG, WebP, TIFF, AVIF, JPEG 2000, HEIC, BMP or GIF image",
    ]
    assert issues["suggestion"].tolist() == ["drop"] * 3
    assert issues["confidence"].tolist() == [1.0] * 3
    left = drop_issues(table, issues)
    assert left.frame["path"].tolist() == ["images/1/3.jpg", "images/1/4.jpg"]
    assert left.frame.index.tolist() == [0, 1]


def test_a_file_that_went_missing(challenge_train: Maker) -> None:
    root = challenge_train({"1": [0, 0, 0]})
    table = read_faces(root)
    table.path(1).unlink()
    assert find_issues(table)["evidence"].tolist() == ["can't be read (no such file or directory)"]


def test_two_empty_files_are_unreadable_and_no_duplicates(challenge_train: Maker) -> None:
    root = challenge_train({"1": [0, 0, 0, 0], "2": [0, 0, 0]})
    for name in ("1/0.jpg", "1/1.jpg", "2/0.jpg"):
        (root / "images" / name).write_bytes(b"")
    assert listed(find_issues(read_faces(root))) == dict.fromkeys(["1/0.jpg", "1/1.jpg", "2/0.jpg"], "unreadable")


def test_of_duplicates_the_first_stays(challenge_train: Maker) -> None:
    root = challenge_train({"1": [0, 0, 0, 0], "2": [0, 0]})
    for copy in ("2.jpg", "3.jpg"):
        shutil.copy(root / "images/1/0.jpg", root / "images/1" / copy)
    issues = find_issues(read_faces(root))
    assert listed(issues) == {"1/2.jpg": "duplicate", "1/3.jpg": "duplicate"}
    assert set(issues["evidence"]) == {"the same file as images/1/0.jpg"}


def test_of_duplicates_across_people_none_stays(challenge_train: Maker) -> None:
    root = challenge_train({"1": [0, 0, 0, 0], "2": [0, 0, 0]})
    shutil.copy(root / "images/1/0.jpg", root / "images/1/3.jpg")
    shutil.copy(root / "images/1/0.jpg", root / "images/2/1.jpg")
    issues = find_issues(read_faces(root)).set_index("path")
    assert set(issues.index) == {"images/1/0.jpg", "images/1/3.jpg", "images/2/1.jpg"}
    assert set(issues["issue"]) == {"duplicate_across"}
    assert issues.loc["images/2/1.jpg", "evidence"] == "the same file as images/1/0.jpg, a real photo of 1"
    assert issues.loc["images/1/3.jpg", "evidence"] == "the same file as images/2/1.jpg, a real photo of 2"


def test_a_photo_that_is_real_and_fake(challenge_train: Maker) -> None:
    root = challenge_train({"1": [0, 0, 0, 1, 1, 1]})
    shutil.copy(root / "images/1/0.jpg", root / "images/1/5.jpg")
    issues = find_issues(read_faces(root)).set_index("path")
    assert issues["issue"].to_dict() == dict.fromkeys(["images/1/0.jpg", "images/1/5.jpg"], "duplicate_across")
    assert issues.loc["images/1/0.jpg", "evidence"] == "the same file as images/1/5.jpg, a deepfake of 1"


@pytest.mark.parametrize(
    ("fake_classes", "small"),
    [("own", ["1/2.jpg", "2/0.jpg", "2/1.jpg"]), ("shared", ["2/0.jpg"]), ("dropped", ["2/0.jpg"])],
)
def test_classes_of_one_photo(challenge_train: Maker, fake_classes: str, small: list[str]) -> None:
    table = read_faces(challenge_train({"1": [0, 0, 1], "2": [0, 1], "3": [0, 0, 1, 1]}))
    issues = find_issues(table, fake_classes)
    assert listed(issues) == dict.fromkeys(small, "small_class")
    assert issues["path"].is_monotonic_increasing


def test_a_class_is_small_once_its_dropped_photos_are_gone(challenge_train: Maker) -> None:
    root = challenge_train({"1": [0, 0, 0], "2": [0, 0]})
    (root / "images/1/0.jpg").write_bytes(b"")
    shutil.copy(root / "images/1/1.jpg", root / "images/1/2.jpg")
    assert listed(find_issues(read_faces(root))) == {
        "1/0.jpg": "unreadable",
        "1/1.jpg": "small_class",
        "1/2.jpg": "duplicate",
    }


def test_val_has_no_classes(challenge_train: Maker) -> None:
    table = read_faces(challenge_train({"1": [0, 1], "2": [0, 1]}))
    frame = table.frame.assign(split=["val", "val", "train", "train"])
    assert listed(find_issues(FaceTable(table.root, frame))) == dict.fromkeys(["2/0.jpg", "2/1.jpg"], "small_class")


def test_nothing_left(challenge_train: Maker) -> None:
    table = read_faces(challenge_train({"1": [0], "2": [0]}))
    with pytest.raises(DataError, match=r"train: no photo is left of 2 \(2 small_class\); expected some"):
        drop_issues(table, find_issues(table))


def test_other_suggestions_are_kept(challenge_train: Maker) -> None:
    table = read_faces(challenge_train({"1": [0, 0, 0]}))
    issues = pd.DataFrame(
        [("images/1/0.jpg", "mislabelled", "x", "look", 0.4), ("images/1/2.jpg", "mislabelled", "x", "drop", 0.9)],
        columns=["path", "issue", "evidence", "suggestion", "confidence"],
    )
    assert drop_issues(table, issues).frame["path"].tolist() == ["images/1/0.jpg", "images/1/1.jpg"]


def test_progress_reaches_the_end(challenge_train: Maker) -> None:
    progress = Progress(console=Console(quiet=True))
    find_issues(read_faces(challenge_train({"1": [0, 0, 0]})), progress=progress)
    assert progress.tasks[0].completed == progress.tasks[0].total == 3


contents = st.lists(
    st.tuples(st.sampled_from("ab"), st.booleans(), st.integers(-1, 3), st.sampled_from(["train", "val"])), max_size=12
)
"""Photos as person, is_fake, which image (-1 is broken), split."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    for n in range(4):
        for copy in range(12):
            Image.new("L", (4, 4), 40 * n).save(root / f"{n}_{copy}.png")
    for copy in range(12):
        (root / f"-1_{copy}.png").write_bytes(b"broken")
    return root


@settings(deadline=None)
@given(rows=contents, workers=st.integers(1, 4))
def test_what_is_left_is_clean(images: Path, rows: list[tuple[str, bool, int, str]], workers: int) -> None:
    frame = pd.DataFrame(
        [(f"{which}_{n}.png", person, fake, split) for n, (person, fake, which, split) in enumerate(rows)],
        columns=["path", "person", "is_fake", "split"],
    ).astype({"is_fake": bool})
    table = FaceTable(images, frame)
    issues = find_issues(table, workers=workers)
    pd.testing.assert_frame_equal(issues, find_issues(table, workers=1))
    assert issues["path"].is_unique
    kept = [row for n, row in enumerate(rows) if f"{row[2]}_{n}.png" not in set(issues["path"])]
    assert len({which for _, _, which, _ in kept}) == len(kept)
    assert -1 not in {which for _, _, which, _ in kept}
    trained = [(person, fake) for person, fake, _, split in kept if split == "train"]
    assert all(trained.count(each) >= 2 for each in trained)
    claims = {which: {row[:2] for row in rows if row[2] == which} for which in range(4)}
    for (person, fake, which, split), issue in zip(rows, _by_row(rows, issues), strict=True):
        if which == -1:
            assert issue == "unreadable"
        elif len(claims[which]) > 1:
            assert issue == "duplicate_across"
        elif issue == "small_class":
            assert split == "train"
            assert (person, fake) not in trained
        else:
            assert issue in (None, "duplicate")


def _by_row(rows: list[tuple[str, bool, int, str]], issues: pd.DataFrame) -> list[str | None]:
    by_path = listed(issues)
    return [by_path.get(f"{row[2]}_{n}.png") for n, row in enumerate(rows)]


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/lfw-deepfakes, real photos, isn't there")
def test_real_photos() -> None:
    issues = find_issues(read_faces(SHARED))
    broken = ["00000027/19.jpg", "00000588/1.jpg", "00000940/22.jpg", "00001124/9.jpg"]
    assert listed(issues) == dict.fromkeys(broken, "unreadable")
