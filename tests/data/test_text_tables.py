"""CSV files as people have them."""

import pytest

from bonaface.data.text_tables import read_text_table
from bonaface.errors import DataError


def read(tmp_path, content):
    file = tmp_path / "a.csv"
    file.write_bytes(content)
    return read_text_table(file, "a table", "expected a and b").to_dict("list")


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\n007,x y\n,\n",
        b"\xef\xbb\xbfa,b\r\n007,x y\r\n,\r\n",
        b"a;b\n007;x y\n;\n",
        b"a\tb\n007\tx y\n\t\n",
        b'"a", "b"\n007, "x y"\n,\n',
        b"sep=;\r\na;b\r\n007;x y\r\n;\r\n",
    ],
)
def test_separators_and_marks(tmp_path, content):
    assert read(tmp_path, content) == {"a": ["007", ""], "b": ["x y", ""]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"a\.csv: isn.t a table as a CSV in UTF-8 \(it is empty"),
        (b"a,b\n\xe9,1\n", "isn't a table as a CSV in UTF-8"),
        (b"a,b,a\n1,2,3\n", "has the column a twice; expected a and b"),
        (b"a;b;a\n1;2;3\n", "has the column a twice"),
        (b"a,b\n1,2\n1,2,3,4\n", "expected a and b"),
        (b"a,b\n1,2,3\n", "line 2: has 3 cells, more than its header has names"),
        (b'a,b\n1,"2\n', "isn't a table as a CSV"),
    ],
)
def test_files_that_are_refused(tmp_path, content, said):
    with pytest.raises(DataError, match=said):
        read(tmp_path, content)


def test_a_device_is_not_read_without_end():
    from pathlib import Path

    with pytest.raises(DataError, match="is a device, and no regular file"):
        read_text_table(Path("/dev/zero"), "a table", "expected a and b")
