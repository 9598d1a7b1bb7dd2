"""Asks a service (bonaface serve) for a verdict, and tries again while it is busy. Needs httpx.

python examples/service_client.py http://127.0.0.1:8000 ann.jpg bob.jpg
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import httpx


def verify(client: httpx.Client, first: Path, second: Path) -> dict[str, object]:
    """The service's verdict on two photos; waits as Retry-After says where it is busy."""
    for _ in range(5):
        files = {"first": first.read_bytes(), "second": second.read_bytes()}
        answer = client.post("/v1/verify", files=files)
        if answer.status_code not in (429, 503):
            break
        time.sleep(float(answer.headers.get("Retry-After", 1)))
    if answer.is_error:
        raise SystemExit(answer.json()["detail"])  # RFC 9457: one sentence
    verdict: dict[str, object] = answer.json()
    return verdict


def main(url: str, first: str, second: str) -> int:
    """Prints decision and reason."""
    key = os.environ.get("BONAFACE_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        verdict = verify(client, Path(first), Path(second))
    print(f"{verdict['decision']}: {verdict['reason']}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
