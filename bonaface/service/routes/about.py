"""Routes about the service itself, and the page."""

from __future__ import annotations

from importlib import resources

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from bonaface import __version__
from bonaface.service.errors import documented
from bonaface.service.schemas import Health, ModelSeen, Ready, ThresholdSeen
from bonaface.service.state import service_of

__all__ = ["WEB", "router"]

router = APIRouter(tags=["service"])

WEB = resources.files("bonaface.service") / "static"
_BASE = resources.files("bonaface.assets") / "style.css"


@router.get("/v1/health", responses=documented("origin", "too-many"), summary="Does the process live?")
async def health() -> Health:
    """Answers as long as the process does."""
    return Health(status="ok", version=__version__)


@router.get("/v1/ready", responses=documented("database", "origin", "too-many"), summary="Can it be asked?")
async def ready(request: Request) -> Ready:
    """Answers 503 while the gallery's database does not."""
    service = service_of(request)
    gallery = service.desk.gallery
    photos = None if gallery is None else await service.in_gallery(gallery.count)
    return Ready(status="ready", photos=photos, waiting=service.desk.batcher.waiting)


@router.get("/v1/model", responses=documented("key", "origin", "too-many"), summary="The model and its thresholds")
async def model(request: Request) -> ModelSeen:
    """Which model answers, and what its similarities mean."""
    service = service_of(request)
    verifier = service.desk.verifier
    service.start_drawing()
    thresholds = [ThresholdSeen(fmr=each.fmr, threshold=each.threshold) for each in verifier.thresholds]
    return ModelSeen(
        name=verifier.name,
        fingerprint=verifier.fingerprint,
        judges_authenticity="authenticity" in verifier.embedder.network.views,
        fmr=service.settings.fmr,
        thresholds=thresholds,
        histogram=service.histogram,
    )


@router.get(
    "/metrics",
    responses=documented("key", "origin", "too-many")
    | {200: {"description": "Prometheus's text format", "content": {"text/plain": {"schema": {"type": "string"}}}}},
    response_class=Response,
    summary="Figures for Prometheus",
)
async def metrics(request: Request) -> Response:
    """Requests, seconds, decisions, batches."""
    figures = service_of(request).metrics
    return Response(figures.text(), media_type=figures.media_type)


@router.get("/web/base.css", include_in_schema=False)
async def base() -> Response:
    """The style that the reports have as well."""
    return Response(_BASE.read_text(encoding="utf-8"), media_type="text/css")


@router.get("/", response_class=HTMLResponse, include_in_schema=False)
async def page() -> HTMLResponse:
    """The page."""
    return HTMLResponse((WEB / "index.html").read_text(encoding="utf-8"))
