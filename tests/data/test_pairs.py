from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bonaface.data.pairs import read_labels, read_pairs
from bonaface.errors import DataError

SHARED = Path(__file__).parents[3] / "shared" / "lfw-deepfakes" / "test_public"
Maker = Callable[..., Path]


@pytest.mark.parametrize("under", ["", "images"])
def test_pairs_in_the_order_of_their_names(challenge_test: Maker, under: str) -> None:
    root = challenge_test(3, under=under)
    (root / under / ".DS_Store").write_text("x")
    pairs = read_pairs(root)
    assert pairs.frame["pair_id"].tolist() == ["00000000", "00000001", "00000002"]
    assert len(pairs) == 3
    assert pairs.frame["path_1"].iat[2] == (f"{under}/" if under else "") + "00000002/1.jpg"
    assert all((pairs.root / path).is_file() for path in [*pairs.frame["path_0"], *pairs.frame["path_1"]])


@pytest.mark.parametrize(
    ("remove", "add", "shown"),
    [(["1.jpg"], [], "0.jpg"), ([], ["2.jpg"], "0.jpg, 1.jpg, 2.jpg"), (["0.jpg", "1.jpg"], [], "no image"),
     (["1.jpg"], ["5.jpg"], "0.jpg, 5.jpg")],
)  # fmt: skip
@pytest.mark.parametrize("count", [1, 4])
def test_a_folder_that_is_no_pair(
    challenge_test: Maker, remove: list[str], add: list[str], shown: str, count: int
) -> None:
    root = challenge_test(count)
    folder = root / "images" / "00000000"
    for name in remove:
        (folder / name).unlink()
    for name in add:
        (folder / name).write_bytes(b"x")
    with pytest.raises(DataError, match=f"00000000: expected a 0.jpg and a 1.jpg and no other image, got {shown}$"):
        read_pairs(root)


def test_what_train_reads_is_told_apart(challenge_train: Maker, plain_tree: Maker, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has meta.json\), which train reads"):
        read_pairs(challenge_train())
    with pytest.raises(DataError, match=r"holds people's folders, which train reads"):
        read_pairs(plain_tree())
    with pytest.raises(DataError, match=r"no such folder; expected <pair_id>/0.jpg"):
        read_pairs(tmp_path / "nowhere")


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no folders; expected <pair_id>/0.jpg"):
        read_pairs(tmp_path)


def test_labels_follow_the_pairs(challenge_test: Maker, rng: np.random.Generator) -> None:
    root = challenge_test(8)
    pairs = read_pairs(root)
    straight = read_labels(root / "labels.csv", pairs)
    assert straight.columns.tolist() == ["label", "kind", "person_0", "person_1", "method_0", "method_1"]
    assert straight["label"].tolist() == [1, 0, 0, 0] * 2
    assert straight["label"].dtype == np.int64
    shuffled = pd.read_csv(root / "labels.csv", dtype=str).iloc[rng.permutation(8)]
    shuffled.to_csv(root / "shuffled.csv", index=False)
    pd.testing.assert_frame_equal(read_labels(root / "shuffled.csv", pairs), straight)
    shuffled.assign(pair_id=shuffled["pair_id"].astype(int)).to_csv(root / "numbers.csv", index=False)
    pd.testing.assert_frame_equal(read_labels(root / "numbers.csv", pairs), straight)


def test_labels_alone_will_do(challenge_test: Maker) -> None:
    root = challenge_test(2)
    (root / "labels.csv").write_text("pair_id,label\n1,0\n0,1\n")
    assert read_labels(root / "labels.csv", read_pairs(root)).to_dict("list") == {"label": [1, 0]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pair_id,label\n0,1\n", r"labels\.csv: 1 of 2 pairs have no label, first 00000001; expected each pair"),
        ("pair_id,label\n0,1\n1,0\n00000001,0\n", r"pair 00000001 is labelled twice"),
        ("pair_id,label\n0,1\n1,2\n", r"pair 1: label: expected 0 or 1, got '2'"),
        ("pair_id,label\n0,1\n1,\n", r"pair 1: label: expected 0 or 1, got ''"),
        ("pair_id,label\n0,1\n1,0\n7,0\n", r"pair 7 isn't in .*test; expected its pairs, each once"),
        ("pair_id,similarity\n0,1\n", r"has no column label; expected a CSV with pair_id and label"),
        ("pair,sim\n0,1\n", r"has no column pair_id and no column label"),
        ("", r"has no column pair_id"),
        ("pair_id,label,kind\n0,1,same\n1,0,twin\n", r"pair 1: kind: expected one of same, impostor, .* got 'twin'"),
        ("pair_id,label,kind\n0,1,same\n1,1,impostor\n", r"pair 1: kind impostor has label 1; expected 0"),
        ("pair_id,label,kind\n0,0,same\n1,0,impostor\n", r"pair 0: kind same has label 0; expected 1"),
    ],
)
def test_bad_labels(challenge_test: Maker, text: str, message: str) -> None:
    root = challenge_test(2)
    (root / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_labels(root / "labels.csv", read_pairs(root))


def test_a_missing_label_file(challenge_test: Maker) -> None:
    root = challenge_test(2)
    with pytest.raises(DataError, match=r"none\.csv: isn't a table of labels that can be read \(no such file"):
        read_labels(root / "none.csv", read_pairs(root))


def test_a_number_that_fits_two_folders_is_not_guessed(challenge_test: Maker) -> None:
    root = challenge_test(2)
    (root / "images" / "00000001").rename(root / "images" / "0")
    (root / "labels.csv").write_text("pair_id,label\n00000000,1\n000,0\n")
    with pytest.raises(DataError, match=r"pair 000 isn't in"):
        read_labels(root / "labels.csv", read_pairs(root))


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/lfw-deepfakes, real photos, isn't there")
def test_the_public_test_set() -> None:
    pairs = read_pairs(SHARED)
    labels = read_labels(SHARED / "labels.csv", pairs)
    assert len(pairs) == len(labels) == 2000
    assert labels["kind"].value_counts().to_dict() == {"same": 800, "impostor": 500, "own_fake": 500, "other_fake": 200}
