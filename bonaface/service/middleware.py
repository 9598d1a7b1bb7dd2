"""Middleware that every request passes before the application sees it: who asks, from where, how often, and for how long."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPMethod
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bonaface.service.auth import Keys
from bonaface.service.errors import Problem, answer, problem_of
from bonaface.service.prometheus import Metrics
from bonaface.service.settings import ServiceSettings
from bonaface.service.uploads import Bodies, refuse_cut

__all__ = ["OPEN", "Guard", "RateLimit"]

_PROBES = ("/v1/health", "/v1/ready")
OPEN = ("/", "/docs", "/web/", "/openapi.json", *_PROBES)
"""Paths that need no key: the page, which asks for one, and signs of life."""

_HERE = {"localhost", "127.0.0.1", "::1"}
_PORTS = {"http": 80, "https": 443}
_ONCE = ("Authorization", "Host", "Origin", "Content-Type", "Content-Length")
_METHODS = frozenset(HTTPMethod)
_CALLERS = 10_000
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


class RateLimit:
    """Limits how often one caller may ask: a bucket of tokens for each that fills steadily, one token a request.

    Of more than 10,000 callers those are forgotten that have been quiet longest.

    Args:
        a_minute: requests; a tenth of them may come at once, and at least 10.
        clock: seconds, ever growing.

    Example:
        >>> limit = RateLimit(60, clock=lambda: 0.0)
        >>> [limit.take("a") for _ in range(12)], limit.take("b")
        ([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1], 0)
    """

    def __init__(self, a_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._size, self._clock = a_minute / 60, max(10.0, a_minute / 10), clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> int:
        """0 where the caller may go on, otherwise seconds after which they may."""
        now = self._clock()
        tokens, then = self._buckets.pop(caller, (self._size, now))
        tokens = min(self._size, tokens + (now - then) * self._rate)
        allowed = tokens >= 1
        self._buckets[caller] = (tokens - allowed, now)
        if len(self._buckets) > _CALLERS:
            self._buckets.popitem(last=False)
        return 0 if allowed else math.ceil((1 - tokens) / self._rate)


@dataclass
class _Exchange:
    """One request and what became of it."""

    id: str
    status: int = 0
    caller: str = ""
    closes: bool = False  # where one request ends is in doubt, so what follows is not read as another


class Guard:
    """ASGI middleware; see the module.

    Args:
        app: what it guards.
        settings: the limits.
        keys: API keys; None asks for none.
        metrics: counts requests.
    """

    def __init__(self, app: ASGIApp, settings: ServiceSettings, keys: Keys | None, metrics: Metrics) -> None:
        self._app, self._settings, self._keys, self._metrics = app, settings, keys, metrics
        self._rate = RateLimit(settings.requests_a_minute)
        self._bodies = Bodies(settings)

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
                exchange.closes = problem.kind == "malformed"
                await answer(problem, exchange.id)(scope, receive, outgoing)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            # Anyone may send any word, and a label stays.
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(method, route, str(exchange.status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - started)

    async def _let_through(self, scope: Scope, receive: Receive, send: Send, exchange: _Exchange) -> None:
        headers = Headers(scope=scope)
        _refuse_doubled(headers)
        self._refuse_elsewhere(scope, headers)
        exchange.caller, may_send = self._caller(scope, headers)
        # Probes are counted apart: a service that is busy is not to be started again.
        probe = "probe " if scope["path"] in _PROBES else ""
        wait = self._rate.take(probe + exchange.caller)
        if wait:
            raise Problem(
                "too-many", f"more than {self._settings.requests_a_minute} requests a minute; slow down", wait
            )
        scope.setdefault("state", {}).update(id=exchange.id, caller=exchange.caller)
        limit = self._settings.request_bytes if may_send and scope["method"] == HTTPMethod.POST else 0
        async with self._bodies.arriving(headers, receive, exchange.caller, limit) as body:
            refuse_cut(headers, body)
            try:
                async with asyncio.timeout(self._settings.seconds):
                    await self._app(scope, _replayed(body, receive), send)
            except TimeoutError as error:
                said = f"no answer within {self._settings.seconds:g} seconds; what was asked may still be done; try again soon"
                raise Problem("late", said, 5) from error

    def _refuse_elsewhere(self, scope: Scope, headers: Headers) -> None:
        """Without keys a page from anywhere could otherwise use its visitor's browser to ask (DNS rebinding, forged posts)."""
        host = headers.get("host", "")
        here = _origin(f"{scope.get('scheme', 'http')}://{host}", "Host")
        if self._settings.loopback and self._keys is None and here[1] not in _HERE:
            raise Problem("origin", f"the host is called {host[:100]!r}; expected localhost or 127.0.0.1")
        origin = headers.get("origin")
        if origin is not None and origin not in self._settings.origins and _origin(origin, "Origin") != here:
            raise Problem("origin", f"a page of {origin[:100]!r} called; it would have to be named by --cors")

    def _caller(self, scope: Scope, headers: Headers) -> tuple[str, bool]:
        """A name for whoever asks, the key's or their address, and whether they may send anything."""
        address = str((scope.get("client") or ("unknown", 0))[0])
        if self._keys is None:
            return address, True
        scheme, _, key = headers.get("authorization", "").partition(" ")
        owner = self._keys.owner(key.strip()) if scheme.lower() == "bearer" and key else None
        if owner is not None:
            return owner, True
        path = scope["path"]
        if path in OPEN or path.startswith("/web/"):
            return address, False
        wait = self._rate.take(f"keyless {address}")
        if wait:
            raise Problem("too-many", "too many requests without a valid key; slow down", wait)
        raise Problem("key", "send Authorization: Bearer KEY with a key of this service")

    def _noting(self, scope: Scope, send: Send, exchange: _Exchange) -> Send:
        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers["X-Request-ID"] = exchange.id
                if exchange.closes:
                    headers["Connection"] = "close"
                headers.setdefault("Cache-Control", "no-store" if scope["path"].startswith("/v1/") else "no-cache")
            await send(message)

        return noting


def _refuse_doubled(headers: Headers) -> None:
    """Refuse headers that decide something and come twice: a proxy before the service may go by the other one."""
    for name in _ONCE:
        if len(headers.getlist(name)) > 1:
            raise Problem("malformed", f"the header {name} comes more than once; expected it once")
    if "Content-Length" in headers and "Transfer-Encoding" in headers:
        raise Problem("malformed", "the headers Content-Length and Transfer-Encoding exclude each other; expected one")


def _origin(text: str, header: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port of an origin; a host that is left out is None.

    Raises:
        Problem: if it can't be read.
    """
    try:
        parts = urlsplit(text)
        return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError as error:
        raise Problem("malformed", f"the header {header} can't be read; expected a host and port") from error


def _replayed(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replayed() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
