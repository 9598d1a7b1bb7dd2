"""Every setting of the service, as the command hands them over."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from bonaface.errors import ConfigError
from bonaface.gallery.people import MOST_PHOTOS

__all__ = ["ServiceSettings"]

_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:(?P<port>[0-9]{1,5}))?")
_LONGEST = 3600.0
_MOST_REQUESTS = 1_000_000
_MOST_WAITING = 10_000


@dataclass(frozen=True)
class ServiceSettings:
    """Settings of the service.

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
        held_bytes: bodies of all requests together; those of one caller may take a quarter.
        seconds: that an upload may take, and an answer after it.
        stall: seconds that an upload may pause.
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
    photos: int = MOST_PHOTOS
    batch: int = 16
    queue: int = 64
    held_bytes: int = 512 * 2**20
    seconds: float = 30.0
    stall: float = 5.0

    def refuse_nonsense(self) -> None:
        """Raise an error unless every setting makes sense; messages call them as the command's options.

        Raises:
            ConfigError: if one does not.
        """
        if not 0 < self.fmr <= 1:
            raise ConfigError(f"--fmr {self.fmr:g}: expected a fraction, more than 0 and at most 1")
        if not 1 <= self.requests_a_minute <= _MOST_REQUESTS:
            raise ConfigError(f"--rate {self.requests_a_minute}: expected 1 to {_MOST_REQUESTS:,} requests a minute")
        if not 2 <= self.queue <= _MOST_WAITING:
            raise ConfigError(
                f"--queue {self.queue}: expected 2 to {_MOST_WAITING:,} images; a verification has two, and each waits in memory"
            )
        if not 1 <= self.seconds <= _LONGEST:
            raise ConfigError(f"--seconds {self.seconds:g}: expected 1 to {_LONGEST:g}")
        for origin in self.origins:
            found = _ORIGIN.fullmatch(origin)
            if found is None or int(found["port"] or 1) not in range(1, 65_536):
                raise ConfigError(
                    f"--cors {origin}: expected an origin as browsers send it, such as https://desk.example or "
                    "http://localhost:3000: lower case, no path"
                )
