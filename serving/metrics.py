"""Prometheus metrics of the server."""

from __future__ import annotations

import functools

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    exposition,
)

CONTENT_TYPE = exposition.CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 512, 2048)


class Metrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        counter = functools.partial(Counter, registry=registry)
        gauge = functools.partial(Gauge, registry=registry)
        histogram = functools.partial(Histogram, registry=registry)
        self.requests = counter("http_requests", "Responses sent.", ("route", "method", "status"))
        self.request_seconds = histogram(
            "http_request_duration_seconds",
            "From the last byte of the request to the last byte of the response.",
            ("route",),
            buckets=_SECONDS,
        )
        self.version = gauge("serving_model_version", "The served version; 0 while none is loaded.")
        self.loads = counter("serving_model_loads", "Versions that were loaded and served.")
        self.load_failures = counter(
            "serving_model_load_failures",
            "Versions that could not be loaded or failed validation.",
            ("code",),
        )
        self.call_failures = counter(
            "serving_model_call_failures",
            "Calls of the model that failed or had NaN or infinity in an output.",
            ("kind",),
        )
        self.dropped_lines = gauge(
            "serving_log_lines_dropped",
            "Lines of the log that were dropped because they could not be written.",
        )
        self.batch_rows = histogram(
            "serving_batch_rows", "Rows of one call of TensorFlow.", buckets=_ROWS
        )
        self.batch_seconds = histogram(
            "serving_batch_duration_seconds", "Duration of one call of TensorFlow.",
            buckets=_SECONDS,
        )  # fmt: skip
        self.queue_length = gauge("serving_queue_length", "Calls that wait for TensorFlow.")

    def text(self) -> bytes:
        """Returns all metrics in Prometheus' text format."""
        return bytes(exposition.generate_latest(self.registry))
