"""The audit log: appended, whole after a kill, and a changed line shows."""

import json

import pytest

from bonaface.errors import DataError
from bonaface.service.audit import AuditLog, first_broken_line


def test_lines_follow_one_another_over_restarts(tmp_path):
    path = tmp_path / "audit.jsonl"
    for n in range(3):
        log = AuditLog(path)
        log.write(event="verify", n=2 * n)
        log.write(event="verify", n=2 * n + 1)
        log.close()
    assert [json.loads(line)["n"] for line in path.read_text().splitlines()] == list(range(6))
    assert first_broken_line(path) is None


@pytest.mark.parametrize("change", ["edit", "remove", "swap"])
def test_a_change_shows(tmp_path, change):
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)
    for n in range(5):
        log.write(event="verify", n=n)
    lines = path.read_text().splitlines(keepends=True)
    changed = {
        "edit": [*lines[:2], lines[2].replace('"n": 2', '"n": 7'), *lines[3:]],
        "remove": [*lines[:2], *lines[3:]],
        "swap": [*lines[:2], lines[3], lines[2], lines[4]],
    }[change]
    path.write_text("".join(changed))
    assert first_broken_line(path) == 3


def test_a_line_cut_by_a_kill_does_not_spoil_the_next(tmp_path):
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)
    log.write(event="a")
    log.close()
    with path.open("a") as file:
        file.write('{"event": "b", "ti')
    again = AuditLog(path)
    again.write(event="c")
    lines = path.read_text().splitlines()
    assert json.loads(lines[2])["previous"] == json.loads(lines[0])["digest"]


def test_a_folder_is_no_log(tmp_path):
    with pytest.raises(DataError, match="name another --audit"):
        AuditLog(tmp_path)
