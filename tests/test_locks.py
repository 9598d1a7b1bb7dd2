import os

import pytest

from bonaface.errors import DataError
from bonaface.locks import locked, try_lock
from bonaface.service.auth import Keys, new_key


@pytest.fixture
def twice(tmp_path):
    files = [os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT) for _ in range(2)]
    yield files
    for file in files:
        os.close(file)


def test_one_holds_a_lock_at_a_time(twice, monkeypatch):
    monkeypatch.setattr("bonaface.locks._SECONDS", 0.05)
    first, second = twice
    with locked(first):
        assert not try_lock(second)
        with pytest.raises(TimeoutError, match="another process"), locked(second):
            raise AssertionError("two hold it")
    assert try_lock(second)


def test_a_lock_that_is_let_go_of_is_had(twice, monkeypatch):
    first, second = twice
    assert try_lock(first)
    monkeypatch.setattr("bonaface.locks.time.sleep", lambda _: _let_go(first))
    with locked(second):
        assert not try_lock(first)


def _let_go(file):
    with locked(file):
        pass


def test_a_file_of_keys_that_another_process_holds_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("bonaface.locks._SECONDS", 0.05)
    new_key(tmp_path / "keys", "a")
    other = os.open(tmp_path / ".keys.lock", os.O_RDWR)
    with locked(other), pytest.raises(DataError, match=r"keys: another process is writing there; try again soon"):
        new_key(tmp_path / "keys", "b")
    os.close(other)
    key = new_key(tmp_path / "keys", "b")
    assert Keys(tmp_path / "keys").owner(key) == "b"
