"""What both APIs share: the served version, the batcher, the metrics and the log."""

from __future__ import annotations

from collections.abc import Callable

from serving.access_log import Log
from serving.batching import Batcher
from serving.config import Config
from serving.errors import ModelError, ModelFault
from serving.metrics import Metrics
from serving.recommender import Recommender
from serving.signatures import Call
from serving.versions import Versions


class Service:
    """Runs calls on the newest working version.

    Args:
      config: the server's configuration.
      log: the server's log.
      ready: called after each change of the served version.
    """

    def __init__(
        self,
        config: Config,
        log: Log,
        ready: Callable[[Recommender], None] = lambda recommender: None,
    ) -> None:
        self.config = config
        self.log = log
        self.metrics = Metrics()
        self._ready = ready
        self.batcher = Batcher(config.batching, self._called, self._call_failed)
        self.metrics.queue_length.set_function(lambda: self.batcher.waiting)
        self.metrics.dropped_lines.set_function(lambda: log.dropped)
        self.versions = Versions(config, log, self._changed, self._failed)

    def _changed(self, recommender: Recommender) -> None:
        self.metrics.version.set(recommender.model.version)
        self.metrics.loads.inc()
        self._ready(recommender)

    def _failed(self, error: ModelError) -> None:
        self.metrics.load_failures.labels(error.code).inc()

    def _called(self, rows: int, seconds: float) -> None:
        self.metrics.batch_rows.observe(rows)
        self.metrics.batch_seconds.observe(seconds)

    def _call_failed(self, call: Call, fault: ModelFault) -> None:
        self.metrics.call_failures.labels(fault.kind).inc()
        self.log.error(
            "a call of the model failed", version=str(call.model.version), reason=fault.reason
        )

    def stop(self) -> None:
        """Stops, after the last response; does not wait for calls that hang."""
        self.versions.stop()
        self.batcher.close()
