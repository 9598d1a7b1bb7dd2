"""uvicorn's HTTP/1.1, which waits for a request's header no longer than for the next request."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["UNTAKEN_SECONDS", "TimedProtocol"]

UNTAKEN_SECONDS = 30.0
"""After which a client that takes nothing of its answer is left."""


class TimedProtocol(H11Protocol):
    """Closes a connection whose header has not arrived ``timeout_keep_alive`` seconds after it was opened or first wrote of it.

    So it does where nothing of an answer is taken for 30 seconds. uvicorn itself waits without end, and every such connection holds
    one of the process's open files.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Starts the time."""
        super().connection_made(transport)
        peer = transport.get_extra_info("socket")
        if (
            hasattr(socket, "TCP_USER_TIMEOUT")
            and peer is not None
            and peer.family in (socket.AF_INET, socket.AF_INET6)
        ):
            # By the kernel (Linux), as a connection that is being closed waits for its last bytes to be taken, too.
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * UNTAKEN_SECONDS))
        self._rearm()

    def data_received(self, data: bytes) -> None:
        """Stops it when the header is whole, and starts it when the next one begins."""
        super().data_received(data)
        self._rearm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops it."""
        self._stop()
        super().connection_lost(exc)

    def _rearm(self) -> None:
        if self.transport.is_closing() or (self.cycle is not None and not self.cycle.response_complete):
            self._stop()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.timeout_keep_alive, self._close)

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close(self) -> None:
        self._deadline = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
