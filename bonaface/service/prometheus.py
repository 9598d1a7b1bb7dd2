"""Metrics for Prometheus: requests, seconds, decisions, batches, what waits."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.process_collector import ProcessCollector

__all__ = ["Metrics"]

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The service's own figures, apart from those of other services in the process.

    Args:
        waiting: how many images wait now.
    """

    media_type = CONTENT_TYPE_LATEST

    def __init__(self, waiting: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "bonaface_requests", "Requests answered", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "bonaface_request_seconds",
            "Seconds from a request to its answer",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.decisions = Counter("bonaface_decisions", "Verdicts given", ["decision"], registry=self.registry)
        self.batch = Histogram("bonaface_batch_images", "Images in a batch", buckets=_SIZES, registry=self.registry)
        self.network = Histogram(
            "bonaface_batch_seconds", "Seconds of a batch", buckets=_SECONDS, registry=self.registry
        )
        Gauge("bonaface_waiting_images", "Images that wait", registry=self.registry).set_function(waiting)

    def batched(self, size: int, seconds: float) -> None:
        """Count a batch."""
        self.batch.observe(size)
        self.network.observe(seconds)

    def text(self) -> bytes:
        """All figures in Prometheus's format."""
        return generate_latest(self.registry)
