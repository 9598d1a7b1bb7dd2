import shutil
from pathlib import Path

import pandas as pd
import pytest

from bonaface.data.pair_lists import read_lfw_pairs, read_pair_list
from bonaface.errors import DataError
from bonaface.evaluation.inputs import PairSource, read_judged
from bonaface.forgery.evaluation_sets import drawn_pairs


@pytest.fixture
def listed(tmp_path: Path, write_image) -> Path:
    for name in ("a_0001", "a_0002", "b_0001"):
        write_image(tmp_path / name[0] / f"{name}.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "c.jpg").symlink_to(tmp_path / "b" / "b_0001.jpg")
    return tmp_path


@pytest.mark.parametrize("label", ["0", "1"])
@pytest.mark.parametrize(
    "again",
    [
        "a/a_0001.jpg,b/b_0001.jpg",
        "b/b_0001.jpg,a/a_0001.jpg",
        "{here}/a/a_0001.jpg,./b/b_0001.jpg",
        "c.jpg,link/a_0001.jpg",
    ],
)
def test_a_pair_that_a_list_has_twice_is_refused(listed: Path, again: str, label: str) -> None:
    rows = ["path_0,path_1,label", "a/a_0001.jpg,b/b_0001.jpg,0", "a/a_0001.jpg,a/a_0002.jpg,1"]
    file = listed / "pairs.csv"
    file.write_text("\n".join(rows))
    assert len(read_pair_list(file)[0]) == 2
    file.write_text("\n".join([*rows, f"{again.format(here=listed)},{label}"]))
    said = {
        "0": "line 4: has the same two images as line 2; expected each pair once",
        "1": "line 4: label: 1, where line 2 says 0 of the same two images",
    }
    with pytest.raises(DataError) as caught:
        read_pair_list(file)
    assert str(caught.value) == f"{file}: {said[label]}"


def test_a_pair_that_the_protocol_of_lfw_has_twice_is_refused(listed: Path) -> None:
    (listed / "pairs.txt").write_text("2 1\na 1 2\na 1 b 1\na 2 1\na 2 b 1\n")
    with pytest.raises(DataError, match=r"pairs\.txt: line 4: has the same two images as line 2"):
        read_lfw_pairs(listed, listed / "pairs.txt")


def test_copies_of_a_folder_of_a_pair_are_refused(challenge_test) -> None:
    root = challenge_test(4)
    source = PairSource(root, root / "labels.csv")
    assert len(read_judged(source)[0]) == 4
    shutil.copy(root / "images/00000001/0.jpg", root / "images/00000003/1.jpg")
    assert len(read_judged(source)[0]) == 4
    shutil.copy(root / "images/00000001/1.jpg", root / "images/00000003/0.jpg")
    with pytest.raises(DataError, match=r"pair 00000003: has the same two images as pair 00000001; expected each"):
        read_judged(source)
    shutil.copytree(root / "images/00000000", root / "images/00000003", dirs_exist_ok=True)
    with pytest.raises(DataError, match=r"pair 00000003: label: 0, where pair 00000000 says 1 of the same two images"):
        read_judged(source)


def test_labels_in_memory_name_each_pair_once() -> None:
    labels = pd.DataFrame({"pair_id": ["a", "b", "a"], "label": [1, 0, 1]})
    with pytest.raises(DataError, match="labels: pair a occurs twice"):
        read_judged(PairSource(labels=labels))


def test_no_pair_is_drawn_twice(plain_tree) -> None:
    pairs = drawn_pairs(plain_tree({"Ann": 3, "Bob": 2}), 100, 0)
    assert pairs["kind"].value_counts().to_dict() == {"impostor": 6, "same": 4}
    assert len({frozenset(each) for each in pairs[["path_0", "path_1"]].to_numpy().tolist()}) == len(pairs)


def test_copies_of_files_make_no_further_pairs(plain_tree) -> None:
    root = plain_tree({"Ann": 3, "Bob": 2})
    for photo in sorted(root.glob("*/*.jpg")):
        shutil.copy(photo, photo.with_name(f"copy-{photo.name}"))
    assert drawn_pairs(root, 500, 0)["kind"].value_counts().to_dict() == {"impostor": 6, "same": 4}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("path,how\nAnn/0.jpg,x\n", "has no column method; expected the columns path and method"),
        ("", r"isn't a list of deepfakes as a CSV in UTF-8 \(it is empty\)"),
        ("path,method\na.jpg,x\na.jpg,y\n", "names a.jpg twice; expected each deepfake once"),
    ],
)
def test_a_list_of_deepfakes_that_forge_did_not_write_is_refused(plain_tree, text: str, sentence: str) -> None:
    root = plain_tree({"Ann": 3, "Bob": 2})
    (root / "forgeries.csv").write_text(text)
    with pytest.raises(DataError, match=sentence):
        drawn_pairs(root, 100, 0)


def test_a_deepfake_whose_method_is_not_listed_is_of_an_unknown_one(challenge_train) -> None:
    root = challenge_train({"1": [0, 0, 1], "2": [0, 0, 1], "3": [0, 0, 1]})
    (root / "forgeries.csv").write_text("path,method\nimages/1/2.jpg,swap\nimages/2/2.jpg,\n")
    drawn = drawn_pairs(root, 100, 0)
    methods = dict(zip(drawn["path_1"], drawn["method_1"], strict=True)) | dict(
        zip(drawn["path_0"], drawn["method_0"], strict=True)
    )
    assert {path: method for path, method in methods.items() if path.endswith("2.jpg")} == {
        "images/1/2.jpg": "swap",
        "images/2/2.jpg": "unknown",
        "images/3/2.jpg": "unknown",
    }
