"""Errors as RFC 9457 problem details: one media type, one form, one sentence that says what would be right."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from bonaface.errors import (
    DataError,
    GalleryDamagedError,
    GalleryError,
    GalleryFullError,
    GalleryOutdatedError,
    GalleryReplacedError,
    GalleryUnavailableError,
)

__all__ = ["MEDIA_TYPE", "PROBLEMS", "Problem", "add_handlers", "answer", "documented", "problem_of"]

MEDIA_TYPE = "application/problem+json"

PROBLEMS: Mapping[str, tuple[int, str]] = {
    "request": (422, "The request is not of the expected form"),
    "image": (422, "A file is no image that can be used"),
    "photos": (422, "Photos were refused, and none was enrolled"),
    "malformed": (400, "A header can't be read"),
    "key": (401, "An API key is needed"),
    "origin": (403, "Pages from elsewhere may not call this"),
    "not-found": (404, "There is no such thing"),
    "no-gallery": (404, "This service keeps no gallery"),
    "too-slow": (408, "The request did not arrive in time"),
    "full-person": (409, "The person has as many photos as are allowed"),
    "too-large": (413, "The request is too large"),
    "encoding": (415, "The body is compressed"),
    "too-many": (429, "Too many requests"),
    "busy": (503, "The service is busy"),
    "late": (503, "The answer took too long"),
    "database": (503, "The database does not answer"),
    "outdated": (503, "The gallery is another model's by now"),
    "replaced": (503, "The gallery's files were replaced"),
    "damaged": (500, "The gallery is damaged"),
    "disk": (507, "The disk is full"),
    "audit": (507, "The audit log can't be written"),
    "fault": (500, "The service made a mistake"),
}
"""Each kind of problem: its status and its title."""

_LOG = logging.getLogger("bonaface.service")


class Problem(Exception):  # noqa: N818 - the RFC's own word
    """Something to answer with instead of a result.

    Args:
        kind: a key of ``PROBLEMS``.
        detail: one sentence.
        retry_after: seconds after which to try again.
        more: further members of the answer.
    """

    def __init__(self, kind: str, detail: str, retry_after: int | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.retry_after, self.more = kind, detail, retry_after, more


def answer(problem: Problem, instance: str = "") -> Response:
    """The HTTP response of a problem.

    Example:
        >>> answer(Problem("busy", "32 images wait; try again soon", 2)).headers["retry-after"]
        '2'
    """
    status, title = PROBLEMS[problem.kind]
    members = {"type": f"urn:bonaface:{problem.kind}", "title": title, "status": status, "detail": problem.detail}
    if instance:
        members["instance"] = f"urn:request:{instance}"
    headers = {}
    if problem.retry_after is not None:
        headers["Retry-After"] = str(problem.retry_after)
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="bonaface"'
    return JSONResponse(members | problem.more, status, headers, MEDIA_TYPE)


def add_handlers(app: FastAPI) -> None:
    """Let an application answer every error so."""

    def said(request: Request, error: Exception) -> Response:
        return answer(problem_of(error), getattr(request.state, "id", ""))

    def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - for the type checker
        return _of_http(error, getattr(request.state, "id", ""))

    for kind in (Problem, RequestValidationError, DataError):
        app.add_exception_handler(kind, said)
    app.add_exception_handler(HTTPException, http)


def problem_of(error: Exception) -> Problem:
    """Answer to an error; one that nobody expected goes to the log."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        return Problem("request", _first(error), errors=_fields(error.errors()))
    if isinstance(error, GalleryError):
        return _of_gallery(error)
    if isinstance(error, DataError):
        return Problem("image", str(error))
    _LOG.error("unexpected error", exc_info=error)
    return Problem("fault", "an unexpected error; the service's log has it")


def _of_gallery(error: GalleryError) -> Problem:
    """A sentence without the paths and addresses that the error names: those go to the log."""
    _LOG.error("%s", error)
    if isinstance(error, GalleryUnavailableError):
        return Problem("database", "the gallery's database is not ready; try again soon: nothing is done twice", 5)
    if isinstance(error, GalleryFullError):
        return Problem(
            "disk",
            "nothing was changed: the gallery's disk is full or can't be written to; try again when there is room",
        )
    if isinstance(error, GalleryDamagedError):
        return Problem("damaged", "files of the gallery are damaged: it has to be restored from a backup")
    if isinstance(error, GalleryOutdatedError):
        return Problem(
            "outdated",
            "the gallery was embedded for another model: waiting does not help, this service has to be started with that model",
        )
    if isinstance(error, GalleryReplacedError):
        return Problem(
            "replaced",
            "another file or folder, or none, is in the place of the gallery's or of its kept photos', or a copy was written into "
            "it: waiting does not help, stop the service, see that the right one is there and named, restored as the docs say, and "
            "start it again",
        )
    return Problem("fault", "the gallery can't be used; the service's log says why")


def _of_http(error: HTTPException, instance: str) -> Response:
    """Those that the framework raises: no such path, no such method, a body that can't be parsed."""
    if error.status_code == HTTPStatus.BAD_REQUEST:
        return answer(Problem("request", f"the body can't be read ({str(error.detail)[:200]})"), instance)
    title = HTTPStatus(error.status_code).phrase
    members = {"type": "about:blank", "title": title, "status": error.status_code, "detail": str(error.detail)}
    if instance:
        members["instance"] = f"urn:request:{instance}"
    return JSONResponse(members, error.status_code, error.headers, MEDIA_TYPE)


def _first(error: RequestValidationError) -> str:
    fields = _fields(error.errors())
    if not fields:
        return "the request can't be read"
    problem = fields[0]["problem"]
    return f"{fields[0]['field']}: {problem[:1].lower()}{problem[1:]}"


def _fields(errors: Sequence[Any]) -> list[dict[str, str]]:
    return [{"field": ".".join(map(str, each["loc"])), "problem": _problem(str(each["msg"]))} for each in errors]


def _problem(said: str) -> str:
    """The framework's sentence without what names a class of its own."""
    return "Expected a file, got text" if "UploadFile" in said else said.removeprefix("Value error, ")


def documented(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """Description of these problems in OpenAPI."""
    said: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        status, title = PROBLEMS[kind]
        known = said.get(status)
        description = title if known is None else f"{known['description']}; or: {title}"
        example = {
            "type": f"urn:bonaface:{kind}",
            "title": title,
            "status": status,
            "detail": "one sentence that says why",
        }
        schema = {"$ref": "#/components/schemas/Problem"}
        said[status] = {"description": description, "content": {MEDIA_TYPE: {"schema": schema, "example": example}}}
    return said
