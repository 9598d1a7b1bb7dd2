"""A running service under load from this machine: throughput, waiting times, errors, memory.

    bonaface serve --model X --rate 1000000 &
    python benchmarks/service.py FIRST.jpg SECOND.jpg [--url http://127.0.0.1:8000] [--seconds 20] [--flat 10000]

At 1, 8 and 64 connections each sends its next request when it has the last answer; one that is told to come again (503) waits as
long as it is told. Then ``--flat`` requests, with the service's memory before and after.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np


@dataclass
class Seen:
    """Answers of the service."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int | str] = field(default_factory=Counter)


async def ask(client: httpx.AsyncClient, images: list[tuple[str, bytes]], seen: Seen) -> None:
    """One verification."""
    started = time.perf_counter()
    try:
        answer = await client.post("/v1/verify", files=[(name, ("photo", data)) for name, data in images])
    except httpx.TransportError as error:
        seen.statuses[type(error).__name__] += 1
        return
    seen.statuses[answer.status_code] += 1
    if answer.status_code == 200:
        seen.seconds.append(time.perf_counter() - started)
    elif answer.status_code == 503:
        await asyncio.sleep(float(answer.headers["retry-after"]))


async def load(
    url: str, images: list[tuple[str, bytes]], connections: int, seconds: float, requests: int = 0
) -> tuple[Seen, float]:
    """Load for some seconds, or for some requests; what came back, and how long it took."""
    seen, started = Seen(), time.perf_counter()

    def goes_on() -> bool:
        return sum(seen.statuses.values()) < requests if requests else time.perf_counter() - started < seconds

    async def one(client: httpx.AsyncClient) -> None:
        while goes_on():
            await ask(client, images, seen)

    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as client:
        await asyncio.gather(*(one(client) for _ in range(connections)))
    return seen, time.perf_counter() - started


def memory(url: str) -> float:
    """Resident memory of the service in MB, as it says itself."""
    found = re.search(r"^process_resident_memory_bytes (\S+)", httpx.get(f"{url}/metrics").text, re.MULTILINE)
    assert found is not None
    return float(found[1]) / 1e6


def main() -> None:
    """Reads the command line and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--flat", type=int, default=0, help="requests for the memory's sake")
    options = parser.parse_args()
    images = [("first", options.first.read_bytes()), ("second", options.second.read_bytes())]
    asyncio.run(load(options.url, images, 1, 0, requests=5))
    print("| connections | verdicts/s | p50 ms | p95 ms | answers |\n|---|---|---|---|---|")
    for connections in options.connections:
        seen, took = asyncio.run(load(options.url, images, connections, options.seconds))
        p50, p95 = 1e3 * np.quantile(seen.seconds or [np.nan], [0.5, 0.95])
        answers = ", ".join(f"{count} x {status}" for status, count in seen.statuses.items())
        print(f"| {connections} | {len(seen.seconds) / took:.1f} | {p50:.0f} | {p95:.0f} | {answers} |", flush=True)
    if options.flat:
        before = memory(options.url)
        seen, took = asyncio.run(load(options.url, images, 8, 0, requests=options.flat))
        said = ", ".join(f"{count} x {status}" for status, count in seen.statuses.items())
        print(
            f"{options.flat:,} requests in {took:.0f} s ({said}): memory {before:.0f} MB before, {memory(options.url):.0f} MB after"
        )


if __name__ == "__main__":
    main()
