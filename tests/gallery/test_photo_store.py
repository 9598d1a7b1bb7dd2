"""Kept images: nothing is removed that the store can't prove to be its own, and nothing without a deletion that asks for it."""

import errno
import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from bonaface.errors import DataError, GalleryError, GalleryFullError, GalleryUnavailableError
from bonaface.gallery.photo_store import NothingWrittenError, PhotoStore, refuse_used_folder

GALLERY = "ab" * 6
A, B = "0a" * 16, "0b" * 16


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def store(folder, known=(), gallery=GALLERY):
    return PhotoStore(folder, gallery, lambda: set(known))


@pytest.mark.parametrize("name", ["holiday.jpg", f"{A[:2]}/{A}", f"2024/{A}", f"pending/{A}", ".hidden"])
def test_a_folder_that_is_not_its_own_is_refused_and_left_as_it_is(tmp_path, name):
    file = tmp_path / "photos" / name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"mine")
    with pytest.raises(GalleryError, match="expected an empty folder"):
        store(tmp_path / "photos")
    assert file.read_bytes() == b"mine"
    assert files(tmp_path / "photos") == {name}


def test_the_folder_of_another_gallery_is_refused(tmp_path):
    with store(tmp_path).adding({A: b"a"}):
        pass
    with pytest.raises(GalleryError, match=f"photos of another gallery \\({GALLERY}, and not {'cd' * 6}\\)"):
        store(tmp_path, gallery="cd" * 6)
    assert store(tmp_path, {A}).read(A) == b"a"


@pytest.mark.parametrize("text", ["{", "[" * 100_000], ids=["cut", "deep"])
def test_a_damaged_marker_is_nobodys(tmp_path, text):
    store(tmp_path)
    (tmp_path / "bonaface-photos.json").write_text(text)
    with pytest.raises(GalleryError, match="is damaged"):
        store(tmp_path)


def test_a_marker_that_a_kill_left_unfinished_does_not_block_the_folder(tmp_path):
    (tmp_path / ".bonaface-photos.0a1b2c3d.json").write_text('{"gall')
    refuse_used_folder(tmp_path)
    with store(tmp_path).adding({A: b"a"}):
        pass
    assert store(tmp_path, {A}).read(A) == b"a"


def test_images_whose_rows_are_lost_stay(tmp_path):
    """As after a database was cut, or where a new one was named by mistake."""
    with store(tmp_path).adding({A: b"a", B: b"b"}):
        pass
    again = store(tmp_path, known=())
    assert (again.read(A), again.read(B)) == (b"a", b"b")


def test_a_folder_of_an_earlier_version_is_taken_over_with_all_that_it_holds(tmp_path):
    for photo in (A, B):
        (tmp_path / photo[:2]).mkdir(exist_ok=True)
        (tmp_path / photo[:2] / photo).write_bytes(photo.encode())
    with pytest.raises(GalleryError):
        store(tmp_path, known={"0c" * 16})
    assert store(tmp_path, known={A}).read(B) == B.encode()
    assert store(tmp_path, known=()).read(B) == B.encode()


@pytest.mark.parametrize("written", [True, False])
def test_after_a_kill_while_adding_the_row_decides(tmp_path, written):
    with suppress(KeyboardInterrupt), store(tmp_path).adding({A: b"a"}):
        raise KeyboardInterrupt
    assert store(tmp_path, {A} if written else ()).read(A) == (b"a" if written else None)
    assert files(tmp_path) == {"bonaface-photos.json"} | ({f"{A[:2]}/{A}"} if written else set())


@pytest.mark.parametrize("deleted", [True, False])
def test_after_a_kill_while_removing_the_row_decides(tmp_path, deleted):
    first = store(tmp_path)
    with first.adding({A: b"a"}):
        assert first.read(A) == b"a"
    with suppress(KeyboardInterrupt), first.removing([A]):
        assert A in first
        raise KeyboardInterrupt
    assert store(tmp_path, () if deleted else {A}).read(A) == (None if deleted else b"a")


def test_what_another_service_is_writing_is_not_swept(tmp_path):
    with store(tmp_path).adding({A: b"a"}):
        assert store(tmp_path, known=()).read(A) == b"a"
    assert files(tmp_path) == {"bonaface-photos.json", f"{A[:2]}/{A}"}


def test_what_one_service_deletes_does_not_take_what_another_enrols_again(tmp_path):
    first, second, begun = store(tmp_path), store(tmp_path), threading.Event()
    with first.adding({A: b"a"}):
        pass

    def enrol_again():
        with second.adding({A: b"a"}):
            begun.set()
            deleted.wait(10)

    deleted, thread = threading.Event(), threading.Thread(target=enrol_again)
    with first.removing([A]):
        thread.start()
        begun.wait(0.2)  # it would begin at once, if it were let
    deleted.set()
    thread.join()
    assert second.read(A) == b"a"


def test_other_files_among_the_pending_are_left_alone(tmp_path):
    store(tmp_path)
    (tmp_path / "pending" / "notes.txt").write_text("mine")
    (tmp_path / "pending" / A).symlink_to(tmp_path / "pending" / "notes.txt")
    store(tmp_path)
    assert (tmp_path / "pending" / "notes.txt").read_text() == "mine"


def test_without_room_nothing_is_kept(tmp_path, monkeypatch):
    kept = store(tmp_path)
    with pytest.raises(GalleryFullError), kept.adding({A: b"a"}):
        raise GalleryFullError("no row was written")
    assert A not in kept
    monkeypatch.setattr(os, "fdopen", _no_room)
    with pytest.raises(GalleryFullError, match="nothing was enrolled"), kept.adding({A: b"a"}):
        raise AssertionError
    assert A not in kept


def _no_room(descriptor, _mode):
    os.close(descriptor)
    raise OSError(28, "No space left on device")


def test_everything_is_its_owners_alone(tmp_path):
    with store(tmp_path / "photos").adding({A: b"a"}):
        pass
    assert not [path for path in (tmp_path / "photos").rglob("*") if path.stat().st_mode & 0o077]
    with pytest.raises(GalleryError, match="32 hexadecimal digits"):
        store(tmp_path / "photos").read("../etc/passwd")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root alone can give files away")
def test_what_root_writes_belongs_to_the_owner_of_the_folder(tmp_path):
    """An enrolment by sudo beside a service, which has to read and delete it."""
    folder = tmp_path / "photos"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    with store(folder).adding({A: b"a"}):
        pass
    assert {path.stat().st_uid for path in folder.rglob("*")} == {65534}


def test_what_root_may_not_give_away_stays_roots(tmp_path, monkeypatch):
    """As in a container without that right."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", _not_permitted)
    photos = store(tmp_path / "photos")
    with photos.adding({A: b"a"}):
        pass
    assert photos.read(A) == b"a"


def _not_permitted(*_):
    raise PermissionError(1, "Operation not permitted")


@pytest.mark.parametrize("kind", ["folder", "image"])
def test_nothing_is_written_or_given_away_behind_a_link(tmp_path, kind):
    """Who owns the folder could have root write into, and give them, any other."""
    folder, secret = tmp_path / "photos", tmp_path / "secret"
    secret.mkdir(mode=0o700)
    (secret / "file").write_text("mine")
    photos = store(folder)
    os.chown(folder, *(2 * [65534 if os.geteuid() == 0 else os.geteuid()]))
    if kind == "folder":
        (folder / A[:2]).symlink_to(secret)
        with pytest.raises(GalleryFullError, match="is a link"), photos.adding({A: b"a"}):
            raise AssertionError
    else:
        (folder / "pending" / A).symlink_to(secret / "file")
        with photos.adding({A: b"a"}):
            pass
        assert photos.read(A) == b"a"
    assert [path.name for path in secret.iterdir()] == ["file"]
    assert (secret / "file").read_text() == "mine"
    assert {secret.stat().st_uid, (secret / "file").stat().st_uid} == {os.geteuid()}


@pytest.mark.parametrize("kind", ["folder", "link", "pipe", "file for a folder"])
def test_what_lies_in_an_images_place_and_is_none_is_neither_read_nor_removed(tmp_path, kind):
    photos = store(tmp_path / "photos", {A})
    with photos.adding({A: b"a"}):
        pass
    place, secret = tmp_path / "photos" / A[:2] / A, tmp_path / "secret"
    secret.write_bytes(b"of others")
    place.unlink()
    if kind == "file for a folder":
        place.parent.rmdir()
        place.parent.write_bytes(b"of others")
    else:
        {"folder": place.mkdir, "link": lambda: place.symlink_to(secret), "pipe": lambda: os.mkfifo(place)}[kind]()
    assert A not in photos
    assert photos.read(A) is None
    with photos.removing([A]):
        pass
    assert place.parent.exists()
    assert kind == "file for a folder" or os.path.lexists(place)
    assert secret.read_bytes() == b"of others"


def test_pending_images_are_not_looked_for_behind_a_link(tmp_path):
    store(tmp_path / "photos").close()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / B).write_bytes(b"of others")
    (tmp_path / "photos" / "pending").rmdir()
    (tmp_path / "photos" / "pending").symlink_to(tmp_path / "other")
    with pytest.raises(GalleryError, match="pending is a link"):
        store(tmp_path / "photos")
    assert files(tmp_path / "other") == {B}


def test_images_that_can_not_be_moved_keep_their_rows(tmp_path, monkeypatch):
    photos = store(tmp_path, {A})
    with photos.adding({A: b"a"}):
        pass

    def refuse(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(GalleryFullError, match="read-only file system\\); nothing was deleted"), photos.removing([A]):
        raise AssertionError("the row is not deleted")


def test_an_image_that_is_there_stays_where_it_is_sent_again_in_vain(tmp_path):
    """A kill between the row and the move left the image pending."""
    photos = store(tmp_path, {A})
    (tmp_path / "pending" / A).write_bytes(b"a")
    with pytest.raises(NothingWrittenError), photos.adding({A: b"a", B: b"b"}):
        raise NothingWrittenError(DataError("no"))
    assert photos.read(A) == b"a"
    assert B not in photos


def test_a_process_that_does_not_end_its_turn_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("bonaface.locks._SECONDS", 0.05)
    stopped, other = store(tmp_path), store(tmp_path)
    with stopped.adding({A: b"a"}), pytest.raises(GalleryUnavailableError, match="another process"), other.adding({}):
        raise AssertionError("two write at once")
