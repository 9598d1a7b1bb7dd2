"""The application: routes behind the guard, with everything that they need opened before and closed after."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool
from starlette.formparsers import MultiPartParser
from starlette.middleware.cors import CORSMiddleware

from bonaface.gallery.gallery import Gallery
from bonaface.inference.verifier import Verifier
from bonaface.service.audit import AuditLog
from bonaface.service.auth import Keys
from bonaface.service.batching import BusyError
from bonaface.service.errors import Problem, add_handlers, answer
from bonaface.service.middleware import OPEN, Guard
from bonaface.service.pipeline import Pipeline
from bonaface.service.prometheus import Metrics
from bonaface.service.routes import about, people
from bonaface.service.routes import verify as verifying
from bonaface.service.schemas import HistogramResponse, ProblemResponse
from bonaface.service.settings import ServiceSettings
from bonaface.service.state import Service
from bonaface.version import __version__

__all__ = ["create_app"]

_ABOUT = (
    "Face verification that a deepfake does not pass. Errors are RFC 9457 problem details. Similarity, probability "
    "and threshold belong to the model that GET /v1/model names."
)


def create_app(
    verifier: Verifier,
    gallery: Gallery | None,
    settings: ServiceSettings,
    histogram: Callable[[], HistogramResponse] | None = None,
    audit: AuditLog | None = None,
) -> FastAPI:
    """The service as an ASGI application; it closes the gallery when it ends.

    Args:
        verifier: the model.
        gallery: enrolled people, or None.
        settings: limits.
        histogram: computes what the page draws behind its scale; called in a thread when the page first asks.
        audit: the log that ``settings.audit`` names, where it is open already.

    Raises:
        ConfigError: if the model can't give verdicts, or the file of keys can't be read or holds none.
        DataError: if the audit log can't be written.
    """
    keys = None if settings.keys is None else Keys(settings.keys)
    # Uploads stay in memory: they are small, and what is not kept shall not touch the disk either.
    MultiPartParser.spool_max_size = settings.request_bytes
    app = FastAPI(
        title="bonaface", version=__version__, description=_ABOUT, docs_url=None, redoc_url=None, lifespan=_lifespan
    )
    metrics = Metrics(lambda: pipeline.batcher.waiting)
    pipeline = Pipeline(verifier, gallery, settings, metrics.batched)
    app.state.service = Service(pipeline, settings, metrics, audit or AuditLog(settings.audit), draw=histogram)
    for router in (about.router, verifying.router, people.router):
        app.include_router(router)
    app.mount("/web", StaticFiles(directory=str(about.WEB)), name="web")
    add_handlers(app)
    app.add_exception_handler(BusyError, _busy)
    app.openapi = lambda: _described(app, settings)  # type: ignore[method-assign]  # FastAPI's documented way
    app.add_middleware(Guard, settings=settings, keys=keys, metrics=metrics)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization"],
        )
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    yield
    if service.drawing is not None:
        service.drawing.cancel()
    await service.pipeline.close()
    if service.pipeline.gallery is not None:
        await run_in_threadpool(service.pipeline.gallery.close)
    service.audit.close()


def _busy(request: Any, error: Exception) -> Any:
    assert isinstance(error, BusyError)  # noqa: S101 - for the type checker
    said = f"{error.waiting} images wait already; try again after {error.seconds} s"
    return answer(Problem("busy", said, error.seconds), request.state.id)


def _described(app: FastAPI, settings: ServiceSettings) -> dict[str, Any]:
    """OpenAPI with the form of problems, and with the key where one is asked for."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        parts = schema["components"]
        parts["schemas"]["Problem"] = ProblemResponse.model_json_schema()
        for unused in ("HTTPValidationError", "ValidationError"):
            parts["schemas"].pop(unused, None)
        if settings.keys is not None:
            parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            for path, operations in schema["paths"].items():
                for operation in operations.values() if path not in OPEN else ():
                    operation["security"] = [{"key": []}]
        app.openapi_schema = schema
    return app.openapi_schema
