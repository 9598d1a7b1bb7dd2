import errno
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import bonaface
from bonaface.errors import DataError
from bonaface.io import atomic_write, parse_json


def test_the_file_appears_only_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "runs" / "submission.csv"
    with atomic_write(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == ".csv"
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_write(target) as temporary:
        temporary.write_text("half" * (1 // 0) if temporary.write_text("half") else "")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_a_sentence(tmp_path: Path, error: Exception) -> None:
    with (
        pytest.raises(DataError, match=r"a\.txt: can't be written, the disk is full"),
        atomic_write(tmp_path / "a.txt"),
    ):
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_the_system_cuts_short_is_a_sentence(tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys\n"
        "from bonaface.io import atomic_write\n"
        "from bonaface.errors import DataError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    with atomic_write(sys.argv[1]) as temporary:\n"
        "        temporary.write_bytes(bytes(5000))\n"
        "except DataError as error:\n"
        "    sys.exit(str(error))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a.bin")], capture_output=True, text=True, check=False
    )
    assert "disk is full" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_a_folder_should_be_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(DataError, match="can't be written"), atomic_write(tmp_path / "a" / "b.txt") as temporary:
        temporary.write_text("x")


def test_an_error_about_another_file_passes_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "a.txt"):
        (tmp_path / "elsewhere.txt").read_text()


def read_through(fifo: Path) -> tuple[threading.Thread, list[bytes]]:
    """A reader of a FIFO, already waiting at its other end."""
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    reader.start()
    return reader, got


def test_a_symlinks_target_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    target, link = tmp_path / "disk" / "a.txt", tmp_path / "link.txt"
    target.parent.mkdir()
    link.symlink_to(target)
    for text in ("first", "second"):  # the link leads nowhere at first
        with atomic_write(link) as temporary:
            assert temporary.parent == target.parent
            temporary.write_text(text)
        assert link.is_symlink()
        assert target.read_text() == text
    assert list(target.parent.iterdir()) == [target]


def test_a_link_into_a_folder_that_is_not_there_makes_none(tmp_path: Path) -> None:
    link = tmp_path / "link.txt"
    link.symlink_to(tmp_path / "gone" / "a.txt")
    with pytest.raises(DataError, match=r"link\.txt: is a link into .*gone, which is no folder"), atomic_write(link):
        pass
    assert list(tmp_path.iterdir()) == [link]


def test_symlinks_in_a_circle_are_a_sentence(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.symlink_to(b)
    b.symlink_to(a)
    with pytest.raises(DataError, match="a: can't be written"), atomic_write(a) as temporary:
        temporary.write_text("x")


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_the_mode_of_an_existing_file_is_kept(tmp_path: Path, mode: int, private: bool) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    target.chmod(mode)
    with atomic_write(target, private=private) as temporary:
        assert temporary.stat().st_mode & 0o077 == 0
        temporary.write_text("new")
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_of_an_existing_file_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    target.chmod(0o640)
    os.chown(target, 12345, 23456)
    with atomic_write(target) as temporary:
        temporary.write_text("new")
    state = target.stat()
    assert (state.st_uid, state.st_gid, state.st_mode & 0o777) == (12345, 23456, 0o640)


def test_a_private_file_is_born_for_its_owner_alone(tmp_path: Path) -> None:
    for private, mode in ((True, 0o600), (False, 0o666 & ~umask())):
        target = tmp_path / f"{private}.npz"
        with atomic_write(target, private=private) as temporary:
            if private:
                assert temporary.stat().st_mode & 0o777 == 0o600
            temporary.write_text("x")
        assert target.stat().st_mode & 0o777 == mode


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_fifo_is_written_through(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe.csv"
    os.mkfifo(fifo, 0o600)
    reader, got = read_through(fifo)
    with atomic_write(fifo, private=True) as temporary:
        temporary.write_text("through")
    reader.join(10)
    assert got == [b"through"]
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    assert list(tmp_path.iterdir()) == [fifo]


def test_a_fifo_gets_nothing_where_the_block_fails(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe.csv"
    os.mkfifo(fifo)
    with pytest.raises(ZeroDivisionError), atomic_write(fifo) as temporary:
        temporary.write_text(str(1 // 0))


def test_devices_are_written_through(device: Callable[[str], Path]) -> None:
    null = device("null")
    before = null.stat()
    with atomic_write(null, private=True) as temporary:
        temporary.write_text("gone")
    after = null.stat()
    assert (before.st_ino, before.st_mode, before.st_rdev) == (after.st_ino, after.st_mode, after.st_rdev)


def test_a_full_device_is_a_sentence(device: Callable[[str], Path]) -> None:
    full = device("full")
    with pytest.raises(DataError, match=r"/dev/full: can't be written, the disk is full"), atomic_write(full) as t:
        t.write_text("x")
    assert full.is_char_device()


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1"])
@pytest.mark.parametrize("redirected", [False, True])
def test_standard_output(tmp_path: Path, name: str, redirected: bool) -> None:
    script = (
        "import sys\n"
        "from bonaface.io import atomic_write\n"
        "print('before', flush=True)\n"
        "with atomic_write(sys.argv[1], private=True) as temporary:\n"
        "    temporary.write_text('written\\n')\n"
    )
    command = [sys.executable, "-c", script, name]
    kept = tmp_path / "kept.txt"
    kept.write_text("there\n")
    if redirected:
        with kept.open("a") as stream:
            subprocess.run(command, check=True, stdout=stream, cwd=tmp_path)
        assert kept.read_text() == "there\nbefore\nwritten\n"
    else:
        assert subprocess.run(command, check=True, capture_output=True, cwd=tmp_path).stdout == b"before\nwritten\n"
    assert list(tmp_path.iterdir()) == [kept]


@pytest.mark.parametrize(
    "text", ["[" * 100_000, b"[" * 100_000, "{", b"\xff"], ids=["deep", "deep bytes", "cut", "no UTF-8"]
)
def test_json_that_can_not_be_read_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        parse_json(text)


def test_no_file_is_parsed_past_the_helper() -> None:
    sources = Path(bonaface.__file__).parent.rglob("*.py")
    handled = {"calibration_file.py", "metadata.py", "input_format.py", "layouts.py", "io.py"}  # catch RecursionError
    own = {"train.py", "runner.py"}  # read what was written a moment ago
    raw = {file.name for file in sources if "json.loads(" in file.read_text(encoding="utf-8")}
    assert raw <= handled | own


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="of Unix")
def test_a_pipe_that_nobody_reads_is_not_waited_for_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr("bonaface.io._PIPE_SECONDS", 0.1)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="nobody reads this pipe"), atomic_write(tmp_path / "pipe") as temporary:
        temporary.write_text("a")
