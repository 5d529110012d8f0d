"""Prometheus metrics of the server."""

from __future__ import annotations

from collections.abc import Callable

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
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "http_requests",
            "Responses sent.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "http_request_duration_seconds",
            "From the last byte of the request to the last byte of the response.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._version = Gauge(
            "serving_model_version",
            "The served version; 0 while none is loaded.",
            registry=self.registry,
        )
        self._loads = Counter(
            "serving_model_loads", "Versions that were loaded and served.", registry=self.registry
        )
        self._failures = Counter(
            "serving_model_load_failures",
            "Versions that could not be loaded or failed validation.",
            ("code",),
            registry=self.registry,
        )
        self._faults = Counter(
            "serving_model_call_failures",
            "Calls of the model that failed or had NaN or infinity in an output.",
            ("kind",),
            registry=self.registry,
        )
        self._dropped = Gauge(
            "serving_log_lines_dropped",
            "Lines of the log that were dropped because they could not be written.",
            registry=self.registry,
        )
        self._rows = Histogram(
            "serving_batch_rows",
            "Rows of one call of TensorFlow.",
            buckets=_ROWS,
            registry=self.registry,
        )
        self._model_seconds = Histogram(
            "serving_batch_duration_seconds",
            "Duration of one call of TensorFlow.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._waiting = Gauge(
            "serving_queue_length", "Calls that wait for TensorFlow.", registry=self.registry
        )

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Counts a response."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def batch(self, rows: int, seconds: float) -> None:
        """Counts a call of TensorFlow."""
        self._rows.observe(rows)
        self._model_seconds.observe(seconds)

    def serves(self, version: int) -> None:
        """Counts a load, and sets the served version."""
        self._version.set(version)
        self._loads.inc()

    def load_failed(self, code: str) -> None:
        """Counts a version that was refused."""
        self._failures.labels(code).inc()

    def call_failed(self, kind: str) -> None:
        """Counts a call that failed although its inputs were valid."""
        self._faults.labels(kind).inc()

    def watch_log(self, dropped: Callable[[], int]) -> None:
        """Sets where the number of dropped log lines is read."""
        self._dropped.set_function(dropped)

    def watch_queue(self, waiting: Callable[[], int]) -> None:
        """Sets where the number of waiting calls is read."""
        self._waiting.set_function(waiting)

    def text(self) -> bytes:
        """Returns all metrics in Prometheus' text format."""
        return bytes(exposition.generate_latest(self.registry))
