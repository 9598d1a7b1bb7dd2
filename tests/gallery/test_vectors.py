"""Vectors of a table, read row by row."""

import sqlite3

import numpy as np
import pytest

from bonaface.gallery.vectors import Vectors

ONE, OTHER = (np.eye(4, dtype="<f4")[n].tobytes() for n in (0, 1))


@pytest.mark.parametrize("rows", [[b"", ONE], [OTHER + ONE, b""], [ONE[:4], ONE]])
def test_no_row_lends_its_bytes_to_another(rows):
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (seq INTEGER PRIMARY KEY, vector BLOB)")
    connection.executemany("INSERT INTO t (vector) VALUES (?)", [(row,) for row in rows])
    with pytest.raises(ValueError, match="a vector is of another length"):
        Vectors().update(connection, "t", 0, 4)
