"""The log: one JSON object per line, for what happens and for each request."""

from __future__ import annotations

import datetime
import threading
from typing import IO, Any

import orjson


class Log:
    """Writes events as lines of JSON.

    Args:
      stream: binary; where to.
      requests: whether each request is an event.
    """

    def __init__(self, stream: IO[bytes], requests: bool = True) -> None:
        self._stream = stream
        self._requests = requests
        self._lock = threading.Lock()

    def info(self, message: str, **fields: Any) -> None:
        """Something happened as it should."""
        self._write("info", message, fields)

    def warning(self, message: str, **fields: Any) -> None:
        """Something to look at."""
        self._write("warning", message, fields)

    def error(self, message: str, **fields: Any) -> None:
        """Something went wrong."""
        self._write("error", message, fields)

    def request(self, **fields: Any) -> None:
        """A request was answered."""
        if self._requests:
            self._write("info", "request", fields)

    def _write(self, level: str, message: str, fields: dict[str, Any]) -> None:
        now = datetime.datetime.now(datetime.timezone.utc)
        line = orjson.dumps(
            {"time": now, "level": level, "message": message, **fields},
            default=repr,
            option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z,
        )
        with self._lock:
            try:
                self._stream.write(line)
                self._stream.flush()
            except (OSError, ValueError):
                # Nobody reads it any more. That is no reason not to answer.
                pass
