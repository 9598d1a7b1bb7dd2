"""How often one caller may ask: a bucket of tokens that fills steadily, one token a request."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

__all__ = ["RateLimit"]

_CALLERS = 10_000


class RateLimit:
    """Token buckets by caller. Of more than 10,000 callers those are forgotten that have been quiet longest.

    Args:
        a_minute: requests; a tenth of them may come at once, and at least 10.
        clock: seconds, ever growing.

    Example:
        >>> limit = RateLimit(60, clock=lambda: 0.0)
        >>> [limit.take("a") for _ in range(12)], limit.take("b")
        ([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1], 0)
    """

    def __init__(self, a_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._size, self._clock = a_minute / 60, max(10.0, a_minute / 10), clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> int:
        """0 where the caller may go on, otherwise seconds after which they may."""
        now = self._clock()
        tokens, then = self._buckets.pop(caller, (self._size, now))
        tokens = min(self._size, tokens + (now - then) * self._rate)
        allowed = tokens >= 1
        self._buckets[caller] = (tokens - allowed, now)
        if len(self._buckets) > _CALLERS:
            self._buckets.popitem(last=False)
        return 0 if allowed else math.ceil((1 - tokens) / self._rate)
