"""Every setting of the service, as the command hands them over."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["ServiceSettings"]


@dataclass(frozen=True)
class ServiceSettings:
    """How the service behaves.

    Args:
        fmr: false match rate at which it decides, a fraction, where a request names none.
        loopback: whether only this machine can reach it.
        keys: file of API keys; None asks for none.
        origins: other origins whose pages may call it.
        audit: file of the audit log; None writes none.
        requests_a_minute: that one key, or one address where there are no keys, may make.
        request_bytes: largest body.
        image_bytes: largest image.
        images: most images in a request.
        photos: most photos of a person.
        batch: most images that are computed together.
        queue: most images that wait.
        held_bytes: bodies of all requests together.
        seconds: that an upload may take, and an answer after it.
    """

    fmr: float = 1e-3
    loopback: bool = True
    keys: Path | None = None
    origins: tuple[str, ...] = ()
    audit: Path | None = None
    requests_a_minute: int = 600
    request_bytes: int = 32 * 2**20
    image_bytes: int = 12 * 2**20
    images: int = 32
    photos: int = 50
    batch: int = 16
    queue: int = 64
    held_bytes: int = 512 * 2**20
    seconds: float = 30.0
