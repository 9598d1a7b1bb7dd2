"""Scores of pairs: the lowest for broken ones, finite for all, and a file that is whole or not there."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bonaface.data.pairs import PairTable
from bonaface.errors import DataError
from bonaface.inference.embedder import Embedded
from bonaface.inference.score_pairs import score_pairs, write_submission
from bonaface.verification.embeddings import Embeddings

PAIRS = PairTable(Path("p"), *([f"{pair}{rest}" for pair in "abc"] for rest in ("", "/0.jpg", "/1.jpg")))


class Planar:
    """Vectors in a plane by their angles in degrees, in the order of the photos; None is a broken photo."""

    name = "planar"
    calibration = None

    def __init__(self, *angles: float | None) -> None:
        self.angles = angles

    def embed(self, paths, progress=None):
        assert [path.as_posix() for path in paths] == [f"p/{pair}/{side}.jpg" for side in "01" for pair in "abc"]
        good = np.radians([angle for angle in self.angles if angle is not None])
        vectors = np.stack([np.cos(good), np.sin(good)], axis=1).astype(np.float32)
        whole = np.array([angle is not None for angle in self.angles])
        place = np.where(whole, np.cumsum(whole) - 1, -1)
        return Embedded(Embeddings(vectors), place, {int(row): "broken" for row in np.flatnonzero(~whole)})


def test_each_pair_gets_the_cosine_of_its_own_photos():
    scored = score_pairs(Planar(0, 0, 0, 60, 90, 180), PAIRS)
    np.testing.assert_allclose(scored.similarity, [0.5, 0.0, -1.0], atol=1e-6)
    assert not scored.faults
    assert not scored.spoiled.any()


def test_a_broken_photo_spoils_its_pair_alone():
    scored = score_pairs(Planar(0, None, 0, 60, 90, 45), PAIRS)
    np.testing.assert_allclose(scored.similarity, [0.5, -1.0, np.sqrt(0.5)], atol=1e-6)
    assert scored.faults == {"b/0.jpg": "broken"}
    assert scored.spoiled.tolist() == [False, True, False]


def test_all_broken():
    scored = score_pairs(Planar(None, None, None, None, None, None), PAIRS)
    assert scored.similarity.tolist() == [-1.0] * 3
    assert scored.spoiled.all()


def test_a_damaged_model_is_no_submission():
    with pytest.raises(DataError, match="planar: 1 similarities are not finite"):
        score_pairs(Planar(0, np.nan, 0, 60, 90, 180), PAIRS)


def test_the_file_has_every_pair_in_order(tmp_path):
    scored = replace(score_pairs(Planar(0, 0, 0, 60, 90, 180), PAIRS), similarity=np.array([1 / 3, -1e-12, 0.1]))
    write_submission(scored, tmp_path / "new" / "s.csv")
    assert (tmp_path / "new" / "s.csv").read_text() == "pair_id,similarity\na,0.333333333\nb,-1e-12\nc,0.1\n"


def test_a_file_that_can_not_be_written_is_said(tmp_path):
    (tmp_path / "s.csv").mkdir()
    with pytest.raises(DataError, match=r"s\.csv: can't be written"):
        write_submission(score_pairs(Planar(0, 0, 0, 0, 0, 0), PAIRS), tmp_path / "s.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["s.csv"]
