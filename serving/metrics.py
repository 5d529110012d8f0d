"""What Prometheus gets to see."""

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
    """The server's counters. One per server, so that tests can have several."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "http_requests",
            "Requests answered.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "http_request_duration_seconds",
            "From the request's last byte to the answer's.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._version = Gauge(
            "serving_model_version",
            "The version that answers; 0 while none.",
            registry=self.registry,
        )
        self._loads = Counter(
            "serving_model_loads", "Versions that were loaded and served.", registry=self.registry
        )
        self._failures = Counter(
            "serving_model_load_failures",
            "Versions that could not be loaded or answered nonsense.",
            ("code",),
            registry=self.registry,
        )
        self._faults = Counter(
            "serving_model_faults",
            "Calls that the model failed on or answered with NaN or infinity.",
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
            "serving_calls_waiting", "Calls that wait for TensorFlow.", registry=self.registry
        )

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def batch(self, rows: int, seconds: float) -> None:
        """TensorFlow was called."""
        self._rows.observe(rows)
        self._model_seconds.observe(seconds)

    def serves(self, version: int) -> None:
        """A version was loaded and answers from now on."""
        self._version.set(version)
        self._loads.inc()

    def load_failed(self, code: str) -> None:
        """A version was refused."""
        self._failures.labels(code).inc()

    def model_fault(self, kind: str) -> None:
        """The model failed on a call that it should have answered."""
        self._faults.labels(kind).inc()

    def watch_log(self, dropped: Callable[[], int]) -> None:
        """Reads the number of dropped lines whenever the metrics are read."""
        self._dropped.set_function(dropped)

    def watch_queue(self, waiting: Callable[[], int]) -> None:
        """Takes the number of waiting calls whenever somebody looks."""
        self._waiting.set_function(waiting)

    def text(self) -> bytes:
        """Returns all of them in Prometheus' text format."""
        return bytes(exposition.generate_latest(self.registry))
