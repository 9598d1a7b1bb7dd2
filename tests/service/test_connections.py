"""Connections that send no whole header are closed; others are not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import uvicorn

from bonaface.service.connections import TimedProtocol

HEADER = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


async def slow_app(scope, receive, send):
    if scope["type"] == "http":
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
