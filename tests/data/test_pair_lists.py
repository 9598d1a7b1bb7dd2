from pathlib import Path

import pytest

from bonaface.data.pair_lists import read_lfw_pairs, read_pair_list
from bonaface.errors import DataError

FAKE = "a/a_0002.jpg,b/b_0001.jpg,0,swap,real,other_fake\n"


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
        (
            "path_0,path_1,label\na/a_0001.jpg,b/b_0001.jpg,0\nb/b_0001.jpg,a/a_0001.jpg,1\n",
            "line 3: label: 1, where line 2 says 0 of the same two images",
        ),
        ("path_0,path_1,label,fold\na/a_0001.jpg,b/b_0001.jpg,0,x\n", "line 2: fold: expected a whole number"),
        (
            "path_0,path_1,label,method_0,method_1,kind\na/a_0001.jpg,a/a_0002.jpg,1,real,real,same\n" + FAKE,
            "line 3: a/a_0002.jpg is a deepfake, and genuine in line 2; expected one of them",
        ),
        (
            "path_0,path_1,label,person_0,person_1\na/a_0001.jpg,a/a_0002.jpg,1,a,a\nb/b_0001.jpg,a/a_0002.jpg,0,b,c\n",
            "line 3: a/a_0002.jpg is c, and a in line 2; expected one of them",
        ),
        (
            "path_0,path_1,label,kind\na/a_0001.jpg,a/a_0002.jpg,1,same\na/a_0001.jpg,b/b_0002.jpg,0,impostor\nb/b_0002.jpg,a/a_0002.jpg,0,own_fake\n",
            "line 4: b/b_0002.jpg and a/a_0002.jpg have kind own_fake, and are genuine in other lines; expected a deepfake",
        ),
    ],
)
def test_a_wrong_list_is_refused(listed: Path, text: str, said: str) -> None:
    (listed / "pairs.csv").write_text(text)
    with pytest.raises(DataError, match=r"pairs\.csv") as caught:
        read_pair_list(listed / "pairs.csv")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "rows",
    [
        "a/a_0001.jpg,a/a_0002.jpg,1,same\na/a_0001.jpg,b/b_0001.jpg,0,own_fake\nb/b_0001.jpg,a/a_0002.jpg,0,own_fake\n",
        "a/a_0001.jpg,a/a_0002.jpg,0,own_fake\na/a_0002.jpg,b/b_0001.jpg,0,own_fake\na/a_0001.jpg,b/b_0001.jpg,0,other_fake\n",
        "a/a_0001.jpg,a/a_0002.jpg,1,same\na/a_0001.jpg,b/b_0001.jpg,0,impostor\na/a_0002.jpg,b/b_0001.jpg,0,impostor\n",
    ],
)
def test_a_list_that_can_be_true_is_taken(listed: Path, rows: str) -> None:
    (listed / "pairs.csv").write_text(f"path_0,path_1,label,kind\n{rows}")
    assert len(read_pair_list(listed / "pairs.csv")[1]) == 3


@pytest.mark.parametrize(
    ("head", "row"),
    [
        ("\ufeffpath_0,path_1,label\n", "a/a_0001.jpg,b/b_0001.jpg,0\n"),
        ("path_0;path_1;label\n", "a/a_0001.jpg;b/b_0001.jpg;0\n"),
        ("path_0\tpath_1\tlabel\n", "a/a_0001.jpg\tb/b_0001.jpg\t0\n"),
        ("# drawn by hand, twice\n\npath_0,path_1,label\n", "# b, anew\na/a_0001.jpg, b/b_0001.jpg ,0,\n"),
    ],
)
def test_a_list_as_people_save_it(listed: Path, recwarn, head: str, row: str) -> None:
    (listed / "pairs.csv").write_text(head + row, encoding="utf-8")
    pairs, labels = read_pair_list(listed / "pairs.csv")
    assert pairs.frame.loc[0, ["path_0", "path_1"]].tolist() == ["a/a_0001.jpg", "b/b_0001.jpg"]
    assert labels["label"].tolist() == [0]
    assert not recwarn.list


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"path_0,path_1,label,label\na/a_0001.jpg,b/b_0001.jpg,0,1\n", "has the column label twice"),
        (b"path_0,path_1,label\na/a_0001.jpg,b/b_0001.jpg,0,1\n", "line 2: has 4 cells, more than"),
        (b"path_0,path_1,label\na/a_0001.jpg,b/\xff.jpg,0\n", "isn't a list of pairs as a CSV in UTF-8 (line 2"),
        (b'path_0,path_1,label\n"a"b,b/b_0001.jpg,0\n', "(line 2: "),
        (b"path_0,path_1,label\na\0,b,0\n", "zero byte"),
        (b"# nothing\n", "has no column path_0"),
    ],
)
def test_a_damaged_list_is_refused(listed: Path, data: bytes, said: str) -> None:
    (listed / "pairs.csv").write_bytes(data)
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


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_lfw_with_one_fold(listed: Path, mark: str) -> None:
    (listed / "pairsDevTest.txt").write_text(mark + "1\na\t1\t2\na\t1\tb\t1\n")
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
        ("1\na 1 2\na 1 a 2\n", "line 3: a non-mated pair has the person a twice; expected two people"),
        ("1\n../a 1 2\na 1 b 1\n", "line 2: expected people's names"),
    ],
)
def test_a_wrong_protocol_is_refused(listed: Path, text: str, said: str) -> None:
    (listed / "pairs.txt").write_text(text)
    with pytest.raises(DataError, match=r"pairs\.txt") as caught:
        read_lfw_pairs(listed, listed / "pairs.txt")
    assert said in str(caught.value)
