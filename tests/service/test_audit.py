"""The audit log: appended, whole after a kill, and a changed line shows."""

import hashlib
import json
import os
import re
import subprocess
import sys

import pytest

from bonaface.errors import DataError
from bonaface.service.audit import AuditLog, first_broken_line


def test_lines_follow_one_another_over_restarts(tmp_path):
    path = tmp_path / "audit.jsonl"
    for n in range(3):
        log = AuditLog(path)
        log.write({"event": "verify", "n": 2 * n})
        log.write({"event": "verify", "n": 2 * n + 1})
        log.close()
    assert [json.loads(line)["n"] for line in path.read_text().splitlines()] == list(range(6))
    assert first_broken_line(path) is None


@pytest.mark.parametrize("change", ["edit", "remove", "swap"])
def test_a_change_shows(tmp_path, change):
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)
    for n in range(5):
        log.write({"event": "verify", "n": n})
    lines = path.read_text().splitlines(keepends=True)
    changed = {
        "edit": [*lines[:2], lines[2].replace('"n": 2', '"n": 7'), *lines[3:]],
        "remove": [*lines[:2], *lines[3:]],
        "swap": [*lines[:2], lines[3], lines[2], lines[4]],
    }[change]
    log.close()
    path.write_text("".join(changed))
    assert first_broken_line(path) == 3
    with pytest.raises(DataError, match=r"audit\.jsonl:3: was changed or taken out"):
        AuditLog(path)
    assert path.read_text() == "".join(changed)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (r'"digest": "(\w+)", (.*"n": 3)', r'\2, "digest": "\1"'),
        (r'("n": 3.*"previous": )', r'"previous": "0", \1'),
        (r"\{(.*\"n\": 3)", r"{ \1"),
        (r'("event": "verify", )(.*"n": 3)', r'"event": "erase", \1\2'),
    ],
    ids=["moved", "doubled", "space", "event"],
)
def test_a_line_is_read_as_it_was_written(five, before, after):
    text = five.read_text()
    changed = re.sub(before, after, text)
    assert changed != text
    five.write_text(changed)
    assert first_broken_line(five) == 4


def test_a_line_cut_by_a_kill_does_not_spoil_the_next(tmp_path):
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)
    log.write({"event": "a"})
    log.close()
    with path.open("a") as file:
        file.write('{"event": "b", "ti')
    again = AuditLog(path)
    again.write({"event": "c"})
    lines = path.read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["a", "c"], "what was cut was never answered"
    assert first_broken_line(path) is None
    assert path.with_name("audit.jsonl.cut").read_text() == '{"event": "b", "ti'


@pytest.mark.parametrize("text", ["a note of others", "{}", "x" * 3_000_000])
def test_what_others_wrote_behind_the_last_line_is_kept_aside(five, text, caplog):
    for times in (1, 2):
        with five.open("a") as file:
            file.write(text)
        AuditLog(five).close()
        assert five.with_name("audit.jsonl.cut").read_text() == text * times
        assert "are kept in audit.jsonl.cut" in caplog.text
    assert first_broken_line(five) is None


def test_a_folder_is_no_log(tmp_path):
    with pytest.raises(DataError, match="name another --audit"):
        AuditLog(tmp_path)


@pytest.fixture
def five(tmp_path):
    """A log of five lines, closed."""
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)
    log.write(*({"event": "verify", "n": n} for n in range(5)))
    log.close()
    return path


@pytest.mark.parametrize("kept", [0, 1, 4])
def test_a_cut_tail_shows_and_is_not_written_over(five, kept):
    lines = five.read_text().splitlines(keepends=True)
    five.write_text("".join(lines[:kept]))
    assert first_broken_line(five) == kept + 1
    with pytest.raises(DataError, match=rf"audit\.jsonl:{kept + 1}: was changed or taken out.*its head says 5 lines"):
        AuditLog(five)
    assert five.read_text() == "".join(lines[:kept])


def test_a_removed_file_shows(five):
    five.unlink()
    with pytest.raises(DataError, match="taken out"):
        AuditLog(five)


def test_a_removed_or_damaged_head_shows(five):
    head = five.with_name("audit.jsonl.head")
    head.write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        AuditLog(five)
    head.unlink()
    with pytest.raises(DataError, match=r"its head audit\.jsonl\.head is missing"):
        AuditLog(five)


def test_lines_behind_the_head_are_taken_up_after_a_kill(five):
    """Killed between a line and its head: the line was not answered, and it is a line."""
    head = five.with_name("audit.jsonl.head")
    before = head.read_bytes()
    log = AuditLog(five)
    log.write({"event": "verify", "n": 5})
    log.close()
    head.write_bytes(before)
    again = AuditLog(five)
    again.write({"event": "verify", "n": 6})
    again.close()
    assert [json.loads(line)["n"] for line in five.read_text().splitlines()] == list(range(7))
    assert first_broken_line(five) is None
    head.write_bytes(before)
    five.write_text(five.read_text().replace('"n": 5', '"n": 9'))
    with pytest.raises(DataError, match=r"audit\.jsonl:6: was changed"):
        AuditLog(five)


def test_a_log_of_an_earlier_version_is_continued(tmp_path):
    path, last = tmp_path / "audit.jsonl", "0" * 32
    with path.open("w") as file:
        for n in range(2):
            entry = {"n": n, "previous": last}
            last = hashlib.blake2b(json.dumps(entry, sort_keys=True).encode(), digest_size=16).hexdigest()
            file.write(json.dumps(entry | {"digest": last}, sort_keys=True) + "\n")
    log = AuditLog(path)
    log.write({"n": 2})
    log.close()
    assert json.loads(path.read_text().splitlines()[2])["line"] == 3
    assert first_broken_line(path) is None
    path.with_name("audit.jsonl.head").unlink()
    assert first_broken_line(path) == 4
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))  # all that the earlier version wrote
    assert first_broken_line(path) is None


@pytest.mark.parametrize("kept", [0, 3, 5])
def test_without_its_head_nobody_says_that_a_log_is_whole(five, kept):
    """A tail that was cut, and the head that would tell it taken away."""
    five.with_name(f"{five.name}.head").unlink()
    five.write_text("".join(five.read_text().splitlines(keepends=True)[:kept]))
    assert first_broken_line(five) == kept + 1


def test_there_is_one_writer(five):
    log = AuditLog(five)
    code = f"from pathlib import Path; from bonaface.service.audit import AuditLog; AuditLog(Path({str(five)!r}))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "another process writes it" in said.stderr
    log.close()


@pytest.mark.parametrize("call", ["write", "fsync", "pwrite"])
def test_a_line_that_can_not_be_written_whole_is_not_there_at_all(five, monkeypatch, call):
    before, log = five.read_bytes(), AuditLog(five)
    write = os.write

    def short(file, content):
        write(file, content[:10])
        raise OSError(28, "No space left on device")

    def refused(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, short if call == "write" else refused)
        with pytest.raises(DataError, match="no space left"):
            log.write({"event": "lost"})
    assert five.read_bytes() == before
    log.refuse_unready()
    log.write({"event": "verify", "n": 5})
    log.close()
    assert first_broken_line(five) is None


def test_a_short_write_is_finished(five, monkeypatch):
    log, write = AuditLog(five), os.write
    monkeypatch.setattr(os, "write", lambda file, content: write(file, content[:7]))
    log.write({"event": "verify", "n": 5})
    log.close()
    assert json.loads(five.read_text().splitlines()[5])["n"] == 5


@pytest.mark.parametrize("change", ["empty", "append", "remove", "replace"])
def test_a_file_changed_while_it_is_written_is_refused(five, change):
    log = AuditLog(five)
    if change in ("empty", "append"):
        five.write_text("" if change == "empty" else five.read_text() + "{}\n")
    else:
        five.unlink()
        if change == "replace":
            five.write_text("")
    for _ in range(3):
        with pytest.raises(DataError, match="can't be written"):
            log.write({"event": "verify"})
        with pytest.raises(DataError, match="can't be written"):
            log.refuse_unready()
    log.close()
    assert change != "append" or five.read_text().endswith("}\n{}\n")


def test_part_of_a_line_that_could_not_be_taken_back_is_set_aside(five, monkeypatch):
    log, write = AuditLog(five), os.write

    def short(file, content):
        write(file, content[:10])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", short)
        patch.setattr(os, "ftruncate", lambda *_: short(log._file, b""))
        with pytest.raises(DataError, match="no space left"):
            log.write({"event": "lost"})
    log.write({"event": "verify", "n": 5})
    log.close()
    assert first_broken_line(five) is None


@pytest.mark.parametrize("change", ["remove", "replace"])
def test_a_head_changed_while_the_file_is_written_is_refused(five, change):
    head, log = five.with_name("audit.jsonl.head"), AuditLog(five)
    text = head.read_text()
    head.unlink()
    if change == "replace":
        head.write_text(text)
    with pytest.raises(DataError, match="can't be written"):
        log.write({"event": "verify"})
    log.close()
    assert len(five.read_text().splitlines()) == 5


@pytest.mark.parametrize("name", ["null", "full", "zero"])
def test_devices_are_no_logs(device, name):
    with pytest.raises(DataError, match="no regular file"):
        AuditLog(device(name))


@pytest.mark.parametrize(
    "head",
    [
        *("[" * 100_000, "[]", "null", "{}", '{"lines": 0, "bytes": 0}', '{"bytes": 0, "digest": ""}'),
        *('{"lines": "0", "bytes": 0, "digest": ""}', '{"lines": 0, "bytes": null, "digest": ""}'),
        *('{"lines": 1e999, "bytes": 0, "digest": ""}', '{"lines": 0, "bytes": 0, "digest": 0}'),
    ],
)
def test_a_head_of_another_form_is_refused(five, head):
    five.write_bytes(
        b"".join(five.read_bytes().splitlines(keepends=True)[:3])
    )  # its tail is cut, which only the head tells
    five.with_name(f"{five.name}.head").write_text(head)
    with pytest.raises(DataError, match="is damaged"):
        first_broken_line(five)
    with pytest.raises(DataError, match="is damaged"):
        AuditLog(five)


@pytest.mark.parametrize("line", ["[" * 100_000, "[1]", "1", '{"digest": 1}'], ids=["deep", "list", "number", "digest"])
def test_a_line_of_another_form_is_the_broken_one(five, line):
    with five.open("a") as file:
        file.write(line + "\n")
    assert first_broken_line(five) == 6


@pytest.mark.parametrize(
    "content", [b"my notes", b"two\nlines\n", b"\xff\xd8\xff\xe0\x00\x10JFIF", b'{"a": 1}\n', b'{"a": 1}']
)
def test_a_file_of_others_is_no_log_and_stays_whole(tmp_path, content):
    path = tmp_path / "notes"
    path.write_bytes(content)
    with pytest.raises(DataError, match="notes:1: is no line of an audit"):
        AuditLog(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("head", [{"lines": 5, "bytes": 10**30}, {"lines": 5, "bytes": -5}, {"lines": -7, "bytes": 9}])
def test_a_head_of_impossible_numbers_is_damaged(five, head):
    five.with_name("audit.jsonl.head").write_text(json.dumps(head | {"digest": "0" * 32}))
    with pytest.raises(DataError, match="is damaged"):
        AuditLog(five)
