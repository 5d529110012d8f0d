"""Prometheus metrics of the server."""

from __future__ import annotations

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
        self.requests = Counter(
            "http_requests", "Responses sent.", ("route", "method", "status"), registry=registry
        )
        self.request_seconds = Histogram(
            "http_request_duration_seconds",
            "From the last byte of the request to the last byte of the response.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.version = Gauge(
            "serving_model_version",
            "The served version; 0 while none is loaded.",
            registry=registry,
        )
        self.loads = Counter(
            "serving_model_loads", "Versions that were loaded and served.", registry=registry
        )
        self.load_failures = Counter(
            "serving_model_load_failures",
            "Versions that could not be loaded or failed validation.",
            ("code",),
            registry=registry,
        )
        self.call_failures = Counter(
            "serving_model_call_failures",
            "Calls of the model that failed or had NaN or infinity in an output.",
            ("kind",),
            registry=registry,
        )
        self.dropped_lines = Gauge(
            "serving_log_lines_dropped",
            "Lines of the log that were dropped because they could not be written.",
            registry=registry,
        )
        self.batch_rows = Histogram(
            "serving_batch_rows",
            "Rows of one call of TensorFlow.",
            buckets=_ROWS,
            registry=registry,
        )
        self.batch_seconds = Histogram(
            "serving_batch_duration_seconds",
            "Duration of one call of TensorFlow.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.queue_length = Gauge(
            "serving_queue_length", "Calls that wait for TensorFlow.", registry=registry
        )

    def text(self) -> bytes:
        """Returns all metrics in Prometheus' text format."""
        return bytes(exposition.generate_latest(self.registry))
