"""What the routes have in common: the service behind them, and its answers in the API's form."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, TypeVar

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from bonaface.errors import ConfigError, DataError
from bonaface.gallery.gallery import Gallery
from bonaface.gallery.people import Enrolled
from bonaface.service.audit import AuditLog
from bonaface.service.errors import Problem
from bonaface.service.pipeline import Desk, Look
from bonaface.service.prometheus import Metrics
from bonaface.service.schemas import FaceSeen, HistogramSeen, ImageSeen, QualitySeen, VerdictSeen
from bonaface.service.settings import ServiceSettings
from bonaface.verification.decision import Verdict

__all__ = ["Service", "image_seen", "plain", "rate_of", "service_of", "verdict_seen"]

T = TypeVar("T")


@dataclass
class Service:
    """Everything behind the routes."""

    desk: Desk
    settings: ServiceSettings
    metrics: Metrics
    audit: AuditLog
    histogram: HistogramSeen | None = None
    draw: Callable[[], HistogramSeen] | None = None
    drawing: asyncio.Task[None] | None = None

    def start_drawing(self) -> None:
        """Compute the histogram behind the page's scale, once, beside all else."""
        if self.draw is not None and self.drawing is None:
            self.drawing = asyncio.get_running_loop().create_task(self._draw(self.draw))

    async def _draw(self, draw: Callable[[], HistogramSeen]) -> None:
        self.histogram = await run_in_threadpool(draw)

    def gallery(self) -> Gallery:
        """The gallery.

        Raises:
            Problem: if there is none.
        """
        if self.desk.gallery is None:
            raise Problem("no-gallery", "the service was started with --gallery none; nobody is enrolled in it")
        return self.desk.gallery

    async def in_gallery(self, act: Callable[[], T]) -> T:
        """What the database answers; it blocks, so in a thread."""
        return await run_in_threadpool(act)

    async def photos_of(self, person: str) -> list[Enrolled]:
        """The photos of a person.

        Raises:
            Problem: if nobody is called so.
        """
        gallery = self.gallery()
        photos = await self.in_gallery(lambda: gallery.photos_of(person))
        if not photos:
            raise Problem("not-found", f"nobody is enrolled as {person}")
        return photos

    def note(self, request: Request, event: str, **what: Any) -> None:
        """Write to the audit log, and count decisions.

        Raises:
            Problem: if the log can't be written: what can't be accounted for isn't answered.
        """
        for decision in [what["decision"]] if "decision" in what else what.get("decisions", []):
            self.metrics.decisions.labels(decision).inc()
        try:
            self.audit.write(event=event, request=request.state.id, caller=request.state.caller, **what)
        except DataError as error:
            raise Problem("disk", str(error)) from error


def service_of(request: Request) -> Service:
    """The service that a request came to."""
    service: Service = request.app.state.service
    return service


def rate_of(service: Service, fmr: float | None) -> float:
    """The false match rate to decide at.

    Raises:
        Problem: if the model does not resolve it.
    """
    if fmr is None:
        return service.settings.fmr
    try:
        return service.desk.verifier.threshold(fmr).fmr
    except ConfigError as error:
        raise Problem("request", str(error)) from error


def image_seen(look: Look) -> ImageSeen:
    """What an image shows, in the API's form."""
    photo, embedding = look.photo, look.embedding
    genuine = None if embedding is None else embedding.genuine
    return ImageSeen(
        faces=[
            FaceSeen(box=plain(face.box), points=plain(face.points), score=min(1.0, face.score)) for face in photo.faces
        ],
        quality=None if photo.quality is None else QualitySeen(**plain(photo.quality)),
        genuine=None if genuine is None else float(genuine[0]),
        problem=photo.problem,
    )


def verdict_seen(
    service: Service, verdict: Verdict | None, pair: Sequence[Look | DataError | None], rate: float
) -> VerdictSeen:
    """A verdict in the API's form; without one, "cannot tell" and what is wrong with the images."""
    seen = [image_seen(each) if isinstance(each, Look) else None for each in pair]
    threshold = service.desk.verifier.threshold(rate).threshold
    if verdict is None:
        reasons = [
            str(each) if isinstance(each, DataError) else each.photo.problem for each in pair if each is not None
        ]
        reason = "; ".join(why for why in reasons if why) or "the images can't be judged"
        values: dict[str, Any] = {"decision": "cannot tell", "reason": reason, "similarity": None, "probability": None}
    else:
        values = {name: getattr(verdict, name) for name in ("decision", "reason", "similarity", "probability")}
        threshold = verdict.threshold
    return VerdictSeen(
        **values, threshold=threshold, fmr=rate, first=seen[0], second=seen[1], model=service.desk.verifier.name
    )


def plain(value: Any) -> Any:
    """Dataclasses and tuples as JSON has them; four digits of each number, and null where it is none."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value
