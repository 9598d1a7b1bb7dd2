"""What a process connects to, and what it leaves in the user's home."""

import os
import re
import shutil
from pathlib import Path

import pytest

needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None and os.environ.get("CI") != "true", reason="strace is not installed"
)

_OUTSIDE = re.compile(r'(connect|send\w+)\(.*AF_INET6?,(?!.*("127\.|"::1"))')


def tracing(log: Path) -> tuple[str, ...]:
    """Words to put before a command: every connection and every datagram, of the threads and processes it starts too."""
    return ("strace", "-f", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(log))


def assert_nothing_left(log: Path, home: Path) -> None:
    """No connection but to this machine (a look-up of a name is one, too), and no file in the home, such as a device's number."""
    calls = log.read_text(encoding="utf-8", errors="replace").splitlines()
    assert calls, "strace saw nothing, not even the end of the process"
    assert not [line for line in calls if _OUTSIDE.search(line)]
    assert not [file for file in home.rglob("*") if file.is_file()]
