"""The images of a folder or a table, listed in shards."""

import numpy as np
import pandas as pd
import pytest

from bonaface.errors import DataError
from bonaface.inference.shards import ImageList, write_list
from bonaface.storage import Place


@pytest.fixture
def listed(tmp_path):
    """``listed(source, shard=2)`` lists it and gives the list."""

    def make(source, shard=2):
        place = Place(str(tmp_path / "list.parquet"))
        write_list(str(source), place, shard)
        return ImageList(place)

    return make


def test_a_folder_with_all_folders_below(listed, tmp_path, write_image):
    names = ["b/x/2.png", "a/1.jpg", "a/0.JPG", "3.webp"]
    for name in [*names, "a/readme.png", ".hidden/4.png", "_made/5.png", "a/._6.png"]:
        write_image(tmp_path / "photos" / name.replace("readme.png", "readme.txt.png"))
    (tmp_path / "photos" / "a" / "notes.txt").write_text("no image")
    images = listed(tmp_path / "photos")
    paths = [path for shard in range(images.shards) for path in images.paths(shard)]
    assert paths == ["3.webp", "a/0.JPG", "a/1.jpg", "a/readme.txt.png", "b/x/2.png"]
    assert (len(images), images.shards, images.count([0, 2])) == (5, 3, 3)
    assert images.place("a/0.JPG").read() == (tmp_path / "photos" / "a" / "0.JPG").read_bytes()


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table(listed, tmp_path, write_image, suffix):
    away = write_image(tmp_path / "away.png")
    below = write_image(tmp_path / "tables" / "x" / "0.png")
    rows = pd.DataFrame({"label": [1, 2, 3], "path": ["x/0.png", str(away), "memory://far/1.png"]})
    Place("memory://far/1.png").write(below.read_bytes())
    table = tmp_path / "tables" / f"t.{suffix}"
    rows.to_csv(table, index=False) if suffix == "csv" else rows.to_parquet(table)
    images = listed(table)
    assert images.paths(0) + images.paths(1) == rows["path"].tolist()
    assert [images.place(path).read() for path in rows["path"]] == [
        below.read_bytes(),
        away.read_bytes(),
        below.read_bytes(),
    ]


def test_a_list_as_long_as_its_shards(listed, tmp_path):
    pd.DataFrame({"path": [f"{n}.jpg" for n in range(6)]}).to_csv(tmp_path / "t.csv", index=False)
    assert listed(tmp_path / "t.csv", 3).shards == 2
    assert listed(tmp_path / "t.csv", 6).shards == 1


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("file\na.jpg\n", "isn't a table of images"),
        ("path\n../a.jpg\n", "path: expected one below the table's folder, got '../a.jpg'"),
        ("path\n\n", "holds no images"),
        ("", "isn't a table of images"),
        ("path\n", "holds no images"),
    ],
    ids=["no column", "leads out", "an empty path", "nothing", "no rows"],
)
def test_tables_that_are_none(listed, tmp_path, content, what):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(DataError, match=what):
        listed(tmp_path / "t.csv")
    assert not (tmp_path / "list.parquet").exists()


def test_other_sources_that_are_none(listed, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: holds no images"):
        listed(tmp_path / "empty")
    with pytest.raises(DataError, match="gone: no such file or folder; expected a folder of images"):
        listed(tmp_path / "gone")
    (tmp_path / "x.txt").write_text("text")
    with pytest.raises(DataError, match=r"x\.txt: is neither"):
        listed(tmp_path / "x.txt")
    (tmp_path / "t.parquet").write_text("text")
    with pytest.raises(DataError, match="isn't a table of images"):
        listed(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="is no list of images"):
        ImageList(Place(str(tmp_path / "t.parquet")))


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_damaged_parquet(listed, tmp_path, share):
    """Arrow raises an OSError without a file's name for what it can't decode."""

    def damage(file):
        content = bytearray(file.read_bytes())
        start = int(share * len(content))
        content[start : start + 100] = bytes(100)
        file.write_bytes(content)

    def listed_again():
        images = ImageList(Place(str(tmp_path / "list.parquet")))
        return [images.paths(shard) for shard in range(images.shards)]

    table, names = tmp_path / "t.parquet", np.random.default_rng(0).integers(10**9, size=2000)
    pd.DataFrame({"path": [f"{name}.jpg" for name in names]}).to_parquet(table)
    listed(table)
    damage(tmp_path / "list.parquet")
    with pytest.raises(DataError, match=r"list\.parquet: is no list of images"):
        listed_again()
    damage(table)
    with pytest.raises(DataError, match=r"t\.parquet: isn't a table of images"):
        listed(table)
