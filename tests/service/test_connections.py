"""Connections that send no whole header are closed; others are not."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator

import pytest
import uvicorn

from bonaface.service import connections
from bonaface.service.connections import TimedProtocol

HEADER = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


LARGE = 1 << 24


async def slow_app(scope, receive, send):
    if scope["path"] == "/large":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % LARGE)]})
        await send({"type": "http.response.body", "body": bytes(LARGE)})
    elif scope["type"] == "http":
        await asyncio.sleep(1.5)  # longer than a header may take
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[int]:
    config = uvicorn.Config(
        slow_app, port=0, http=TimedProtocol, ws="none", log_level="error", timeout_keep_alive=1, lifespan="off"
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await running


async def answers(port: int, *parts: bytes) -> bytes:
    """What arrives until the service closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await asyncio.sleep(0.3)
    said = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return said


def test_a_header_has_to_arrive_in_time():
    async def run() -> list[bytes]:
        async with serving() as port:
            trickle = [HEADER[n : n + 1] for n in range(3)]
            return await asyncio.gather(
                answers(port),
                answers(port, HEADER),
                answers(port, *trickle),
                answers(port, HEADER + b"\r\n"),
                answers(port, HEADER + b"\r\n", b"", b"", b"", b"", b"", HEADER),  # a second header is never finished
            )

    silent, begun, trickled, answered, second = asyncio.run(run())
    assert silent == begun == trickled == b""
    assert answered.startswith(b"HTTP/1.1 204")
    assert second.count(b"HTTP/1.1 204") == 1


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux alone closes such connections")
def test_a_client_that_takes_nothing_of_its_answer_is_left(monkeypatch):
    monkeypatch.setattr(connections, "UNTAKEN_SECONDS", 1.0)

    def taken_late(port: int) -> int:
        """Bytes that arrive where nothing is read for four seconds."""
        taken = 0
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client, contextlib.suppress(OSError):
            client.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
            time.sleep(4)
            while taken < LARGE and (part := client.recv(1 << 20)):
                taken += len(part)
        return taken

    async def run() -> int:
        async with serving() as port:
            return await asyncio.to_thread(taken_late, port)

    assert asyncio.run(run()) < LARGE
