"""Folders and files by address, on disk and in object storage (fsspec's own in memory stands for it)."""

import pytest

from bonaface.errors import ConfigError, DataError
from bonaface.storage import Place


@pytest.fixture(params=["disk", "object storage"])
def root(request, tmp_path):
    """An address of each kind, empty."""
    return Place(str(tmp_path / "root") if request.param == "disk" else f"memory://{tmp_path.name}-{id(request)}")


def test_what_is_written_is_read_listed_and_walked(root):
    assert not root.exists()
    assert root.names() == set()
    for name in ("b/2.jpg", "a/1.jpg", "a/0.jpg", "c.txt"):
        (root / name).write(name.encode())
    assert (root / "a/1.jpg").read() == b"a/1.jpg"
    assert root.names() == {"a", "b", "c.txt"}
    assert list(root.walk()) == [(".", ["c.txt"]), ("a", ["0.jpg", "1.jpg"]), ("b", ["2.jpg"])]
    assert root.is_folder()
    assert not (root / "c.txt").is_folder()
    with (root / "c.txt").opened() as file:
        file.seek(2)
        assert file.read() == b"txt"


def test_a_file_appears_whole_or_not_at_all(root):
    place = root / "a"

    def write(content):
        with place.writing() as temporary:
            temporary.write_bytes(content)
            if content == b"half":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(b"half")
    assert not place.exists()
    write(b"whole")
    assert place.read() == b"whole"
    with pytest.raises(KeyboardInterrupt):
        write(b"half")
    assert place.read() == b"whole"


def test_what_is_missing_is_named(root):
    with pytest.raises(DataError, match="gone: no such file or folder"):
        (root / "gone").read()
    with pytest.raises(DataError, match="gone: no such file or folder"):
        list((root / "gone").walk())


def test_an_unknown_scheme():
    with pytest.raises(
        ConfigError, match="s4://x: Protocol not known: s4; expected a path, or a URL such as s3://bucket"
    ):
        Place("s4://x")


def test_a_refusal_of_the_storage_is_one_sentence(tmp_path, monkeypatch):
    place = Place(str(tmp_path))

    def refuse(*arguments, **named):
        raise RuntimeError("Access\ndenied")

    monkeypatch.setattr(type(place.files), "isdir", refuse)
    with pytest.raises(DataError, match=r"can't be read or written \(Access denied\)"):
        place.is_folder()
