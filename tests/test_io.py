import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bonaface.errors import DataError
from bonaface.io import atomic_write


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
