from pathlib import Path

import numpy as np
import pytest

from bonaface.errors import DataError
from bonaface.evaluation.inputs import PairSource, read_judged
from bonaface.evaluation.scores import PairScores, read_scores, write_scores
from bonaface.verification.thresholds import Threshold, Validation

IDS = ["0000", "0001", "0002"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no column pair_id"),
        ("pair_id,score\n0,1\n", "has no column similarity"),
        ("pair_id,similarity\n0,1\n1,nan\n2,0\n", "line 3: pair 1: similarity: expected a finite number, got 'nan'"),
        ("pair_id,similarity\n0,1\n1,-inf\n2,0\n", "line 3: pair 1: similarity: expected a finite number, got '-inf'"),
        ("pair_id,similarity\n0,1\n1,1_0\n2,0\n", "line 3: pair 1: similarity: expected a finite number, got '1_0'"),
        ("pair_id,similarity\n0,1\n1,٣\n2,0\n", "line 3: pair 1: similarity: expected a finite number, got '٣'"),
        (
            "pair_id,similarity\n0,1\n1,1e308\n2,0\n",
            "line 3: pair 1: similarity: expected a finite number, got '1e308'",
        ),
        ("pair_id;similarity\n0;1\n1;0,5\n2;0\n", "got '0,5'; write a point for the decimal comma"),
        ("pair_id,similarity,similarity\n0,1,0\n", "has the column similarity twice"),
        ("pair_id,similarity\n0,1\n1\n2,0\n", "line 3: pair 1: similarity: expected a finite number, got ''"),
        ("pair_id,similarity\n0,1\n1,2\n", "1 of 3 pairs of labels.csv have no score, first 0002"),
        ("pair_id,similarity\n0,1\n1,2\n1,2\n2,0\n", "line 4: pair 1 occurs twice, first on line 3"),
        ("pair_id,similarity\n0,1\n1,2\n0002,0\n9,0\n", "line 5: pair 9 isn't in labels.csv"),
    ],
)
def test_wrong_scores_are_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "s.csv"
    file.write_text(text)
    with pytest.raises(DataError, match=r"s\.csv") as caught:
        read_scores(file, IDS, "labels.csv")
    assert said in str(caught.value)


def test_binary_and_absent_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_bytes(b"\xff\xfe\x00pair_id,similarity\n")
    for name in ("s.csv", "absent.csv"):
        with pytest.raises(DataError, match=name):
            read_scores(tmp_path / name, IDS, "labels.csv")


@pytest.mark.parametrize(
    "text", ["pair_id;similarity\n0;1\n1;-.5\n2;2E-1\n", "\ufeffpair_id\tsimilarity\n0\t1.\n1\t-0.5\n2\t.2\n"]
)
def test_scores_as_people_save_them(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.csv").write_text(text, encoding="utf-8")
    assert read_scores(tmp_path / "s.csv", IDS, "").tolist() == [1, -0.5, 0.2]


def test_what_is_called_a_deepfake_or_cannot_be_read_passes_at_no_threshold() -> None:
    lax = Validation((Threshold(0.1, -5.0, -6.0, -4.0, 10),), None, 10)
    log_odds = np.array([[2.0, 2.0], [2.0, -2.0], [np.nan, 2.0]])
    spoiled = np.array([False, False, True])
    judging = PairScores("m", "", np.array([3.0, 2.0, -1.0]), lax, authenticity=log_odds, spoiled=spoiled)
    assert (judging.passing >= -5.0).tolist() == [True, False, False]
    plain = PairScores("m", "", np.array([3.0, 2.0, -1.0]), lax, spoiled=spoiled)
    assert (plain.passing >= -5.0).tolist() == [True, True, False]


def test_scores_come_back_as_they_were_written(tmp_path: Path) -> None:
    scores = np.array([0.25, -1.5, 1e-7])
    write_scores([PairScores("m", "", scores)], IDS, tmp_path / "s.csv")
    np.testing.assert_array_equal(read_scores(tmp_path / "s.csv", IDS[::-1], ""), scores[::-1])


def test_several_models_have_a_column_each(tmp_path: Path) -> None:
    scores = np.array([0.25, -1.5, 1e-7])
    write_scores([PairScores("m", "", scores), PairScores("k", "", scores)], IDS, tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_text().splitlines()[0] == "pair_id,m,k"


def test_labels_alone_name_the_pairs(tmp_path: Path) -> None:
    file = tmp_path / "l.csv"
    file.write_text("pair_id,label\n5,1\n3,0\n")
    pairs, labels = read_judged(PairSource(labels=file))
    assert pairs.frame["pair_id"].tolist() == ["5", "3"]
    assert labels["label"].tolist() == [1, 0]
    file.write_text("pair_id,label\n5,1\n5,0\n")
    with pytest.raises(DataError, match="labelled twice"):
        read_judged(PairSource(labels=file))
