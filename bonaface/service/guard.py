"""What every request goes through before the application sees it: who asks, from where, how often, how much, and for how long."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bonaface.service.auth import Keys
from bonaface.service.errors import Problem, answer, problem_of
from bonaface.service.prometheus import Metrics
from bonaface.service.rate import RateLimit
from bonaface.service.settings import ServiceSettings

__all__ = ["OPEN", "Guard"]

OPEN = ("/", "/web/", "/openapi.json", "/v1/health", "/v1/ready")
"""Paths that need no key: the page, which asks for one, and signs of life."""

_HERE = {"localhost", "127.0.0.1", "::1"}
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; media-src blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": _PAGE_POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}


@dataclass
class _Exchange:
    """One request and what became of it."""

    id: str
    status: int = 0
    caller: str = ""


class Guard:
    """ASGI middleware; see the module.

    Args:
        app: what it guards.
        settings: the limits.
        metrics: counts requests.
    """

    def __init__(self, app: ASGIApp, settings: ServiceSettings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._keys = None if settings.keys is None else Keys(settings.keys)
        self._rate = RateLimit(settings.requests_a_minute)
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets a request through, or answers it with a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange, started = _Exchange(secrets.token_hex(8)), time.perf_counter()
        outgoing = self._noting(scope, send, exchange)
        try:
            await self._let_through(scope, receive, outgoing, exchange)
        except Exception as error:
            problem = problem_of(error)
            if not exchange.status:
                await answer(problem, exchange.id)(scope, receive, outgoing)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.requests.labels(scope["method"], route, str(exchange.status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - started)

    async def _let_through(self, scope: Scope, receive: Receive, send: Send, exchange: _Exchange) -> None:
        headers = Headers(scope=scope)
        self._refuse_elsewhere(headers)
        exchange.caller = self._caller(scope, headers)
        wait = self._rate.take(exchange.caller)
        if wait:
            raise Problem(
                "too-many", f"more than {self._settings.requests_a_minute} requests a minute; slow down", wait
            )
        scope.setdefault("state", {}).update(id=exchange.id, caller=exchange.caller)
        expected = self._expected(headers)
        if self._held + expected > self._settings.held_bytes:
            raise Problem("busy", "other uploads fill the memory that is set aside for them; try again soon", 1)
        self._held += expected
        try:
            body = await self._body(receive)
            async with asyncio.timeout(self._settings.seconds):
                await self._app(scope, _replayed(body, receive), send)
        except TimeoutError as error:
            raise Problem("late", f"no answer within {self._settings.seconds:g} seconds; try again soon", 5) from error
        finally:
            self._held -= expected

    def _refuse_elsewhere(self, headers: Headers) -> None:
        """Without keys a page from anywhere could otherwise use its visitor's browser to ask (DNS rebinding, forged posts)."""
        host = headers.get("host", "")
        if self._settings.loopback and self._keys is None and urlsplit(f"//{host}").hostname not in _HERE:
            raise Problem("origin", f"the host is called {host[:100]!r}; expected localhost or 127.0.0.1")
        origin = headers.get("origin")
        if origin is not None and origin not in self._settings.origins and urlsplit(origin).netloc != host:
            raise Problem("origin", "a page of another origin called; it would have to be named by --cors")

    def _caller(self, scope: Scope, headers: Headers) -> str:
        """A name for whoever asks: the key's, or their address."""
        address = (scope.get("client") or ("unknown", 0))[0]
        if self._keys is None:
            return str(address)
        scheme, _, key = headers.get("authorization", "").partition(" ")
        owner = self._keys.owner(key.strip()) if scheme.lower() == "bearer" and key else None
        if owner is not None:
            return owner
        path = scope["path"]
        if path in OPEN or path.startswith("/web/"):
            return str(address)
        wait = self._rate.take(f"keyless {address}")
        if wait:
            raise Problem("too-many", "too many requests without a valid key; slow down", wait)
        raise Problem("key", "send Authorization: Bearer KEY with a key of this service")

    def _expected(self, headers: Headers) -> int:
        most = self._settings.request_bytes
        said = headers.get("content-length")
        if said is None:
            return most if "transfer-encoding" in headers else 0
        if not said.isdecimal() or int(said) > most:
            raise Problem("too-large", f"the request is of {said[:20]} bytes; expected at most {most:,}")
        return int(said)

    async def _body(self, receive: Receive) -> bytes:
        """The whole body: it is small, and a slow sender takes no time of anything else."""
        parts, size = [], 0
        try:
            async with asyncio.timeout(self._settings.seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Problem("too-slow", "the connection was closed before the request had arrived")
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > self._settings.request_bytes:
                        raise Problem("too-large", f"the request is larger than {self._settings.request_bytes:,} bytes")
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError as error:
            raise Problem(
                "too-slow", f"the request took more than {self._settings.seconds:g} seconds to arrive"
            ) from error

    def _noting(self, scope: Scope, send: Send, exchange: _Exchange) -> Send:
        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers["X-Request-ID"] = exchange.id
                headers.setdefault("Cache-Control", "no-store" if scope["path"].startswith("/v1/") else "no-cache")
            await send(message)

        return noting


def _replayed(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replayed() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
