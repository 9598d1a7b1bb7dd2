import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bonaface.data.table import FaceTable, class_labels, read_faces
from bonaface.errors import ConfigError, DataError

SHARED = Path(__file__).parents[3] / "shared"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared, real photos, isn't there")
Maker = Callable[..., Path]


def table_of(rows: list[tuple[str, bool]]) -> FaceTable:
    frame = pd.DataFrame(
        [(f"{n}.jpg", person, fake, "") for n, (person, fake) in enumerate(rows)],
        columns=["path", "person", "is_fake", "split"],
    )
    return FaceTable(Path(), frame)


def rewrite(root: Path, change: Callable[[dict[str, object]], object]) -> Path:
    """Change meta.json in place."""
    meta = json.loads((root / "meta.json").read_text())
    change(meta)
    (root / "meta.json").write_text(json.dumps(meta))
    return root


# The challenge's train set


def test_challenge_train(challenge_train: Maker) -> None:
    table = read_faces(challenge_train({"00000000": [0, 1], "00000001": [0, 0]}))
    assert table.frame.to_dict("list") == {
        "path": [f"images/{key}.jpg" for key in ("00000000/0", "00000000/1", "00000001/0", "00000001/1")],
        "person": ["00000000", "00000000", "00000001", "00000001"],
        "is_fake": [False, True, False, False],
        "split": ["", "", "", ""],
    }
    assert len(table) == 4
    assert table.path(1).is_file()


@pytest.mark.parametrize(
    ("folder", "file", "key"),
    [
        ("00000012", "00000003", "12/3.jpg"),
        ("12", "3", "00000012/00000003.jpg"),
        ("00000012", "3", "12/3.jpg"),
        ("0", "0", "00000000/0000.jpg"),
        ("ann", "003", "ann/3.jpg"),
        ("12", "3", "12/3.JPG"),
    ],
)
def test_keys_match_by_number(challenge_train: Maker, folder: str, file: str, key: str) -> None:
    root = challenge_train({folder: [0]})
    (root / "images" / folder / "0.jpg").rename(root / "images" / folder / f"{file}.jpg")
    (root / "meta.json").write_text(json.dumps({key: 0}))
    frame = read_faces(root).frame
    assert frame["path"].tolist() == [f"images/{folder}/{file}.jpg"]
    assert frame["person"].tolist() == [folder]


def test_an_exact_name_goes_before_a_number(challenge_train: Maker) -> None:
    table = read_faces(challenge_train({"7": [0, 1], "007": [0, 0, 1]}))
    assert table.frame.groupby("person")["is_fake"].sum().to_dict() == {"7": 1, "007": 1}


def test_what_is_no_image_is_passed_over(challenge_train: Maker) -> None:
    root = challenge_train()
    expected = read_faces(root).frame
    for name in (".DS_Store", "README", "LICENSE", "images/00000000/Thumbs.db", "images/00000000/._0.jpg"):
        (root / name).write_text("x")
    (root / "images" / ".hidden").mkdir()
    pd.testing.assert_frame_equal(read_faces(root).frame, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update({"00000000/1.jpg": 2}), r'meta\.json: "00000000/1.jpg": expected 0 or 1, got 2$'),
        (lambda m: m.update({"00000000/1.jpg": True}), r'"00000000/1.jpg": expected 0 or 1, got true$'),
        (lambda m: m.update({"00000000/1.jpg": "real"}), r'"00000000/1.jpg": expected 0 or 1, got "real"$'),
        (lambda m: m.update({"00000000/9.jpg": 0}), r'"00000000/9.jpg": no such image in images/'),
        (lambda m: m.update({"0/0.jpg": 0}), r'"0/0.jpg": names 00000000/0.jpg a second time'),
        (lambda m: m.update({"../train/images/00000000/0.jpg": 0}), r'"\.\./train.*: leaves the folder images/'),
        (lambda m: m.update({"00000000/..": 0}), r'"00000000/\.\.": leaves the folder images/'),
        (lambda m: m.update({"..\\0.jpg": 0}), r"leaves the folder images/"),
        (lambda m: m.update({"/etc/passwd": 0}), r'"/etc/passwd": leaves the folder images/'),
        (lambda m: m.update({"0.jpg": 0}), r'"0.jpg": expected "person/image"'),
        (lambda m: m.update({"a/b/0.jpg": 0}), r'"a/b/0.jpg": expected "person/image"'),
        (lambda m: m.pop("00000000/1.jpg"), r"doesn't name 00000000/1.jpg; expected 0 or 1 for every image"),
        (lambda m: [m.pop(k) for k in list(m)[:3]], r"doesn't name 00000000/0.jpg and 2 more; expected"),
        (lambda m: m.clear(), r"meta\.json: names no images"),
        (
            lambda m: m.update({"00000001/0.jpg": 1, "00000001/2.jpg": 1}),
            r"person 00000001 has deepfakes only",
        ),
    ],
)
def test_bad_meta(challenge_train: Maker, change: Callable[[dict[str, object]], object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_faces(rewrite(challenge_train(), change))


@pytest.mark.parametrize("text", ["", "{", '{"a": }', "[" * 100_000, "\xff", "{'a/0.jpg': 0}"])
def test_broken_json(challenge_train: Maker, text: str) -> None:
    root = challenge_train()
    (root / "meta.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"meta\.json: isn't JSON .*; expected"):
        read_faces(root)


@pytest.mark.parametrize("text", ["[]", "[1, 2]", "null", "3"])
def test_json_of_another_kind(challenge_train: Maker, text: str) -> None:
    root = challenge_train()
    (root / "meta.json").write_text(text)
    with pytest.raises(DataError, match=r"meta\.json: holds no JSON object"):
        read_faces(root)


def test_a_key_that_occurs_twice(challenge_train: Maker) -> None:
    root = challenge_train({"1": [0]})
    (root / "meta.json").write_text('{"1/0.jpg": 0, "1/0.jpg": 1}')
    with pytest.raises(DataError, match=r'"1/0.jpg": names 1/0.jpg a second time'):
        read_faces(root)


def test_a_number_that_fits_two_images(challenge_train: Maker) -> None:
    root = rewrite(challenge_train({"7": [0], "007": [0]}), lambda meta: meta.update({"07/0.jpg": 0}))
    with pytest.raises(DataError, match=r'"07/0.jpg": may be 007/0.jpg and 7/0.jpg; expected the exact name'):
        read_faces(root)


def test_meta_without_images(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text('{"1/0.jpg": 0}')
    with pytest.raises(DataError, match=r"images: no such folder; expected images/<person>/<image> beside meta.json"):
        read_faces(tmp_path)


def test_images_without_their_meta_are_not_all_taken_for_real(challenge_train: Maker) -> None:
    root = challenge_train()
    with pytest.raises(DataError, match=r"says which of these are deepfakes; give .*train$"):
        read_faces(root / "images")
    (root / "meta.json").unlink()
    with pytest.raises(DataError, match=r"has images/ but no meta.json"):
        read_faces(root)
    assert not read_faces(root / "images").frame["is_fake"].any()


# Plain folders


def test_plain_tree(plain_tree: Maker) -> None:
    root = plain_tree({"Bob": 1, "Ann": 2})
    (root / "README.md").write_text("x")
    (root / "nobody").mkdir()
    table = read_faces(root)
    assert table.root == root
    assert table.frame["path"].tolist() == ["Ann/Ann_0001.jpg", "Ann/Ann_0002.jpg", "Bob/Bob_0001.jpg"]
    assert table.frame["person"].tolist() == ["Ann", "Ann", "Bob"]
    assert not table.frame["is_fake"].any()
    assert (table.frame["split"] == "").all()


def test_every_format_counts_as_a_image(plain_tree: Maker) -> None:
    root = plain_tree({"Ann": 1})
    for suffix in ("JPG", "jpeg", "png", "webp", "bmp", "gif", "heic"):
        (root / "Ann" / f"x.{suffix}").write_bytes(b"x")
    assert len(read_faces(root)) == 8


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is empty; expected meta.json beside"):
        read_faces(tmp_path)


def test_a_folder_that_is_no_layout(tmp_path: Path, plain_tree: Maker) -> None:
    plain_tree(name="deeper/people")
    with pytest.raises(DataError, match=r"holds no folder with images directly in it; expected meta.json beside"):
        read_faces(tmp_path)


def test_loose_images_are_no_layout(tmp_path: Path, write_image: Callable[..., Path]) -> None:
    write_image(tmp_path / "0.jpg")
    with pytest.raises(DataError, match=r"holds no folder with images directly in it"):
        read_faces(tmp_path)


def test_nothing_there_and_another_kind_of_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: no such file or folder; expected"):
        read_faces(tmp_path / "nowhere")
    (tmp_path / "a.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"a\.zip: is neither a folder nor a \.csv or \.parquet table"):
        read_faces(tmp_path / "a.zip")


@pytest.mark.parametrize("under", ["", "images"])
def test_test_pairs_are_told_apart(challenge_test: Maker, under: str) -> None:
    root = challenge_test(under=under)
    with pytest.raises(DataError, match=r"holds test pairs .* which submit and evaluate read"):
        read_faces(root)
    (root / under / "00000001" / "1.jpg").unlink()
    with pytest.raises(DataError, match=r"holds test pairs"):
        read_faces(root)


# OML's tables


@pytest.mark.parametrize("name", ["df.csv", "df.parquet"])
def test_oml_table(oml_table: Maker, name: str) -> None:
    table = read_faces(oml_table(name))
    assert table.frame["person"].tolist() == [str(person) for person in range(4) for _ in range(4)]
    assert table.frame["split"].tolist() == ["train"] * 8 + ["val"] * 8
    assert table.frame["is_fake"].tolist() == [False, False, False, True] * 4
    assert all(table.path(row).is_file() for row in range(len(table)))


def test_oml_table_without_fakes_or_split(oml_table: Maker) -> None:
    file = oml_table(with_fakes=False)
    pd.read_csv(file)[["label", "path"]].to_csv(file, index=False)
    frame = read_faces(file).frame
    assert not frame["is_fake"].any()
    assert (frame["split"] == "").all()


def test_labels_are_taken_as_text(oml_table: Maker) -> None:
    file = oml_table()
    frame = pd.read_csv(file)
    frame["label"] = frame["label"].map({0: "0007", 1: "NA", 2: "Ann", 3: "7"})
    frame.to_csv(file, index=False)
    assert list(dict.fromkeys(read_faces(file).frame["person"])) == ["0007", "NA", "Ann", "7"]


def test_absolute_paths_are_the_owners_choice(oml_table: Maker) -> None:
    file = oml_table()
    frame = pd.read_csv(file)
    frame["path"] = [str(file.parent / path) for path in frame["path"]]
    frame.to_csv(file, index=False)
    table = read_faces(file)
    assert table.path(3) == file.parent / "photos" / "0_3.png"


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("label", "", r"df\.csv: row 3: label is missing"),
        ("path", "", r"row 3: path: expected a path below the table's folder or an absolute one, got ''"),
        ("path", "../secret.png", r"row 3: path: expected a path below .* got '\.\./secret\.png'"),
        ("path", "photos/../../secret.png", r"row 3: path: expected a path below"),
        ("path", "photos/9_9.png", r"row 3: photos/9_9.png: no such file; expected an image"),
        ("path", "photos/0_0.png", r"row 3: photos/0_0.png: stands in the table twice"),
        ("path", "./photos//0_0.png", r"row 3: photos/0_0.png: stands in the table twice"),
        ("split", "dev", r"row 3: split: expected train, validation or test, got 'dev'"),
        ("is_fake", "2", r"row 3: is_fake: expected 0 or 1, got '2'"),
        ("is_fake", "", r"row 3: is_fake: expected 0 or 1, got ''"),
        ("x_1", "5", r"gives boxes .*, which aren't read; expected cropped images"),
    ],
)
def test_bad_rows(oml_table: Maker, column: str, value: str, message: str) -> None:
    file = oml_table()
    frame = pd.read_csv(file, dtype=str, keep_default_na=False)
    frame["x_1"] = ""
    frame.loc[2, column] = value
    frame.to_csv(file, index=False)
    with pytest.raises(DataError, match=message):
        read_faces(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"isn't a table of images as a CSV"),
        ("a,b\n1,2\n", r"has no column label; expected label and path"),
        ("label\n1\n", r"has no column path"),
        ("label,path\n", r"has no rows"),
        ('label,path\n1,2,3,4\n5\n"', r"df\.csv: "),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "df.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_faces(tmp_path / "df.csv")


def test_a_parquet_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "df.parquet").write_text("label,path")
    with pytest.raises(DataError, match=r"isn't a parquet table"):
        read_faces(tmp_path / "df.parquet")


# Classes

people = st.lists(st.tuples(st.sampled_from("abcde"), st.booleans()), max_size=40)


@given(people, st.sampled_from(["own", "shared", "dropped"]))
def test_classes_are_as_defined(rows: list[tuple[str, bool]], fake_classes: str) -> None:
    labels = class_labels(table_of(rows), fake_classes)
    assert labels.shape == (len(rows),)
    assert sorted(set(labels.tolist()) - {-1}) == list(range(labels.max(initial=-1) + 1))
    for (person, fake), label in zip(rows, labels, strict=True):
        for (other, other_fake), other_label in zip(rows, labels, strict=True):
            if fake and fake_classes == "dropped":
                assert label == -1
            elif fake and fake_classes == "shared":
                assert (label == other_label) == other_fake
            else:
                assert (label == other_label) == ((person, fake) == (other, other_fake))


def test_an_unknown_arrangement_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"fake_classes: expected own, shared or dropped, got 'all'"):
        class_labels(table_of([("a", False)]), "all")


def test_a_table_checks_its_columns() -> None:
    frame = table_of([("a", False), ("b", True)]).frame
    with pytest.raises(ValueError, match=r"columns"):
        FaceTable(Path(), frame.drop(columns="split"))
    with pytest.raises(ValueError, match=r"reset"):
        FaceTable(Path(), frame.iloc[1:])


def test_take_by_mask_and_by_position() -> None:
    table = table_of([("a", False), ("b", True), ("c", False)])
    assert table.take(np.array([True, False, True])).frame["person"].tolist() == ["a", "c"]
    assert table.take(np.array([2, 0])).frame["person"].tolist() == ["c", "a"]


# Real photos


@needs_shared
def test_ten_thousand_photos_in_a_second() -> None:
    read_faces(SHARED / "lfw-deepfakes" / "train")
    start = time.process_time()
    table = read_faces(SHARED / "lfw-deepfakes" / "train")
    assert time.process_time() - start < 1
    assert len(table) == 9721
    assert table.frame["person"].nunique() == 1176
    assert table.frame["is_fake"].sum() == 3967


@needs_shared
def test_a_tree_with_a_loose_readme() -> None:
    table = read_faces(SHARED / "celeba-faces")
    assert table.frame["person"].nunique() == 227
    assert len(table) == 4043
