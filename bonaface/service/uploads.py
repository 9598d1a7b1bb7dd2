"""Uploads: bodies that are counted as they arrive, form fields that mean one thing, and files that are images only.

Files are read by their content and never by their name.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import zipfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from fastapi import Request, UploadFile
from pydantic import BeforeValidator
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.datastructures import UploadFile as FormFile
from starlette.types import Receive

from bonaface.errors import DataError
from bonaface.service.errors import Problem
from bonaface.service.settings import ServiceSettings

__all__ = ["Bodies", "Upload", "fields", "read_uploads", "refuse_cut", "refuse_second_format", "written"]

# Formats whose readers look for their start, or their directory, anywhere in a file: an image that is also one of them
# is made to be taken for both. Of each so many bytes in a row are needed that 10 MB of compressed pixels hold one in 100,000 times
# at most: of five, whatever their case, they would in a thousand.
_ACTIVE = re.compile(rb"<script|<html[\s/>]|<!doctype html|<svg[\s/>][\s!-~]{6}|<\?php\s|<iframe", re.IGNORECASE)
_ARCHIVES = (b"Rar!\x1a\x07", b"7z\xbc\xaf\x27\x1c", b"\x7fELF\x02\x01\x01")
_ZIP_ENTRY, _ZIP_END = b"PK\1\2", b"PK\5\6"
_PDF_WITHIN = 1024
_RENAMED = {"picture": "image"}
_OF_ONE_CALLER = 4
"""One caller's bodies may take so large a part of the memory for all: one of four."""


class Bodies:
    """Bodies of requests from their first byte to their answer: small ones, and only so many at once.

    Args:
        settings: the limits.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._held: Counter[str] = Counter()

    @contextlib.asynccontextmanager
    async def arriving(self, headers: Headers, receive: Receive, caller: str, limit: int) -> AsyncIterator[bytes]:
        """The whole body. What has arrived counts until the block ends; what is announced counts for nothing.

        Args:
            headers: of the request.
            receive: gives the parts.
            caller: whose it is.
            limit: bytes that it may have.

        Raises:
            Problem: if it is too large, too slow, or there is no room for it.
        """
        _refuse_announced(headers, limit)
        body = bytearray()
        try:
            async for part in self._parts(receive):
                body += part
                self._held[caller] += len(part)
                if len(body) > limit:
                    raise _too_large(limit)
                self._refuse_full(caller)
            yield bytes(body)
        finally:
            self._held[caller] -= len(body)
            if not self._held[caller]:
                del self._held[caller]

    async def _parts(self, receive: Receive) -> AsyncIterator[bytes]:
        settings, loop = self._settings, asyncio.get_running_loop()
        until = loop.time() + settings.seconds
        more = True
        while more:
            try:
                message = await asyncio.wait_for(receive(), min(settings.stall, until - loop.time()))
            except TimeoutError as error:
                said = (
                    f"nothing of the request arrived for {settings.stall:g} seconds"
                    if loop.time() < until
                    else f"the request took more than {settings.seconds:g} seconds to arrive"
                )
                raise Problem("too-slow", said) from error
            if message["type"] == "http.disconnect":
                raise Problem("too-slow", "the connection was closed before the request had arrived")
            more = message.get("more_body", False)
            yield message.get("body", b"")

    def _refuse_full(self, caller: str) -> None:
        if self._held[caller] > self._settings.held_bytes // _OF_ONE_CALLER:
            raise Problem("busy", "your other uploads fill the memory that one caller may take; try again soon", 1)
        if self._held.total() > self._settings.held_bytes:
            raise Problem("busy", "other uploads fill the memory that is set aside for them; try again soon", 1)


def _refuse_announced(headers: Headers, limit: int) -> None:
    encoded = ", ".join(headers.getlist("content-encoding"))
    if encoded.strip().lower() not in ("", "identity"):
        raise Problem("encoding", f"Content-Encoding: {encoded[:50]!r}: expected a body that is not compressed")
    said = headers.get("content-length", "0")
    if not said.isdecimal() or int(said) > limit:
        raise _too_large(limit)


def _too_large(limit: int) -> Problem:
    expected = f"expected at most {limit:,} bytes" if limit else "expected a request without a body"
    return Problem("too-large", f"the request is too large; {expected}")


def written(read: Callable[[str], float]) -> BeforeValidator:
    """Let a field that holds a number be read by ``read`` and not as leniently as pydantic does."""
    return BeforeValidator(lambda value: read(value) if isinstance(value, str) else value)


def refuse_cut(headers: Headers, body: bytes) -> None:
    """Refuse a form that does not end with its boundary, or goes on behind it: its last fields would be dropped without a word.

    Raises:
        Problem: if it is such a form.
    """
    kind, options = parse_options_header(headers.get("content-type"))
    if kind != b"multipart/form-data" or not body or not options.get(b"boundary"):
        return
    end = b"--" + options[b"boundary"] + b"--"
    if body.find(end) != len(body.rstrip(b"\r\n")) - len(end):
        raise Problem(
            "request",
            "the form is cut, or goes on behind its end; expected its boundary and -- as its last line",
        )


def fields(*single: str, several: Sequence[str] = ()) -> Callable[[Request], Awaitable[None]]:
    """A dependency of a route that refuses form fields and query parameters of other names, doubled and empty ones.

    A doubled field would be read as its last value, and a misspelt or empty one as none, all without a word. An empty file
    without a name would be taken out of its list, and those behind it would be paired with others.

    Args:
        single: names that may come once.
        several: names that may come more than once.
    """

    async def refuse(request: Request) -> None:
        form = await request.form() if request.method == "POST" else None
        given = Counter([name for name, _ in request.query_params.multi_items()])
        given += Counter([name for name, _ in form.multi_items()] if form is not None else [])
        for name, count in given.items():
            if name not in (*single, *several):
                raise Problem("request", _unknown(name, (*single, *several)))
            if count > 1 and name in single:
                raise Problem("request", f"{name}: comes {count} times; expected it once")
        for name, value in form.multi_items() if form is not None else ():
            if value == "" or (isinstance(value, FormFile) and not value.filename and not value.size):
                raise Problem("request", f"{name}: is empty; expected a value, or the field left out")
        if form is not None and request.query_params:
            name = next(iter(request.query_params))
            raise Problem("request", f"{name}: stands in the address; expected it in the form")

    return refuse


def _unknown(name: str, known: Sequence[str]) -> str:
    renamed = _RENAMED.get(name)
    if renamed in known:
        return f"{name}: is called {renamed} now"
    return f"{name[:50]!r}: no such field; expected {', '.join(known) or 'none'}"


@dataclass(frozen=True)
class Upload:
    """An image as it came: its bytes, and what messages call it."""

    data: bytes
    name: str


async def read_uploads(files: Sequence[UploadFile], names: Sequence[str], settings: ServiceSettings) -> list[Upload]:
    """The content of uploaded files.

    Args:
        files: as the framework has parsed them.
        names: what messages call them; the client's own file names are not repeated.
        settings: limits.

    Raises:
        Problem: if there are too many, or one is too large.
    """
    most = min(settings.images, settings.queue)
    if len(files) > most:
        raise Problem("too-large", f"{len(files)} images in one request; expected at most {most}")
    uploads = []
    for file, name in zip(files, names, strict=True):
        data = await file.read(settings.image_bytes + 1)
        if len(data) > settings.image_bytes:
            raise Problem("too-large", f"{name}: is larger than {settings.image_bytes:,} bytes; send a smaller image")
        uploads.append(Upload(data, name))
    return uploads


def refuse_second_format(data: bytes, name: str) -> None:
    """Refuse an image that can also be read as a page, a program or an archive.

    Raises:
        DataError: if it can.

    Example:
        >>> refuse_second_format(b"GIF89a...<script>alert(1)</script>", "first image")
        Traceback (most recent call last):
        bonaface.errors.DataError: first image: holds a web page or a program as well; expected an image and nothing else
    """
    if _ACTIVE.search(data) or b"%PDF-" in data[:_PDF_WITHIN]:
        raise DataError(f"{name}: holds a web page or a program as well; expected an image and nothing else")
    if any(magic in data for magic in _ARCHIVES) or _is_zip(data):
        raise DataError(f"{name}: holds an archive or a program as well; expected an image and nothing else")


def _is_zip(data: bytes) -> bool:
    """Whether there is a record of an archive's end, which is known by four bytes, and an entry of its directory before it."""
    return zipfile.is_zipfile(io.BytesIO(data)) and data.find(_ZIP_ENTRY, 0, data.rfind(_ZIP_END)) >= 0
