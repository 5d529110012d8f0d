"""Stopping within a time limit: a call of TensorFlow that hangs cannot be interrupted."""

from __future__ import annotations

import os
import threading
from types import FrameType

import uvicorn

from serving.access_log import Log


class StoppableServer(uvicorn.Server):
    """uvicorn's server, with a time limit from the signal to the end of the process.

    Args:
      config: uvicorn's configuration.
      log: flushed before the end.
      seconds: the limit.
    """

    def __init__(self, config: uvicorn.Config, log: Log, seconds: float) -> None:
        super().__init__(config)
        self._log = log
        self._seconds = seconds
        self._clock: threading.Timer | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Starts the clock at the first signal."""
        if self._clock is None:
            self._clock = threading.Timer(self._seconds, self._end)
            self._clock.daemon = True
            self._clock.start()
        super().handle_exit(sig, frame)

    def _end(self) -> None:
        self._log.flush()
        os._exit(0)


def end(code: int, log: Log) -> None:
    """Ends the process if a thread is still running, after the log is written; else returns.

    The interpreter would wait for such a thread, or free memory that TensorFlow still uses.
    """
    log.flush()
    for thread in threading.enumerate():
        if thread.name.startswith(_QUICK):
            thread.join(_QUICK_SECONDS)
    if any(thread.name.startswith(_SLOW) for thread in threading.enumerate()):
        os._exit(code)


_QUICK = ("close-",)
_QUICK_SECONDS = 2.0
_SLOW = ("close-", "load", "versions", "tensorflow")
"""Beginnings of the names of threads that may hang."""
