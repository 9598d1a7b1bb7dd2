"""Routes about the service itself, and the page."""

from __future__ import annotations

from importlib import resources

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse

from bonaface.service.errors import documented
from bonaface.service.schemas import HealthResponse, ModelResponse, ReadyResponse, ThresholdResponse
from bonaface.service.state import service_of
from bonaface.service.uploads import fields
from bonaface.version import __version__

__all__ = ["WEB", "router"]

router = APIRouter(tags=["service"])

_COMMON = ("malformed", "encoding", "origin", "too-many", "too-large", "too-slow", "late")

WEB = resources.files("bonaface.service") / "static"
_BASE = resources.files("bonaface.assets") / "style.css"


@router.get("/v1/health", responses=documented(*_COMMON), summary="Does the process live?")
async def health() -> HealthResponse:
    """Answers as long as the process does."""
    return HealthResponse(status="ok", version=__version__)


@router.get(
    "/v1/ready",
    responses=documented(*_COMMON, "database", "disk", "audit", "damaged", "outdated", "replaced"),
    summary="Can it be asked?",
)
async def ready(request: Request) -> ReadyResponse:
    """Answers with an error while the gallery's database does not, or it or the audit log can't be written."""
    await service_of(request).refuse_unready()
    return ReadyResponse(status="ready")


@router.get(
    "/v1/model",
    dependencies=[Depends(fields())],
    responses=documented(*_COMMON, "key", "request"),
    summary="The model and its thresholds",
)
async def model(request: Request) -> ModelResponse:
    """Which model answers, and what its similarities mean."""
    service = service_of(request)
    verifier = service.pipeline.verifier
    service.start_drawing()
    thresholds = [ThresholdResponse(fmr=each.fmr, threshold=each.threshold) for each in verifier.thresholds]
    return ModelResponse(
        name=verifier.name,
        fingerprint=verifier.fingerprint,
        judges_authenticity="authenticity" in verifier.embedder.network.views,
        fmr=service.settings.fmr,
        thresholds=thresholds,
        histogram=service.histogram,
    )


@router.get(
    "/metrics",
    responses=documented(*_COMMON, "key")
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


@router.get("/docs", response_class=HTMLResponse, include_in_schema=False)
async def docs() -> HTMLResponse:
    """The API's description for people."""
    return HTMLResponse((WEB / "docs.html").read_text(encoding="utf-8"))
