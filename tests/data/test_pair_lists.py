from pathlib import Path

import pytest

from bonaface.data.pair_lists import read_lfw_pairs, read_pair_list
from bonaface.errors import DataError


@pytest.fixture
def listed(tmp_path: Path, write_image) -> Path:
    for name in ("a_0001", "a_0002", "b_0001", "b_0002"):
        write_image(tmp_path / name[0] / f"{name}.jpg")
    return tmp_path


def test_a_list_of_pairs(listed: Path) -> None:
    file = listed / "pairs.csv"
    file.write_text("path_0,path_1,label,fold\na/a_0001.jpg,a/a_0002.jpg,1,0\na/a_0001.jpg,b/b_0001.jpg,0,1\n")
    pairs, labels = read_pair_list(file)
    assert pairs.frame["pair_id"].tolist() == ["00000000", "00000001"]
    assert (pairs.root / pairs.frame["path_1"][1]).is_file()
    assert labels["label"].tolist() == [1, 0]
    assert labels["fold"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path_0,label\nx,1\n", "has no column path_1"),
        ("path_0,path_1,label\n", "has no rows"),
        ("path_0,path_1,label\na/a_0001.jpg,../x.jpg,1\n", "line 2: path_1: expected a path below"),
        ("path_0,path_1,label\na/a_0001.jpg,a/a_0009.jpg,1\n", "line 2: path_1: a/a_0009.jpg: no such file"),
        ("path_0,path_1,label\na/a_0001.jpg,b/b_0001.jpg,2\n", "expected 0 or 1, got '2'"),
        ("pair_id,path_0,path_1,label\n" + "7,a/a_0001.jpg,b/b_0001.jpg,0\n" * 2, "line 3: pair 7 occurs twice"),
        ("path_0,path_1,label,fold\na/a_0001.jpg,b/b_0001.jpg,0,x\n", "line 2: fold: expected a whole number"),
    ],
)
def test_a_wrong_list_is_refused(listed: Path, text: str, said: str) -> None:
    (listed / "pairs.csv").write_text(text)
    with pytest.raises(DataError, match=r"pairs\.csv") as caught:
        read_pair_list(listed / "pairs.csv")
    assert said in str(caught.value)


def test_lfw(listed: Path) -> None:
    (listed / "pairs.txt").write_text("2\t1\na\t1\t2\na\t1\tb\t1\nb\t1\t2\na\t2\tb\t2\n")
    pairs, labels = read_lfw_pairs(listed, listed / "pairs.txt")
    assert pairs.frame["path_1"].tolist() == ["a/a_0002.jpg", "b/b_0001.jpg", "b/b_0002.jpg", "b/b_0002.jpg"]
    assert labels["label"].tolist() == [1, 0, 1, 0]
    assert labels["fold"].tolist() == [0, 0, 1, 1]
    assert labels["kind"].tolist() == ["same", "impostor"] * 2
    assert labels["person_1"].tolist() == ["a", "b", "b", "b"]


def test_lfw_with_one_fold(listed: Path) -> None:
    (listed / "pairsDevTest.txt").write_text("1\na\t1\t2\na\t1\tb\t1\n")
    assert read_lfw_pairs(listed, listed / "pairsDevTest.txt")[1]["fold"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "its first line is ''"),
        ("ten 300\n", "its first line is 'ten 300'"),
        ("2 1\na 1 2\n", "has 1 pairs; its first line announces 4"),
        ("1\na 1 b 2\na 1 b 1\n", "line 2: expected 'name n m'"),
        ("1\na 1 2\na 1 2\n", "line 3: expected 'name n other m'"),
        ("1\na 1 7\na 1 b 1\n", "line 2: "),
        ("1\n../a 1 2\na 1 b 1\n", "line 2: expected people's names"),
    ],
)
def test_a_wrong_protocol_is_refused(listed: Path, text: str, said: str) -> None:
    (listed / "pairs.txt").write_text(text)
    with pytest.raises(DataError, match=r"pairs\.txt") as caught:
        read_lfw_pairs(listed, listed / "pairs.txt")
    assert said in str(caught.value)
