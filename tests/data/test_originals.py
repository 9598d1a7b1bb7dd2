"""Lists of originals: rows found by name, what cleaning left out passed over, and bad files said in a sentence."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bonaface.data.originals import read_originals
from bonaface.data.table import FaceTable
from bonaface.errors import DataError

ROWS = [("images/a/0.jpg", "a", False), ("images/a/1.jpg", "a", True), ("images/b/0.jpg", "b", False)]
TABLE = FaceTable(Path("/faces"), pd.DataFrame(ROWS, columns=["path", "person", "is_fake"]).assign(split=""))


def written(tmp_path, text):
    file = tmp_path / "originals.csv"
    file.write_text(text)
    return file


@pytest.mark.parametrize("start", ["", "images/"])
def test_rows_are_found_by_name(tmp_path, start):
    gone = "a/9.jpg,b/0.jpg\na/1.jpg,b/9.jpg"
    file = written(tmp_path, f"deepfake,original\n{gone}\n{start}a/1.jpg,{start}b/0.jpg\n")
    np.testing.assert_array_equal(read_originals(file, TABLE), [-1, 2, -1])


def test_a_photo_has_no_original_and_a_deepfake_is_none(tmp_path):
    file = written(tmp_path, "deepfake,original\na/0.jpg,b/0.jpg\nb/0.jpg,a/1.jpg\na/1.jpg,a/0.jpg\n")
    np.testing.assert_array_equal(read_originals(file, TABLE), [-1, 0, -1])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("deepfake,photo\na/1.jpg,b/0.jpg\n", "has no column original"),
        ("deepfake,original\nc/1.jpg,b/0.jpg\n", "names no deepfake and its original"),
        ("", "isn't a list of originals"),
    ],
)
def test_bad_files_get_a_sentence(tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        read_originals(written(tmp_path, text), TABLE)
