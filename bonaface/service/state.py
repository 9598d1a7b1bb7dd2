"""State that the routes share: the service behind them, and its audit log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from anyio import to_thread
from fastapi import Request

from bonaface.errors import ConfigError, DataError
from bonaface.gallery.gallery import Gallery
from bonaface.gallery.people import Enrolled
from bonaface.service.audit import AuditLog
from bonaface.service.errors import Problem
from bonaface.service.pipeline import Pipeline
from bonaface.service.prometheus import Metrics
from bonaface.service.schemas import HistogramResponse
from bonaface.service.settings import ServiceSettings

__all__ = ["Account", "Service", "in_thread", "service_of"]

T = TypeVar("T")

_LOG = logging.getLogger("bonaface.service")

Account = Callable[..., None]
"""Writes the line of a change to the audit log, before the change is made; further calls write nothing."""


@dataclass
class Service:
    """Everything behind the routes."""

    pipeline: Pipeline
    settings: ServiceSettings
    metrics: Metrics
    audit: AuditLog
    histogram: HistogramResponse | None = None
    draw: Callable[[], HistogramResponse] | None = None
    drawing: asyncio.Task[None] | None = None

    def start_drawing(self) -> None:
        """Compute the histogram behind the page's scale, once, beside all else."""
        if self.draw is not None and self.drawing is None:
            self.drawing = asyncio.get_running_loop().create_task(self._draw(self.draw))

    async def _draw(self, draw: Callable[[], HistogramResponse]) -> None:
        try:
            self.histogram = await in_thread(draw)
        except Exception:  # the page does without
            _LOG.exception("the histogram of the page can't be computed")

    def gallery(self) -> Gallery:
        """The gallery.

        Raises:
            Problem: if there is none.
        """
        if self.pipeline.gallery is None:
            raise Problem("no-gallery", "the service was started with --gallery none; nobody is enrolled in it")
        return self.pipeline.gallery

    async def photos_of(self, person: str) -> list[Enrolled]:
        """The photos of a person.

        Raises:
            Problem: if nobody is called so.
        """
        gallery = self.gallery()
        photos = await in_thread(lambda: gallery.photos_of(person))
        if not photos:
            raise Problem("not-found", f"nobody is enrolled as {person}")
        return photos

    def checked_fmr(self, fmr: float | None) -> float:
        """The false match rate to decide at.

        Raises:
            Problem: if the model does not resolve it.
        """
        if fmr is None:
            return self.settings.fmr
        try:
            return self.pipeline.verifier.threshold(fmr).fmr
        except ConfigError as error:
            raise Problem("request", str(error)) from error

    async def refuse_unready(self) -> None:
        """Raise an error unless requests can be answered, and changes be made and accounted for.

        Raises:
            GalleryError: if the gallery is not ready.
            Problem: if the audit log can't be written.
        """
        if self.pipeline.gallery is not None:
            await in_thread(self.pipeline.gallery.refuse_unready)
        try:
            await in_thread(self.audit.refuse_unready)
        except DataError as error:
            raise Problem("audit", str(error)) from error

    async def note(self, request: Request, event: str, *entries: dict[str, Any]) -> None:
        """Write lines to the audit log, one for each entry, and count decisions.

        Raises:
            Problem: if the log can't be written: what can't be accounted for isn't answered.
        """
        for entry in entries:
            for decision in [entry["decision"]] if "decision" in entry else entry.get("decisions", []):
                self.metrics.decisions.labels(decision).inc()
        await in_thread(lambda: self._write(request, event, entries))

    @contextlib.contextmanager
    def accounting(self, request: Request, event: str) -> Iterator[Account]:
        """Gives what writes the line of a change before it is made; where the change fails then, another line says so.

        To be used in the thread that makes the change: it ends as it should also where the answer comes too late.

        Raises:
            Problem: if the log can't be written; nothing was changed then.
        """
        written = False

        def account(**what: Any) -> None:
            nonlocal written
            if not written:
                self._write(request, event, [what], "; nothing was changed")
                written = True

        try:
            yield account
        except Exception:
            if written:
                self._write(request, f"{event} failed", [{}], "; whether anything was changed is unknown")
            raise

    def _write(self, request: Request, event: str, entries: Sequence[dict[str, Any]], outcome: str = "") -> None:
        about = {"event": event, "request": request.state.id, "caller": request.state.caller}
        try:
            self.audit.write(*({**about, **entry} for entry in entries))
        except DataError as error:
            raise Problem("audit", f"{error}{outcome}") from error


async def in_thread(act: Callable[[], T]) -> T:
    """Result of a function that blocks; it goes on where the request is given up meanwhile."""
    return await to_thread.run_sync(act, abandon_on_cancel=True)


def service_of(request: Request) -> Service:
    """The service that a request came to."""
    service: Service = request.app.state.service
    return service
