"""Enrolled people: found by person and by likeness, the same after a kill, gone when deleted."""

import os
import signal
import subprocess
import sys
import threading
import time

import grpc
import numpy as np
import pytest
from tiny_gallery import MARK, MilvusServer, photo, unit

from bonaface.errors import (
    ConfigError,
    DataError,
    GalleryDamagedError,
    GalleryError,
    GalleryFullError,
    GalleryReplacedError,
    GalleryUnavailableError,
    ModelError,
)
from bonaface.gallery.collection_name import ModelMark
from bonaface.gallery.enrolment import enrol_beside
from bonaface.gallery.gallery import Gallery
from bonaface.gallery.people import NewPhoto, as_row, photo_id, stacked


@pytest.fixture(params=["g.sqlite", "g.db"])
def uri(request, tmp_path):
    return str(tmp_path / request.param)


@pytest.fixture
def gallery(uri, tmp_path):
    gallery = Gallery(uri, MARK, tmp_path / "photos")
    yield gallery
    gallery.close()


@pytest.fixture
def lite(tmp_path):
    """Milvus Lite alone."""
    gallery = Gallery(str(tmp_path / "g.db"), MARK, tmp_path / "photos")
    yield gallery
    gallery.close()


def test_what_is_enrolled_is_found_by_person(gallery):
    ids = gallery.enrol("ann", [photo(1), photo(2)], now=lambda: 1000.5)
    found = {each.photo: each for each in gallery.photos_of("ann")}
    assert set(found) == set(ids) == {photo_id("ann", b"image 1"), photo_id("ann", b"image 2")}
    one = found[ids[0]]
    np.testing.assert_allclose(one.identity, photo(1).identity, atol=1e-7)
    assert (one.person, one.authenticity, one.enrolled, one.details) == ("ann", 0.25, 1000.5, {"n": 1})
    assert gallery.image(ids[1]) == b"image 2"
    assert gallery.photos_of("bob") == []
    assert stacked(list(found.values())).authenticity.shape == (2,)


def test_who_has_a_file_is_known(gallery):
    for person, photos in {"ann": [photo(1), photo(2)], "bob": [photo(2)], "cyd": [photo(3)]}.items():
        gallery.enrol(person, photos)
    assert gallery.with_file(["ann", "bob", "cyd", "dan"], b"image 2") == {"ann", "bob"}
    assert gallery.with_file(["bob"], b"image 1") == gallery.with_file([], b"image 1") == set()


def test_enrolling_again_changes_nothing(gallery):
    gallery.enrol("ann", [photo(1)], now=lambda: 1.0)
    gallery.enrol("ann", [photo(1), photo(2), photo(2)], now=lambda: 2.0)
    assert sorted(each.enrolled for each in gallery.photos_of("ann")) == [1.0, 2.0]
    assert gallery.count() == 2


def test_photos_are_judged_and_written_in_one_step(tmp_path):
    """Others that are enrolled between the two are judged beside, and what is then refused was never in the gallery."""
    file, folder = str(tmp_path / "g.sqlite"), tmp_path / "photos"
    ours, theirs = (Gallery(file, MARK, folder) for _ in range(2))
    said = []

    def deletions():
        return ours.database._connection.execute("SELECT deletions FROM gallery").fetchone()[0]

    before = deletions()

    def attempt(there, unchanged):
        said.append([each.photo for each in there])
        if there:
            raise DataError("is unlike the enrolled photo")
        theirs.enrol("ann", [photo(2)])
        ours.enrol("ann", [photo(1)], unchanged)

    with pytest.raises(DataError, match="unlike"):
        enrol_beside(ours, "ann", attempt)
    assert said == [[], [photo_id("ann", b"image 2")]]
    assert [each.photo for each in theirs.photos_of("ann")] == [photo_id("ann", b"image 2")]
    assert deletions() == before, "ours was written, and taken out again: a kill in between would have left it"
    assert {path.name for path in folder.rglob("*") if path.is_file()} == {
        "bonaface-photos.json",
        photo_id("ann", b"image 2"),
    }
    ours.close()
    theirs.close()


def test_search_is_exact_and_counts_a_person_once(gallery, rng):
    vectors = {f"p{n}": [unit(rng) for _ in range(1 + 40 * (n == 3))] for n in range(20)}
    for person, several in vectors.items():
        gallery.enrol(person, [NewPhoto(f"{person} {n}".encode(), v, None) for n, v in enumerate(several)])
    query = unit(rng)
    slow = sorted(
        ((max(float(v @ query) for v in several), person) for person, several in vectors.items()), reverse=True
    )
    for k in (1, 5, 20, 50):
        found = gallery.search(query, k)
        assert [hit.person for hit in found] == [person for _, person in slow[:k]]
        np.testing.assert_allclose([hit.cosine for hit in found], [cosine for cosine, _ in slow[:k]], atol=1e-6)


def test_pages_name_everyone_once(gallery, rng):
    letters = np.array(list("aAzZ09._-"))
    names = {"a" + "".join(rng.choice(letters, rng.integers(0, 4))) for _ in range(25)} | {"a", "a-", "a.b", "ab", "Z"}
    for n, name in enumerate(sorted(names)):
        gallery.enrol(name, [photo(k) for k in range(1 + n % 3)])
    for page in (1, 4, 100):
        seen, after = [], ""
        while part := gallery.people(after, page):
            assert len(part) <= page
            seen += part
            after = part[-1].id
        assert {person.id: person.photos for person in seen} == {n: 1 + k % 3 for k, n in enumerate(sorted(names))}
        assert len(seen) == len(names)


def test_removed_people_leave_no_bytes(gallery, tmp_path):
    gone, stays = photo(1), photo(2)
    gallery.enrol("gone", [gone])
    gallery.enrol("stays", [stays])
    gallery.database.flush()
    assert _on_disk(tmp_path, gone)
    assert gallery.remove("gone") == 1
    assert gallery.erased(20)
    assert not _on_disk(tmp_path, gone)
    assert not list(tmp_path.glob("*.erasing"))
    assert [person.id for person in gallery.people()] == ["stays"]
    assert gallery.remove("gone") == 0
    np.testing.assert_allclose(gallery.photos_of("stays")[0].identity, stays.identity, atol=1e-7)


def test_one_photo_of_several_goes(gallery):
    first, second = gallery.enrol("ann", [photo(1), photo(2)])
    assert gallery.remove("ann", first) == 1
    assert [each.photo for each in gallery.photos_of("ann")] == [second]
    assert gallery.image(first) is None


def _on_disk(folder, new: NewPhoto) -> bool:
    traces = [new.identity.tobytes(), new.data]
    files = [path for path in folder.rglob("*") if path.is_file()]
    return any(trace in path.read_bytes() for path in files for trace in traces)


def test_an_interrupted_deletion_is_finished_by_the_next_start(uri, tmp_path, monkeypatch):
    gallery = Gallery(uri, MARK)
    gallery.enrol("gone", [photo(1)])
    gallery.database.flush()
    monkeypatch.setattr(gallery._eraser, "start", lambda: None)  # as if killed here
    gallery.remove("gone")
    gallery.close()
    assert (tmp_path / "g.db.erasing").exists() == uri.endswith(".db")
    again = Gallery(uri, MARK)
    assert again.erased(20)
    again.close()
    assert not _on_disk(tmp_path, photo(1))


def test_a_collection_removed_by_half_does_not_keep_the_gallery_shut(lite, tmp_path):
    """As a kill leaves it while an erased collection's files are removed."""
    lite.enrol("ann", [photo(1)])
    lite.close()
    half = tmp_path / "g.db" / "collections" / "bonaface_v1_ff_16_1_00_0123456789ab"
    half.mkdir()
    (half / "schema.json").write_text("{}")
    (half / "data").write_bytes(photo(2).identity.tobytes())
    half_manifest = half / "manifest.json"
    half_manifest.write_text("{")
    with pytest.raises(GalleryError, match="enrol and serve clear it away"):
        Gallery(str(tmp_path / "g.db"), MARK, read_only=True)
    assert half.exists()
    half_manifest.unlink()
    again = Gallery(str(tmp_path / "g.db"), MARK)
    assert len(again.photos_of("ann")) == 1
    again.close()
    assert not half.exists()


def test_reading_clears_nothing_away(lite, tmp_path):
    """A replaced collection and a deletion that a kill left stay as they are until someone writes."""
    uri = str(tmp_path / "g.db")
    lite.enrol("ann", [photo(1)])
    extra = lite.database.create(MARK)
    lite.database.write([as_row("bob", "0" * 32, photo(2), 1.0)], extra)
    lite.close()
    (tmp_path / "g.db.erasing").touch()
    reader = Gallery(uri, MARK, read_only=True)
    assert reader.count() == 1
    assert reader.search(photo(1).identity, 1)[0].person == "ann"
    reader.close()
    assert (tmp_path / "g.db" / "collections" / str(extra)).is_dir()
    assert (tmp_path / "g.db.erasing").exists()
    writer = Gallery(uri, MARK)
    assert writer.erased(20)
    writer.close()
    assert not (tmp_path / "g.db" / "collections" / str(extra)).exists()
    assert not (tmp_path / "g.db.erasing").exists()


@pytest.mark.parametrize("name", ["LOCK", "aliases.json", "collections/*/manifest.json", "collections/*/schema.json"])
def test_pipes_in_the_folder_are_refused(lite, tmp_path, name):
    lite.enrol("ann", [photo(1)])
    lite.close()
    (file,) = (tmp_path / "g.db").glob(name)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(GalleryDamagedError, match="is a pipe or a device"):
        Gallery(str(tmp_path / "g.db"), MARK)


def test_readers_never_miss_a_row_while_it_is_moved(gallery):
    gallery.enrol("ann", [photo(1)])
    missing, done = [], threading.Event()

    def read():
        while not done.is_set():
            if len(gallery.photos_of("ann")) != 1 or gallery.search(photo(1).identity, 1)[0].person != "ann":
                missing.append(1)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for n in range(10):
        gallery.enrol(f"p{n}", [photo(n + 10)])
        gallery.database.flush()
    gallery.remove("p3")
    assert gallery.erased(30)
    done.set()
    for reader in readers:
        reader.join()
    assert not missing


@pytest.mark.parametrize(
    ("source", "first", "command"),
    [
        (None, "by --model PATH, or", "bonaface serve --gallery"),
        ("runs/new one", "by --model PATH (of the shipped one leave it out), or", "--model 'runs/new one' --gallery"),
    ],
)
def test_another_model_is_refused_with_what_helps(gallery, uri, source, first, command):
    gallery.close()
    with pytest.raises(ModelError, match="another model, tiny ") as refused:
        Gallery(uri, ModelMark("new", "0" * 32, 8, False, source))
    assert f"name that model {first}" in str(refused.value)
    assert command in str(refused.value)


def test_a_gallery_of_another_version_is_refused(gallery, uri, monkeypatch):
    gallery.close()
    monkeypatch.setattr("bonaface.gallery.collection_name.VERSION", 2)
    with pytest.raises(DataError, match="gallery of version 1, expected 2"):
        Gallery(uri, MARK)


def test_a_full_disk_is_said_before_anything_is_written(lite, monkeypatch):
    monkeypatch.setattr("bonaface.gallery.milvus._LEAST_ROOM", 2**62)
    with pytest.raises(GalleryFullError, match="make room"):
        lite.enrol("ann", [photo(1)])
    assert lite.count() == 0


def test_names_that_could_be_anything_else_are_refused(gallery):
    for name in ("", "..", "a/b", 'a"b', "a b", "-a", "x" * 65, "é"):
        with pytest.raises(DataError, match="letter or digit first"):
            gallery.photos_of(name)


@pytest.mark.parametrize("wrong", ["", "sqlite:", "postgres://desk/people", "milvus:people"])
def test_a_uri_of_nothing_is_refused_with_what_there_is(wrong):
    with pytest.raises(ConfigError, match=r"http://host:port of a Milvus server"):
        Gallery(wrong, MARK)


@pytest.mark.parametrize("vector", [np.zeros(16), np.ones(16), np.full(16, np.nan)])
def test_no_vector_goes_in_that_would_not_come_out(vector):
    with pytest.raises(ValueError, match="a vector is not of length 1"):
        NewPhoto(b"", vector.astype(np.float32), None)


def test_two_processes_do_not_share_a_folder(lite, tmp_path):
    code = f"{_IMPORTS}Gallery({str(tmp_path / 'g.db')!r}, MARK)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "that no other process uses" in result.stderr


_IMPORTS = """
import numpy as np
from bonaface.gallery.gallery import Gallery
from bonaface.gallery.people import NewPhoto
from bonaface.gallery.collection_name import ModelMark
MARK = ModelMark("tiny", "f" * 32, 16, True)
"""
_ENROLLING = """
import sys
gallery = Gallery(sys.argv[1], MARK, sys.argv[2])
rng = np.random.default_rng(0)
print("ready", flush=True)
for n in range(10_000):
    vectors = rng.standard_normal((3, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    gallery.enrol(f"p{n:04d}", [NewPhoto(b"%d %d" % (n, k), v, 0.0) for k, v in enumerate(vectors)])
    print(n, flush=True)
    if n % 5 == 4:
        gallery.remove(f"p{n:04d}")
        print(-n, flush=True)
"""


@pytest.mark.parametrize("seconds", [0.03, 0.11, 0.29])
def test_a_kill_loses_nothing_that_was_answered(uri, tmp_path, seconds):
    """Whatever was acknowledged is there, people are whole or absent, and no kept image is without a row."""
    script = _IMPORTS.replace("16, True)", "16, True)\nfrom pathlib import Path") + _ENROLLING.replace(
        "sys.argv[2]", "Path(sys.argv[2])"
    )
    photos = tmp_path / "photos"
    child = subprocess.Popen([sys.executable, "-c", script, uri, str(photos)], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    time.sleep(seconds)
    os.kill(child.pid, signal.SIGKILL)
    said = [int(line) for line in child.communicate()[0].splitlines() if line.strip("-\n").isdigit()]
    gallery = Gallery(uri, MARK, photos)
    try:
        found = {person.id: person.photos for person in gallery.people(limit=10_000)}
        removed = {f"p{-n:04d}" for n in said if n < 0}
        asked = {f"p{n:04d}" for n in said if n >= 0 and n % 5 == 4}  # deleted, though the answer may have been cut off
        for n in said:
            if n >= 0 and f"p{n:04d}" not in asked:
                assert found.get(f"p{n:04d}") == 3
        assert not removed & set(found)
        assert set(found.values()) <= {3}
        assert gallery.erased(30)
        kept = {path.name for path in photos.glob("*/*") if path.is_file()}
        assert kept == {each.photo for each in gallery.every()}
    finally:
        gallery.close()


def test_a_server_that_goes_away_comes_back(tmp_path):
    """The same code over the network, against Milvus Lite as a server."""
    server = MilvusServer(tmp_path)
    gallery = Gallery(server.uri, MARK)
    try:
        gallery.enrol("ann", [photo(1)])
        server.kill()
        with pytest.raises(GalleryUnavailableError, match="does not answer"):
            gallery.photos_of("ann")
        server.start()
        assert len(_patiently(lambda: gallery.photos_of("ann"))) == 1
        gallery.enrol("bob", [photo(2)])
        assert gallery.search(photo(2).identity, 1)[0].person == "bob"
    finally:
        gallery.close()
        server.kill()


def test_an_error_of_grpc_itself_is_an_answer_as_well(lite):
    """The client library passes some on as they are, a deadline that passes among them."""

    class Late(grpc.RpcError):
        """As gRPC raises it."""

    def passed(_client):
        raise Late("Deadline Exceeded")

    with pytest.raises(GalleryUnavailableError, match="try again soon"):
        lite.database.call(passed)
    assert lite.search(photo(1).identity, 1) == []


def _patiently(act):
    for _ in range(40):
        try:
            return act()
        except GalleryUnavailableError:
            time.sleep(0.25)
    return act()


@pytest.mark.parametrize("lost", ["replaced", "removed"])
def test_a_folder_of_milvus_lite_that_is_replaced_or_removed_takes_nothing_more(tmp_path, lost):
    gallery = Gallery(str(tmp_path / "g.db"), MARK)
    gallery.enrol("ann", [photo(1)])
    (tmp_path / "g.db").rename(tmp_path / "before.db")
    if lost == "replaced":
        (tmp_path / "g.db").mkdir()
    for act in (gallery.count, lambda: gallery.enrol("bob", [photo(2)]), gallery.refuse_unready):
        with pytest.raises(GalleryReplacedError, match=r"g\.db: was replaced or removed while it was in use"):
            act()
    gallery.close()
