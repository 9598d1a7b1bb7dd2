"""``bonaface serve`` as a process: what it refuses, what it prints, how it ends."""

import asyncio
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time

import httpx
import pytest

from bonaface.cli.serve import _address, _listening, main
from bonaface.errors import BonafaceError, ConfigError
from bonaface.service.auth import Keys


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--host", "0.0.0.0"], "expected --auth FILE with API keys, or --host 127.0.0.1"),  # noqa: S104 - refused
        (["--host", "192.168.1.5"], "others than this machine could ask"),
        (["--new-key", "desk"], "name the file of keys by --auth"),
        (["--rate", "0"], "--rate 0: expected 1 to 1,000,000 requests a minute"),
        (["--port", "70000"], "--port 70000: expected 0 to 65535"),
        (["--queue", "-1"], "--queue -1: expected 2 to 10,000 images"),
        (["--re-embed"], "--keep-photos DIR"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_anything_is_loaded(words, why):
    with pytest.raises(ConfigError, match=why):
        main(words)


def test_a_new_key_is_shown_once_and_kept_as_a_digest(tmp_path, capsys):
    file = tmp_path / "keys"
    assert main(["--auth", str(file), "--new-key", "desk"]) == 0
    said = capsys.readouterr()
    key = said.out.strip()
    assert "counts no more" not in said.err
    assert Keys(file).owner(key) == "desk"
    assert key not in file.read_text()
    assert main(["--auth", str(file), "--new-key", "desk"]) == 0
    assert Keys(file).owner(key) is None, "the new key of a name replaces the old one"
    assert "the key that desk had counts no more" in capsys.readouterr().err


def test_what_is_no_gallery_is_said_before_a_model_is_loaded(tmp_path):
    (tmp_path / "photos.db").mkdir()
    (tmp_path / "photos.db" / "holiday.jpg").write_bytes(b"")
    with sqlite3.connect(tmp_path / "days.sqlite") as other:
        other.execute("CREATE TABLE holidays (day TEXT)")
    (tmp_path / "note").write_text("a note of somebody" * 100)
    for name, why in (
        ("photos.db", r"holds holiday\.jpg and is no gallery"),
        ("days.sqlite", "is an SQLite file, but no gallery"),
        ("note", "can't be read as a gallery"),
    ):
        with pytest.raises(BonafaceError, match=why):
            main(["--model", "gone", "--gallery", str(tmp_path / name)])
    assert [path.name for path in (tmp_path / "photos.db").iterdir()] == ["holiday.jpg"]


@pytest.mark.parametrize(
    "options",
    [
        ("--gallery", "one.sqlite", "--audit", "one.sqlite"),
        ("--gallery", "one.sqlite", "--audit", "link"),
        ("--auth", "hard", "--audit", "there"),
        ("--auth", "a.head", "--audit", "a"),
        ("--gallery", "one.db", "--keep-photos", "one.db"),
    ],
)
def test_options_that_name_one_file_are_refused_before_anything_is_written(tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("one.sqlite")
    (tmp_path / "there").write_text("")
    (tmp_path / "hard").hardlink_to("there")
    with pytest.raises(ConfigError, match="are one file; expected one for each"):
        main(["--model", "gone", *options])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hard", "link", "there"]


def test_a_host_that_is_no_name_is_said(tmp_path):
    main(["--auth", str(tmp_path / "keys"), "--new-key", "desk"])
    with pytest.raises(ConfigError, match=r"--host \.\. --port 0: can't be listened at"):
        main(["--host", "..", "--port", "0", "--auth", str(tmp_path / "keys"), "--audit", str(tmp_path / "audit")])


def test_a_port_in_use_is_said_before_a_model_is_loaded():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with pytest.raises(ConfigError, match=f"--port {port}: can't be listened at"):
            main(["--model", "gone", "--port", port])


@pytest.mark.parametrize(("host", "named"), [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost"), ("::1", "[::1]")])
def test_the_address_is_one_that_can_be_asked(host, named):
    address = _address(host, 8000)
    assert address == f"http://{named}:8000"
    assert httpx.URL(address).host == host


def test_answers_are_sent_without_waiting_for_more():
    """With TCP's delay an answer's body reached a client 40 ms after its header."""
    delays: list[int] = []

    async def accept() -> None:
        done = asyncio.Event()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            delays.append(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()
            done.set()

        with _listening("127.0.0.1", 0) as listening:
            server = await asyncio.start_server(connected, sock=listening)
            async with server:
                _, writer = await asyncio.open_connection(*listening.getsockname())
                await asyncio.wait_for(done.wait(), 10)
                writer.close()

    asyncio.run(accept())
    assert delays == [1]


def test_a_model_that_is_none_is_said_in_a_sentence(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"\x08\x07nonsense" * 50)
    for name in ("broken.onnx", "gone"):
        with pytest.raises(BonafaceError, match=name):
            main(["--model", str(tmp_path / name), "--gallery", str(tmp_path / "g.db"), "--port", "0"])


def test_a_process_answers_and_ends_well_when_told_to(run_folder, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [
        "--model",
        run_folder,
        "--gallery",
        tmp_path / "g.db",
        "--port",
        port,
        "--fmr",
        "0.1",
        "--audit",
        tmp_path / "audit.jsonl",
    ]
    code = "import sys; from bonaface.cli.serve import _listening, main; sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, words)], stderr=subprocess.PIPE, text=True)
    try:
        _until_up(f"http://127.0.0.1:{port}/v1/ready", process)
        assert httpx.get(f"http://127.0.0.1:{port}/v1/model").json()["name"] == run_folder.name
        os.kill(process.pid, signal.SIGTERM)
        said = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode in (0, -signal.SIGTERM)
    assert (
        said.splitlines()[0]
        == f"{run_folder.name} at http://127.0.0.1:{port}; gallery: {tmp_path / 'g.db'}; device: PyTorch on CPU"
    )
    assert "Traceback" not in said


def _until_up(url, process):
    for _ in range(600):
        assert process.poll() is None, process.stderr.read()
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"{url} does not answer")
