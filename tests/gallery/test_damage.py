"""A damaged gallery is said and nothing of it is rewritten; what fails behind the answers does not stay unsaid."""

import json
import logging

import pytest
from tiny_gallery import MARK, MilvusServer, photo

from bonaface.errors import DataError, GalleryDamagedError, GalleryUnavailableError
from bonaface.gallery.erasure import Eraser
from bonaface.gallery.gallery import Gallery
from bonaface.gallery.people import checked_row


@pytest.fixture
def uri(tmp_path):
    """A gallery of three photos, two of them in a file and one only in the newest manifest's."""
    gallery = Gallery(str(tmp_path / "g.db"), MARK)
    gallery.enrol("ann", [photo(1), photo(2)])
    gallery.database.flush()
    gallery.enrol("bob", [photo(3)])
    gallery.close()
    return str(tmp_path / "g.db")


def _cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", ["cut", "empty", "remove", "not an object", "deep", "no partitions"])
@pytest.mark.parametrize(
    "pattern",
    ["manifest.json", "schema.json", "partitions/_default/data/*_000003_000003.parquet", "../../aliases.json"],
)
def test_a_damaged_file_is_permanent_and_nothing_is_touched(uri, tmp_path, pattern, damage, capfd):
    (collection,) = (tmp_path / "g.db" / "collections").iterdir()
    (file,) = collection.glob(pattern)
    if damage == "remove":
        file.unlink()
    elif damage == "no partitions":
        content = json.loads(file.read_text()) if file.suffix == ".json" else {}
        file.write_text(json.dumps({name: each for name, each in content.items() if name not in ("partitions",)}))
    else:
        _cut(file) if damage == "cut" else file.write_text(
            {"empty": "", "not an object": "[1]", "deep": "[" * 100_000}[damage]
        )
    if file.name in ("schema.json", "aliases.json") and damage == "no partitions":
        return  # nothing was taken away
    if file.name == "aliases.json" and damage == "remove":
        return  # as a kill leaves it before the first collection is named: the collection is there
    before = {path: path.read_bytes() for path in (tmp_path / "g.db").rglob("*") if path.is_file()}
    with pytest.raises(GalleryDamagedError, match="restore") as refused:
        Gallery(uri, MARK)
    assert "soon" not in str(refused.value)
    assert before == {path: path.read_bytes() for path in (tmp_path / "g.db").rglob("*") if path.is_file()}
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "files", ['{"data_files": [1]}', '{"data_files": 7}', '{"data_files": ["\\u0000"]}', '"x"', "[1]"]
)
def test_a_manifest_of_other_types_is_damage(uri, tmp_path, files):
    (manifest,) = (tmp_path / "g.db").glob("collections/*/manifest.json")
    manifest.write_text(f'{{"partitions": {{"_default": {files}}}}}')
    with pytest.raises(GalleryDamagedError, match="restore the folder from a backup"):
        Gallery(uri, MARK)


def test_a_whole_gallery_is_opened_without_a_word(uri, capfd):
    gallery = Gallery(uri, MARK)
    assert gallery.count() == 3
    gallery.close()
    assert capfd.readouterr().err == ""


def test_a_refused_gallery_lets_go_of_its_folder(uri, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"holiday\.jpg"):
        Gallery(uri, MARK, tmp_path / "photos")
    Gallery(uri, MARK).close()


def test_files_damaged_while_it_runs_are_permanent_too(uri, tmp_path):
    gallery = Gallery(uri, MARK)
    with pytest.raises(GalleryDamagedError, match="can't read or write its files"):
        gallery.database.call(lambda client: client.query("none_of_ours", "id == 1"))
    gallery.close()


def test_rows_that_can_not_be_read_are_not_erased(uri, monkeypatch, caplog):
    gallery = Gallery(uri, MARK)
    scan = gallery.database.scan
    monkeypatch.setattr(gallery.database, "scan", lambda *words, **more: (rows[:-1] for rows in scan(*words, **more)))
    gallery.enrol("cyd", [photo(4), photo(5)])
    with caplog.at_level(logging.ERROR, "bonaface.gallery"):
        gallery.remove("bob")
        assert not gallery.erased(2)
    assert "only 3 of 4 photos can be read" in caplog.text
    with pytest.raises(GalleryUnavailableError, match="not off the disk yet"):
        gallery.refuse_unready()
    monkeypatch.undo()
    gallery.close()
    again = Gallery(uri, MARK)
    assert again.erased(20)
    assert {person.id: person.photos for person in again.people()} == {"ann": 2, "cyd": 2}
    again.close()


def test_the_eraser_survives_any_error_and_tries_again(uri, monkeypatch):
    gallery = Gallery(uri, MARK)
    failures = [ZeroDivisionError("as nobody expected"), RuntimeError("another")]
    count = gallery.database.count
    monkeypatch.setattr(gallery.database, "count", lambda: _fail(failures) if failures else count())
    gallery._eraser = Eraser(gallery.database, MARK, gallery._writing, pause=0.01)
    gallery.remove("bob")
    assert gallery.erased(20)
    gallery.refuse_unready()
    assert not failures
    gallery.close()


def _fail(failures):
    raise failures.pop()


def test_nothing_is_written_after_the_end(uri):
    gallery = Gallery(uri, MARK)
    gallery.close()
    for act in (lambda: gallery.enrol("ann", [photo(4)]), lambda: gallery.remove("ann")):
        with pytest.raises(GalleryUnavailableError, match="is ending"):
            act()


def test_of_two_services_that_enrol_one_person_at_once_the_second_sees_the_first(tmp_path):
    """Between the second one's look and its writing the first has written."""
    server = MilvusServer(tmp_path)
    first, second = Gallery(server.uri, MARK), Gallery(server.uri, MARK, tmp_path / "photos")
    seen = []

    def admit(there):
        seen.append([each.photo for each in there])
        if not seen[0] and len(seen) == 1:
            first.enrol("ann", [photo(1)])
        if there:
            raise DataError("is unlike the photo that is there")

    try:
        with pytest.raises(DataError, match="unlike"):
            second.enrol("ann", [photo(2), photo(3)], admit)
        assert len(seen) == 2
        assert [each.details["n"] for each in first.photos_of("ann")] == [1]
        assert not [path for path in (tmp_path / "photos").glob("*/*") if path.is_file()]
        second.enrol("ann", [photo(1), photo(4)])
        assert first.count() == 2
    finally:
        first.close()
        second.close()
        server.kill()


def test_a_vector_of_another_length_shows_when_it_is_found():
    row = {"id": f"ann:{'0' * 32}", "person": "ann", "cosine": 1.0}
    assert checked_row(row) is row
    for cosine in (1e20, -2.0, float("nan")):
        with pytest.raises(ValueError, match="a vector is not of length 1"):
            checked_row(row | {"cosine": cosine})


def test_a_cut_log_is_said(uri, tmp_path, caplog):
    """Milvus Lite reads it up to the cut, without a word."""
    gallery = Gallery(uri, MARK)
    gallery.enrol("cyd", [photo(4)])
    (log,) = (tmp_path / "g.db").glob("collections/*/wal/*.arrow")
    whole = log.read_bytes()
    gallery.close()
    for kept, said in ((len(whole), False), (len(whole) // 2, True)):
        log.write_bytes(whole[:kept])
        caplog.clear()
        Gallery(uri, MARK).close()
        assert ("is cut or damaged" in caplog.text) == said
