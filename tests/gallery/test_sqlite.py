"""A gallery in one file: shared by processes, damaged files said, nothing written where it can't be."""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_gallery import DIM, MARK, photo, unit

from bonaface.errors import (
    DataError,
    GalleryDamagedError,
    GalleryError,
    GalleryFullError,
    GalleryOutdatedError,
    GalleryReplacedError,
    GalleryUnavailableError,
)
from bonaface.gallery import sqlite
from bonaface.gallery.collection_name import CollectionName, ModelMark
from bonaface.gallery.database import gallery_at, refuse_absent, refuse_other_kind, sqlite_file
from bonaface.gallery.gallery import Gallery
from bonaface.gallery.people import NewPhoto
from bonaface.gallery.sqlite import SqliteDatabase


@pytest.fixture
def file(tmp_path):
    return tmp_path / "people.sqlite"


@pytest.fixture
def gallery(file):
    gallery = Gallery(str(file), MARK)
    yield gallery
    gallery.close()


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("people.sqlite", "people.sqlite"),
        ("sqlite:people.db", "people.db"),
        ("sqlite:/data/people", "/data/people"),
        ("sqlite:///data/people.db", "/data/people.db"),
        ("gallery.db", None),
        ("milvus:gallery.db", None),
        ("milvus://localhost:19530", None),
        ("http://localhost:19530", None),
    ],
)
def test_a_uri_names_a_file_or_milvus(uri, path):
    found = sqlite_file(uri)
    assert (None if found is None else str(found)) == path


def test_an_sqlite_file_may_end_in_db(tmp_path):
    Gallery(f"sqlite:{tmp_path / 'people.db'}", MARK).close()
    assert sqlite_file(str(tmp_path / "people.db")) == tmp_path / "people.db"


def test_a_name_that_means_memory_to_sqlite_is_a_file_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gallery = Gallery("sqlite::memory:", MARK)
    gallery.enrol("ann", [photo(1)])
    gallery.close()
    again = Gallery("sqlite::memory:", MARK)
    assert [each.person for each in again.photos_of("ann")] == ["ann"]
    again.close()


def test_a_file_of_two_names_is_refused(gallery, file, tmp_path, monkeypatch):
    """SQLite's log lies beside a name: what one process holds in it the other would overwrite."""
    gallery.enrol("ann", [photo(1)])
    gallery.close()
    other = tmp_path / "other.sqlite"
    other.hardlink_to(file)
    for name in (file, other):
        with pytest.raises(GalleryError, match=r"has a second name, a hard link; remove one"):
            Gallery(str(name), MARK)
    other.unlink()
    mounts = tmp_path / "mountinfo"
    monkeypatch.setattr(sqlite, "_MOUNTS", mounts)
    for name in ("plain", "with space", "tab\t", "back\\slash", "byte\udce9"):
        (tmp_path / name).mkdir()
        place = tmp_path / name / "g.sqlite"
        shutil.copy(file, place)
        written = bytes(place).replace(b"\\", rb"\134").replace(b" ", rb"\040").replace(b"\t", rb"\011")
        mounts.write_bytes(b"36 35 98:0 /x " + written + b" rw,noatime - ext3 /dev/root rw\n")
        with pytest.raises(GalleryError, match="is mounted as a single file; mount its folder"):
            Gallery(str(place), MARK)


@pytest.mark.parametrize("left", ["empty", "missing"])
def test_a_log_without_its_file_stays_and_is_told(gallery, file, left):
    """SQLite takes the file for a new one, and deletes the log that has the rows."""
    gallery.enrol("ann", [photo(1)])
    log = Path(f"{file}-wal")
    rows = log.read_bytes()
    gallery.close()
    log.write_bytes(rows)
    file.write_bytes(b"") if left == "empty" else file.unlink()
    for refused in (lambda: Gallery(str(file), MARK), lambda: refuse_other_kind(str(file))):
        with pytest.raises(
            GalleryDamagedError, match=f"people.sqlite: is {left}, and its log people.sqlite-wal is not; restore"
        ):
            refused()
    assert gallery_at(file) is None
    assert log.read_bytes() == rows
    assert not (file.exists() and file.stat().st_size)


def test_an_empty_file_becomes_a_gallery_and_that_is_told(tmp_path, caplog):
    """``mktemp`` makes one, and a cut of everything leaves one: nothing is in it that could be lost."""
    file = tmp_path / "g.sqlite"
    file.touch()
    with pytest.raises(DataError, match=r"g\.sqlite: is an empty file and no gallery; enrol people first"):
        refuse_absent(str(file))
    Gallery(str(file), MARK).close()
    assert caplog.messages == [
        f"{file}: was an empty file; a new gallery begins in it. If people were enrolled, restore it from a backup"
    ]
    caplog.clear()
    Gallery(str(file), MARK).close()
    Gallery(str(tmp_path / "new.sqlite"), MARK).close()
    assert caplog.messages == []


def test_what_is_deleted_is_not_left_in_a_collection_that_never_came_to_count(gallery, file):
    """As a re-embedding that was killed leaves it."""
    gallery.enrol("ann", [photo(1)])
    half = gallery.database.create(MARK)
    rows = gallery.database.of_person("ann")
    gallery.database.write(rows, half)
    gallery.remove("ann")
    assert gallery.erased(10)
    assert b"ann:" not in file.read_bytes()
    gallery.database.write(rows, half)  # as earlier versions left them
    gallery.close()
    Gallery(str(file), MARK).close()
    assert b"ann:" not in file.read_bytes()


def test_it_is_its_owners_alone_and_leaves_no_log_behind(gallery, file):
    gallery.enrol("ann", [photo(1)])
    for path in file.parent.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    gallery.close()
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_two_processes_see_what_the_other_writes(gallery, file):
    other = Gallery(str(file), MARK)
    gallery.enrol("ann", [photo(1)])
    assert other.search(photo(1).identity, 1)[0].person == "ann"
    other.enrol("bob", [photo(2), photo(3)])
    assert gallery.search(photo(2).identity, 1)[0].person == "bob"
    other.remove("bob")
    assert [hit.person for hit in gallery.search(photo(2).identity, 5)] == ["ann"]
    gallery.enrol("cyd", [photo(4)])  # takes the freed number of a deleted row
    assert other.search(photo(4).identity, 1)[0].cosine == pytest.approx(1, abs=1e-6)
    other.close()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.booleans()), max_size=30))
def test_search_is_that_of_a_plain_dictionary(tmp_path_factory, steps):
    """Whatever is enrolled and removed, in two processes' eyes."""
    file = str(tmp_path_factory.mktemp("s") / "g.sqlite")
    both = [Gallery(file, MARK) for _ in range(2)]
    truth: dict[tuple[str, int], np.ndarray] = {}
    query = unit(np.random.default_rng(99))
    for at, (person, n, away) in enumerate(steps):
        if away:
            both[at % 2].remove(person)
            truth = {key: vector for key, vector in truth.items() if key[0] != person}
        else:
            both[at % 2].enrol(person, [photo(n)])
            truth[person, n] = photo(n).identity
        best: dict[str, float] = {}
        for (name, _), vector in truth.items():
            best[name] = max(best.get(name, -2.0), float(vector @ query))
        found = both[(at + at // 2) % 2].search(query, 5)
        assert {hit.person: pytest.approx(hit.cosine, abs=1e-6) for hit in found} == best
    for each in both:
        each.close()


def test_more_rows_than_a_block_are_searched(gallery, monkeypatch):
    monkeypatch.setattr("bonaface.gallery.vectors._BLOCK", 8)
    vectors = [unit(np.random.default_rng(n)) for n in range(50)]
    for start, stop in ((0, 1), (1, 4), (4, 30), (30, 50)):
        for n in range(start, stop):
            gallery.enrol(f"p{n}", [NewPhoto(b"%d" % n, vectors[n], None)])
        query = vectors[stop // 2]
        exact = np.argsort([-(vector @ query) for vector in vectors[:stop]])[:3]
        assert [hit.person for hit in gallery.search(query, 3)] == [f"p{n}" for n in exact]


def test_a_transaction_that_was_killed_left_nothing(file):
    """The process dies with its rows written and not committed."""
    Gallery(str(file), MARK).close()
    code = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from tiny_gallery import MARK, photo
from bonaface.gallery.gallery import Gallery
gallery = Gallery(sys.argv[2], MARK)
gallery.enrol("ann", [photo(1)])
name = gallery.database.name()
with gallery.database._writing():
    gallery.database._connection.execute("DELETE FROM " + str(name))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    words = [sys.executable, "-c", code, str(Path(__file__).parents[1]), str(file)]
    killed = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    again = Gallery(str(file), MARK)
    assert [person.id for person in again.people()] == ["ann"]
    again.close()


@pytest.mark.parametrize("damage", ["cut", "garbled", "no database", "schema"])
def test_a_damaged_file_is_said_and_left_as_it_is(gallery, file, damage):
    for n in range(30):
        gallery.enrol(f"p{n}", [photo(n)])
    gallery.close()
    data = file.read_bytes()
    wrong = {
        "cut": data[: len(data) // 2],
        "garbled": data[:100] + b"\xff" * (len(data) - 100),
        "no database": b"x" * 999,
        "schema": data.replace(b"CREATE TABLE", b"CREATE \x80\x80\x80\x80\x80"),
    }
    file.write_bytes(wrong[damage])
    with pytest.raises(GalleryDamagedError, match="restore it from a backup"):
        Gallery(str(file), MARK)
    assert file.read_bytes() == wrong[damage]


@pytest.mark.parametrize("lost", ["replaced", "removed", "-wal", "-shm"])
def test_a_file_that_is_replaced_or_removed_takes_and_answers_nothing_more(gallery, file, lost):
    gallery.enrol("ann", [photo(1)])
    copy = _copied(file)
    if lost == "replaced":
        copy.replace(file)
    else:
        Path(f"{file}{lost.removeprefix('removed')}").unlink()
    for act in (
        gallery.count,
        lambda: gallery.enrol("bob", [photo(2)]),
        lambda: gallery.remove("ann"),
        gallery.database.compact,
        gallery.refuse_unready,
    ):
        with pytest.raises(
            GalleryReplacedError, match="was replaced or removed while it was in use; start this process"
        ):
            act()


def test_a_file_that_is_replaced_while_it_is_written_is_no_success(gallery, file):
    def admit(_):
        _copied(file).replace(file)

    with pytest.raises(GalleryReplacedError):
        gallery.enrol("ann", [photo(1)], admit)


def test_an_older_copy_that_is_written_into_the_file_is_noticed(gallery, file):
    """By ``cp``, which leaves the file the same one."""
    for n, person in enumerate(("ann", "bob", "carl")):
        gallery.enrol(person, [photo(n)])
    copy = _copied(file).read_bytes()
    gallery.remove("ann")
    assert gallery.erased(10)
    file.write_bytes(copy)
    for act in (gallery.count, lambda: gallery.enrol("dora", [photo(4)]), gallery.refuse_unready):
        with pytest.raises(GalleryReplacedError, match="another copy was written into it while it was in use"):
            act()


def test_what_was_overwritten_stays_refused_whatever_others_write_into_it(gallery, file):
    copy = _copied(file).read_bytes()
    for n in range(3):
        gallery.enrol(f"p{n}", [photo(n)])
    gallery.remove("p0")
    assert gallery.erased(10)
    file.write_bytes(copy)
    with pytest.raises(GalleryReplacedError):
        gallery.count()
    other = Gallery(str(file), MARK)
    for n in range(20):
        other.enrol(f"q{n}", [photo(n)])
    other.close()
    with pytest.raises(GalleryReplacedError):
        gallery.search(photo(1).identity, 1)


def test_the_end_of_a_process_spoils_no_copy_that_was_written_into_its_file(file, tmp_path):
    paths = os.pathsep.join(sys.path)
    command = [sys.executable, "-c", OVERWRITTEN, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": paths})
    assert (done.stdout, done.stderr) == ("refused\n", "")
    Path(f"{file}-wal").unlink()
    Path(f"{file}-shm").unlink()
    gallery = Gallery(str(file), MARK)
    assert [person.id for person in gallery.people()] == ["p0", "p1", "p2", "p3"]
    gallery.close()


OVERWRITTEN = """
import sqlite3, sys
from tiny_gallery import MARK, photo
from bonaface.errors import GalleryReplacedError
from bonaface.gallery.gallery import Gallery
gallery = Gallery(sys.argv[1], MARK)
for n in range(4):
    gallery.enrol(f"p{n}", [photo(n)])
copy = sqlite3.connect(sys.argv[1] + ".copy")
gallery.database._connection.backup(copy)
copy.close()
for n in range(4, 9):
    gallery.enrol(f"p{n}", [photo(n)])
gallery.remove("p0")
gallery.erased(10)
gallery.enrol("p9", [photo(9)])
with open(sys.argv[1] + ".copy", "rb") as copy, open(sys.argv[1], "wb") as file:
    file.write(copy.read())
try:
    gallery.count()
except GalleryReplacedError:
    print("refused")
gallery.close()
"""


def test_a_copy_that_went_on_elsewhere_is_noticed_where_it_is_written_into_the_file(gallery, file, tmp_path):
    gallery.enrol("ann", [photo(1)])
    copy = _copied(file)
    elsewhere = Gallery(str(copy), MARK)
    for n in range(9):
        elsewhere.enrol(f"q{n}", [photo(n)])
    elsewhere.close()
    gallery.enrol("bob", [photo(2)])
    file.write_bytes(copy.read_bytes())
    with pytest.raises(GalleryReplacedError, match="another copy was written into it"):
        gallery.enrol("carl", [photo(3)])


@pytest.mark.parametrize("later", [0, 3])
def test_nobody_who_is_not_enrolled_is_found_after_a_restore(gallery, file, later):
    """By SQLite's own restore, which writes the copy's rows as one change."""
    gallery.enrol("ann", [photo(1)])
    copy = _copied(file)
    gallery.enrol("bob", [photo(2)])
    assert gallery.search(photo(2).identity, 1)[0].person == "bob"
    with contextlib.closing(sqlite3.connect(copy)) as old, contextlib.closing(sqlite3.connect(file)) as new:
        old.backup(new)
    other = Gallery(str(file), MARK)
    for n in range(later):
        other.enrol(f"q{n}", [photo(5 + n)])
    other.close()
    if later < 1:
        with pytest.raises(GalleryReplacedError):
            gallery.search(photo(2).identity, 1)
    else:
        assert gallery.search(photo(2).identity, 1)[0].cosine < 0.9


def test_a_file_that_another_process_is_writing_is_no_older_copy(gallery, file):
    """Of a log that is being written into the file the first page comes first, and says of pages that are not there yet."""
    for n in range(9):
        gallery.enrol(f"p{n}", [photo(n)])
    gallery.database.compact()
    assert gallery.count() == 9
    whole = file.read_bytes()
    file.write_bytes(whole[:-16_384])
    assert gallery.database.name() is not None
    file.write_bytes(whole)
    assert gallery.count() == 9


def test_what_others_write_is_no_older_copy(gallery, file):
    other = Gallery(str(file), MARK)
    for n in range(3):
        gallery.enrol(f"p{n}", [photo(n)])
        assert other.count() == 1
        other.remove(f"p{n}")
        assert other.erased(10)
        assert gallery.count() == 0
    other.close()
    gallery.enrol("ann", [photo(1)])
    later = Gallery(str(file), MARK)
    assert later.count() == gallery.count() == 1
    later.close()


def _copied(file):
    """A whole copy of a gallery that is in use."""
    copy = file.with_name("copy.sqlite")
    with contextlib.closing(sqlite3.connect(file)) as old, contextlib.closing(sqlite3.connect(copy)) as new:
        old.backup(new)
    return copy


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_new_file_is_its_owners_alone_also_behind_a_link(tmp_path, kind):
    target = tmp_path / "people.sqlite"
    if kind == "link":
        (tmp_path / "link.sqlite").symlink_to(target.name)
    before = os.umask(0o022)
    try:
        gallery = Gallery(str(tmp_path / "link.sqlite" if kind == "link" else target), MARK)
        gallery.enrol("ann", [photo(1)])
    finally:
        os.umask(before)
    for path in tmp_path.glob("people.sqlite*"):
        assert path.stat().st_mode & 0o077 == 0, path
    gallery.close()


def test_a_link_into_a_folder_that_is_not_there_is_said(tmp_path):
    (tmp_path / "link.sqlite").symlink_to(tmp_path / "gone" / "people.sqlite")
    with pytest.raises(GalleryError, match="no such file or directory"):
        Gallery(str(tmp_path / "link.sqlite"), MARK)


@pytest.fixture
def keeping(file, tmp_path):
    """Opens the gallery, in which Ann's photo was kept, with the folder of that name or none."""
    gallery = Gallery(str(file), MARK, tmp_path / "photos")
    gallery.enrol("ann", [photo(1)])
    gallery.close()
    return lambda name, path=file: Gallery(str(path), MARK, name and tmp_path / name)


def test_images_of_somebody_whose_row_could_not_be_written_do_not_stay(keeping, tmp_path, monkeypatch):
    """As where another process holds the file for longer than is waited for."""

    def held(_self):
        raise GalleryUnavailableError("database is locked")

    gallery = keeping("photos")
    monkeypatch.setattr(SqliteDatabase, "exclusively", held)
    with pytest.raises(GalleryUnavailableError, match="database is locked"):
        gallery.enrol("bob", [photo(5)])
    assert not list((tmp_path / "photos" / "pending").iterdir())
    monkeypatch.undo()
    gallery.close()


@pytest.mark.parametrize("named", [None, "others"])
def test_a_gallery_whose_photos_are_kept_is_not_changed_without_them(keeping, file, tmp_path, named):
    with pytest.raises(GalleryError, match=r"photos: has the photos of this gallery.*expected --keep-photos"):
        keeping(named)
    assert not (tmp_path / "others").exists()
    Gallery(str(file), MARK, read_only=True).close()
    (tmp_path / "photos").rename(tmp_path / "others")
    keeping(named).close()


def test_a_gallery_that_was_moved_with_its_photos_knows_them(keeping, file, tmp_path):
    (tmp_path / "there").mkdir()
    moved = file.rename(tmp_path / "there" / file.name)
    (tmp_path / "photos").rename(tmp_path / "there" / "photos")
    with pytest.raises(GalleryError, match=r"there/photos: has the photos of this gallery"):
        keeping(None, moved)
    gallery = keeping("there/photos", moved)
    assert gallery.remove("ann") == 1
    gallery.close()


def test_a_process_that_keeps_no_photos_deletes_none_that_another_began_to_keep(gallery, file, tmp_path):
    gallery.enrol("ann", [photo(1)])
    other = Gallery(str(file), MARK, tmp_path / "photos")
    other.enrol("bob", [photo(2)])
    with pytest.raises(GalleryError, match="expected --keep-photos"):
        gallery.remove("bob")
    assert other.remove("bob") == 1
    other.close()


def test_a_copy_of_a_gallery_does_not_take_the_originals_photos(keeping, file, tmp_path):
    copy = _copied(file)
    with pytest.raises(GalleryError, match=r"photos of .*people\.sqlite, of which this gallery is a copy"):
        keeping("photos", copy)
    keeping(None, copy).close()
    keeping("others", copy).close()


def test_a_gallery_that_was_copied_with_its_photos_has_its_own(keeping, file, tmp_path):
    (tmp_path / "there").mkdir()
    copy = _copied(file).rename(tmp_path / "there" / file.name)
    shutil.copytree(tmp_path / "photos", tmp_path / "there" / "photos")
    with pytest.raises(GalleryError, match=r"there/photos: has the photos of this gallery.*--keep-photos"):
        keeping(None, copy)
    gallery = keeping("there/photos", copy)
    assert gallery.remove("ann") == 1
    gallery.close()
    assert not images(tmp_path / "there")
    assert images(tmp_path / "photos")
    keeping("photos").close()


def test_a_folder_of_photos_that_is_not_mounted_is_not_taken_for_a_new_one(keeping, tmp_path):
    (tmp_path / "photos").rename(tmp_path / "volume")
    (tmp_path / "photos").mkdir()
    with pytest.raises(GalleryError, match="had the photos of this gallery and has none of them now; mount or restore"):
        keeping("photos")
    gallery = keeping(None)
    with pytest.raises(GalleryReplacedError, match="which is not there, so nobody can be deleted; mount the folder"):
        gallery.remove("ann")
    gallery.enrol("bob", [photo(2)])
    gallery.close()
    assert images(tmp_path / "volume")


def test_photos_that_are_lost_are_given_up_by_another_folder(keeping, tmp_path, caplog):
    shutil.rmtree(tmp_path / "photos")
    keeping(None).close()
    assert "photos were kept in" in caplog.text
    keeping("new").close()
    gallery = keeping(None)
    assert gallery.remove("ann") == 1
    assert gallery.erased(10)
    gallery.close()


@pytest.mark.parametrize("act", ["enrol", "remove", "ready"])
def test_a_folder_of_photos_that_is_moved_while_it_is_used_takes_and_loses_nothing(keeping, tmp_path, act):
    gallery = keeping("photos")
    (tmp_path / "photos").rename(tmp_path / "others")
    acts = {
        "enrol": lambda: gallery.enrol("bob", [photo(2)]),
        "remove": lambda: gallery.remove("ann"),
        "ready": gallery.refuse_unready,
    }
    with pytest.raises(GalleryReplacedError, match="was moved, replaced or removed while it was in use"):
        acts[act]()
    assert gallery.count() == 1
    gallery.close()


def images(folder):
    return [path for path in folder.rglob("*") if len(path.name) == 32]


def test_a_gallery_that_was_moved_takes_its_photos_along(keeping, file, tmp_path):
    moved = file.rename(tmp_path / "a-name-that-is-much-longer.sqlite")
    gallery = keeping("photos", moved)
    assert gallery.image(gallery.photos_of("ann")[0].photo) == photo(1).data
    gallery.close()
    with pytest.raises(GalleryError, match="of which this gallery is a copy"):
        keeping("photos", _copied(moved))
    keeping("photos", moved.rename(tmp_path / "a")).close()


def test_a_marker_of_an_earlier_version_goes_on(keeping, tmp_path):
    marker = tmp_path / "photos" / "bonaface-photos.json"
    marker.write_text(json.dumps({"gallery": json.loads(marker.read_text())["gallery"]}) + "\n")
    keeping("photos").close()
    assert json.loads(marker.read_text())["place"].endswith("people.sqlite")


def test_another_programs_file_is_refused_and_left_as_it_is(file):
    with sqlite3.connect(file) as other:
        other.execute("CREATE TABLE holidays (day TEXT)")
    other.close()
    before = file.read_bytes()
    with pytest.raises(GalleryError, match="no gallery of bonaface"):
        Gallery(str(file), MARK)
    assert file.read_bytes() == before


def test_a_place_that_can_not_be_written_is_said(tmp_path):
    (tmp_path / "file").touch()
    for uri in (tmp_path, tmp_path / "file" / "people.sqlite", "/proc/people.sqlite"):
        with pytest.raises(GalleryError, match="expected a file in a folder that can be written to"):
            Gallery(str(uri), MARK)


def test_a_full_disk_is_said_and_nothing_is_written(gallery):
    gallery.enrol("ann", [photo(1)])
    pages = gallery.database._connection.execute("PRAGMA page_count").fetchone()[0]
    gallery.database._connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(GalleryFullError, match="make room"):
        gallery.enrol("bob", [NewPhoto(b"%d" % n, photo(n).identity, None, {"long": "x" * 9999}) for n in range(50)])
    assert gallery.count() == 1
    gallery.remove("ann")
    assert gallery.erased(10)


def test_a_gallery_that_was_embedded_anew_meanwhile_is_not_searched(gallery, file):
    gallery.enrol("ann", [photo(1)])
    other = Gallery(str(file), ModelMark("new", "0" * 32, DIM, True), check=False)
    other.database.swap(other.database.create(other.mark))
    other.close()
    with pytest.raises(GalleryOutdatedError, match="another model meanwhile"):
        gallery.search(photo(1).identity, 1)


def test_of_two_first_openings_the_earlier_counts(file):
    first, second = SqliteDatabase(file), SqliteDatabase(file)
    mine = first.create(MARK)
    first.swap(mine)
    other = CollectionName.new(MARK)
    second._connection.execute(f"CREATE TABLE {other} (seq INTEGER PRIMARY KEY)")
    second.swap(other)
    assert first.name() == second.name() == mine
    first.close()
    second.close()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("details", "{"),
        ("details", "[" * 100_000),
        ("details", "[]"),
        ("enrolled", "x"),
        ("enrolled", -1),
        ("authenticity", float("inf")),
        ("id", "ann"),
        ("authenticity", "x"),
        ("vector", b"123"),
        ("vector", "text"),
        ("vector", bytes(4 * DIM)),
        ("vector", np.full(DIM, np.nan, "<f4").tobytes()),
        ("vector", np.full(DIM, 1e30, "<f4").tobytes()),
    ],
    ids=["cut", "deep", "list", "when", "early", "infinite", "nobody", "odds", "short", "text", "zeros", "nan", "huge"],
)
def test_a_damaged_row_is_permanent_damage_and_nobody(gallery, file, column, value):
    gallery.enrol("ann", [photo(1)])
    with sqlite3.connect(file) as other:
        other.execute(f"UPDATE {gallery.database.name()} SET {column} = ?", (value,))  # noqa: S608 - ours
    with pytest.raises(GalleryDamagedError, match="restore it from a backup"):
        gallery.database.nearest([1.0] * DIM, 1)
    with pytest.raises(GalleryDamagedError, match="restore it from a backup"):
        list(gallery.database.scan())


def test_a_row_that_is_not_utf8_is_permanent_damage_and_its_text_is_not_told(gallery, file):
    gallery.enrol("ann", [photo(1)])
    with sqlite3.connect(file) as other:
        other.execute(f"UPDATE {gallery.database.name()} SET details = CAST(x'7365637265747f80' AS TEXT)")  # noqa: S608 - ours
    with pytest.raises(GalleryDamagedError, match="restore it from a backup") as refused:
        list(gallery.database.scan())
    assert "secret" not in str(refused.value)


@pytest.mark.filterwarnings("error")
def test_a_vector_without_a_length_is_damage_without_a_warning(gallery, file):
    gallery.enrol("ann", [photo(1)])
    with sqlite3.connect(file) as other:
        huge = np.full(DIM, 1e30, "<f4").tobytes()
        other.execute(f"UPDATE {gallery.database.name()} SET vector = ?", (huge,))  # noqa: S608 - ours
    with pytest.raises(GalleryDamagedError, match="not of length 1"):
        gallery.photos_of("ann")


def test_a_damaged_count_of_deletions_is_permanent_damage(gallery, file):
    gallery.enrol("ann", [photo(1)])
    with sqlite3.connect(file) as other:
        other.execute("UPDATE gallery SET deletions = 'x'")
    with pytest.raises(GalleryDamagedError, match="restore it from a backup"):
        gallery.database.count()


@pytest.mark.parametrize("lost", ["DELETE FROM gallery", "UPDATE gallery SET live = NULL"])
def test_people_whom_no_gallery_names_are_kept(gallery, file, lost):
    gallery.enrol("ann", [photo(1)])
    people = str(gallery.database.name())
    gallery.database.close()
    with sqlite3.connect(file) as other:
        other.execute(lost)
        left = other.execute("SELECT * FROM gallery").fetchall()
    with pytest.raises(GalleryDamagedError, match=r"(names|what counts); restore it from a backup"):
        SqliteDatabase(file).name()
    with pytest.raises(GalleryDamagedError, match="restore it from a backup"):
        SqliteDatabase(file).create(MARK)
    with pytest.raises(GalleryDamagedError, match="restore it from a backup"):
        Gallery(str(file), MARK, read_only=True)
    with sqlite3.connect(file) as other:
        assert other.execute("SELECT * FROM gallery").fetchall() == left
        assert other.execute(f"SELECT count(*) FROM {people}").fetchone() == (1,)  # noqa: S608 - ours


def test_a_cut_file_is_not_written_on(gallery, file):
    gallery.enrol("ann", [photo(n) for n in range(20)])
    gallery.close()
    content = file.read_bytes()
    file.write_bytes(content[:-5000])
    for read_only in (True, False):
        with pytest.raises(GalleryDamagedError, match="is cut; restore it from a backup"):
            SqliteDatabase(file, read_only)
    assert file.read_bytes() == content[:-5000]


@pytest.mark.parametrize("lost", ["DROP TABLE {}", "ALTER TABLE {} DROP COLUMN details"])
def test_a_lost_table_or_column_shows_at_the_start(gallery, file, lost):
    gallery.enrol("ann", [photo(1)])
    people = str(gallery.database.name())
    gallery.close()
    with sqlite3.connect(file) as other:
        other.execute(lost.format(people))
    with pytest.raises(GalleryDamagedError, match=r"no such (table|column).*; restore it from a backup"):
        Gallery(str(file), MARK)


_LIMITED = """
import resource, sys
from pathlib import Path
from tiny_gallery import MARK, photo
from bonaface.errors import GalleryFullError
from bonaface.gallery.gallery import Gallery

def said(act):
    try:
        act()
    except GalleryFullError as error:
        return str(error)

file, photos = sys.argv[1], Path(sys.argv[2])
gallery = Gallery(file, MARK, photos)
gallery.enrol("ann", [photo(1)])
before = resource.getrlimit(resource.RLIMIT_FSIZE)
size = Path(file + "-wal").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))  # as a full disk, but EFBIG
assert "can't be written to (disk I/O error); make room" in said(lambda: gallery.enrol("bob", [photo(2)]))
assert "can't be written to (disk I/O error); make room" in said(lambda: gallery.remove("ann"))
assert "make room" in said(gallery.refuse_unready)
assert "make room" in said(lambda: Gallery(file, MARK))
assert gallery.count() == 1 and gallery.image(gallery.photos_of("ann")[0].photo) == photo(1).data
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, before[1]))
assert "nothing was enrolled" in said(gallery.refuse_unready)  # there is room for rows, and none for images
resource.setrlimit(resource.RLIMIT_FSIZE, before)
gallery.refuse_unready()
gallery.enrol("bob", [photo(2)])
assert gallery.remove("ann") == 1 and gallery.erased(10)
gallery.close()
assert sorted(path.name for path in (photos / "pending").iterdir()) == []
print("done")
"""


def test_files_that_must_not_grow_are_no_damage(file, tmp_path):
    command = [sys.executable, "-c", _LIMITED, str(file), str(tmp_path / "photos")]
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": paths})
    assert done.stdout == "done\n", done.stderr


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_PROTOCOL])
def test_a_passing_fault_is_no_damage(gallery, code):
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    said = gallery.database._refusal(error)
    assert isinstance(said, GalleryUnavailableError)
    assert "can't be used at the moment (disk I/O error)" in str(said)
