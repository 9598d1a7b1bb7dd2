"""Nobody keeps others out: who sends nothing holds nothing, and one who sends much has only a share."""

import contextlib
import socket
import time
from urllib.parse import urlsplit

import httpx
import pytest
from pattern_service import files, random_image

from bonaface.inference.verifier import Verifier
from bonaface.service.app import create_app
from bonaface.service.auth import new_key
from bonaface.service.settings import ServiceSettings

pytest_plugins = ("pattern_service",)

PAIR = files(first=random_image(1), second=random_image(1, 1))


@pytest.fixture
def start(embedder, serve, tmp_path):
    """``start(**settings)``: the address of a service that asks for keys, and a key."""

    def go(**changed):
        key = new_key(tmp_path / "keys", "desk")
        settings = ServiceSettings(requests_a_minute=10**6, keys=tmp_path / "keys", loopback=False, **changed)
        return serve(create_app(Verifier(embedder), None, settings)).url, {"Authorization": f"Bearer {key}"}

    return go


@contextlib.contextmanager
def senders(url, count, path, headers=(), body=b""):
    """Connections that announce 32 MiB each, and send what they are told to."""
    address = (urlsplit(url).hostname, urlsplit(url).port)
    head = f"POST {path} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nContent-Length: {32 * 2**20}\r\n"
    head += "Content-Type: multipart/form-data; boundary=x\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in dict(headers).items())
    opened = []
    for _ in range(count):
        opened.append(socket.create_connection(address, timeout=20))
        opened[-1].sendall(head.encode() + b"\r\n" + body)
    try:
        yield opened
    finally:
        for each in opened:
            each.close()


def answered(connection):
    return connection.recv(65536).split(b"\r\n")[0]


@pytest.mark.parametrize("path", ["/v1/verify", "/v1/health", "/", "/web/page.js"])
def test_without_a_key_nothing_is_waited_for(start, path):
    url, headers = start()
    with senders(url, 16, path) as opened:
        started = time.perf_counter()
        assert httpx.post(f"{url}/v1/verify", files=PAIR, headers=headers, timeout=20).status_code == 200
        statuses = {answered(each).split()[1] for each in opened}
        assert time.perf_counter() - started < 4
    assert statuses == ({b"401"} if path == "/v1/verify" else {b"413"})


def test_what_is_announced_takes_no_room_and_a_pause_is_cut_off(start):
    url, headers = start(stall=0.4, held_bytes=64 * 2**20)
    with senders(url, 16, "/v1/verify", headers, b"--x\r\n") as opened:
        assert httpx.post(f"{url}/v1/verify", files=PAIR, headers=headers, timeout=20).status_code == 200
        assert {answered(each).split()[1] for each in opened} == {b"408"}


def test_one_caller_has_a_share_of_the_room(start, tmp_path):
    other = {"Authorization": f"Bearer {new_key(tmp_path / 'keys', 'door')}"}
    url, headers = start(stall=5.0, held_bytes=4_000_000)
    with senders(url, 1, "/v1/verify", headers, bytes(990_000)):
        time.sleep(0.3)
        answer = httpx.post(
            f"{url}/v1/verify", files=files(first=bytes(50_000), second=b""), headers=headers, timeout=20
        )
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:bonaface:busy")
        assert "one caller" in answer.json()["detail"]
        assert httpx.post(f"{url}/v1/verify", files=PAIR, headers=other, timeout=20).status_code == 200
    time.sleep(0.3)
    assert httpx.post(f"{url}/v1/verify", files=PAIR, headers=headers, timeout=20).status_code == 200


def test_what_was_held_is_given_back(start):
    url, headers = start(held_bytes=400_000)
    with httpx.Client(headers=headers, timeout=20) as client:
        assert {client.post(f"{url}/v1/verify", files=PAIR).status_code for _ in range(40)} == {200}
