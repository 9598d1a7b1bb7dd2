"""A connection to Ray: one of its own on this machine, or a cluster's."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bonaface.errors import ConfigError
from bonaface.extras import require

__all__ = ["brief", "connected"]

_EXPECTED = (
    "expected the HOST:PORT that ray start --head printed, ray://HOST:PORT, or auto on a machine of the cluster; a cluster that "
    "asks for a token takes the one in ~/.ray/auth_token"
)
_TOKEN = Path("~/.ray/auth_token").expanduser()
_STORE = 80 * 2**20  # bytes of Ray's object store: what passes through it here is small
_PATIENCE = 5.0  # seconds


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """A connection to Ray while the block runs: to a Ray of its own on this machine, or to a cluster.

    Args:
        address: ``HOST:PORT``, ``ray://HOST:PORT`` or ``auto`` (the cluster that this machine belongs to).

    Raises:
        MissingExtraError: if Ray isn't installed.
        ConfigError: if nothing answers there.
    """
    require("experiments", "ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if _TOKEN.exists() and address is not None:  # else Ray would not show it, and a cluster that asks for it refuse
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    import ray

    if ray.is_initialized():
        yield
        return
    _begin(address)
    try:
        yield
    finally:
        ray.shutdown()


def _begin(address: str | None) -> None:
    import ray

    quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if address is None:
        ray.init("local", num_cpus=os.cpu_count(), include_dashboard=False, object_store_memory=_STORE, **quiet)
        return
    _knock(address)
    try:
        ray.init(address, **quiet)
    except (ConnectionError, TimeoutError, RuntimeError, ValueError) as error:
        raise ConfigError(f"--ray-address: {address}: {brief(error)}; {_EXPECTED}") from error


def _knock(address: str) -> None:
    """Ray itself waits half a minute for a machine that is not there."""
    if address == "auto":
        return
    place = urlsplit(address if "://" in address else f"//{address}")
    try:
        if place.hostname is None or place.port is None:
            raise ValueError
    except ValueError as error:
        raise ConfigError(f"--ray-address: {address}: is no address; {_EXPECTED}") from error
    try:
        socket.create_connection((place.hostname, place.port), timeout=_PATIENCE).close()
    except OSError as error:
        raise ConfigError(f"--ray-address: {address}: nothing answers there ({error}); {_EXPECTED}") from error


def brief(error: BaseException) -> str:
    """The start of a message, on one line; Ray's go on for pages."""
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else f"{text[:200]}..."
