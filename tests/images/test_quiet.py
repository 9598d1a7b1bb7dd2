"""OpenCV prints nothing in a block, and what it printed before afterwards; its versions name its functions differently."""

import threading
from types import SimpleNamespace

import cv2
import pytest

from bonaface.images.quiet import quiet_opencv


@pytest.fixture(params=["up to 4.12", "from 4.13"])
def level(request, monkeypatch):
    """The level of a version, as a list of one."""
    now = [3]
    logging = SimpleNamespace(getLogLevel=lambda: now[0], setLogLevel=lambda new: now.__setitem__(0, new))
    if request.param == "from 4.13":
        monkeypatch.setattr(cv2.utils, "logging", logging, raising=False)
        return now
    monkeypatch.delattr(cv2.utils, "logging", raising=False)
    for name, function in vars(logging).items():
        monkeypatch.setattr(cv2, name, function, raising=False)
    return now


def test_it_is_silent_in_a_block(level):
    with quiet_opencv():
        assert level == [0]
    assert level == [3]
    with pytest.raises(ZeroDivisionError), quiet_opencv():
        _ = 1 / 0
    assert level == [3]


def test_the_last_thread_to_leave_puts_the_level_back(level):
    entered, left = threading.Event(), threading.Event()

    def other():
        with quiet_opencv():
            entered.set()
            left.wait(10)

    thread = threading.Thread(target=other)
    with quiet_opencv():
        thread.start()
        assert entered.wait(10)
    assert level == [0]
    left.set()
    thread.join()
    assert level == [3]
