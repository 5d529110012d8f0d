"""The log: one JSON object per line, for each event and each request.

Logging never blocks: lines go into a queue, and a thread writes them. While the stream accepts
none and the queue is full, further lines are dropped and counted.
"""

from __future__ import annotations

import collections
import contextlib
import datetime
import json
import os
import re
import select
import threading
import time
from typing import IO, Any

_LINES = 10_000
_BYTES = 4 << 20
_FLUSH_SECONDS = 2.0
_RETRY_SECONDS = 1.0


class Log:
    """Writes lines of JSON.

    Args:
      stream: binary.
      requests: whether each request gets a line.
      lines: how many lines may wait to be written.
    """

    def __init__(self, stream: IO[bytes], requests: bool = True, lines: int = _LINES) -> None:
        self._stream = stream
        self._requests = requests
        self._most = lines
        self._waiting: collections.deque[bytes] = collections.deque()
        self._bytes = 0
        self._writing = False
        self._changed = threading.Condition()
        self._unreported = 0
        self._dropped = 0
        self._thread: threading.Thread | None = None

    @property
    def dropped(self) -> int:
        """How many lines were dropped."""
        return self._dropped

    def info(self, message: str, **fields: Any) -> None:
        """Logs at level info."""
        self._put("info", message, fields)

    def warning(self, message: str, **fields: Any) -> None:
        """Logs at level warning."""
        self._put("warning", message, fields)

    def error(self, message: str, **fields: Any) -> None:
        """Logs at level error."""
        self._put("error", message, fields)

    def request(self, **fields: Any) -> None:
        """Logs a request, if requests are logged."""
        if self._requests:
            self._put("info", "request", fields)

    def flush(self, seconds: float = _FLUSH_SECONDS) -> bool:
        """Waits until everything is written, at most `seconds`; returns whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._writing, seconds)

    def _put(self, level: str, message: str, fields: dict[str, Any]) -> None:
        line = _line(level, message, fields)
        with self._changed:
            if len(self._waiting) >= self._most or self._bytes + len(line) > _BYTES:
                self._dropped += 1
                self._unreported += 1
                return
            self._waiting.append(line)
            self._bytes += len(line)
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting))
                lines = list(self._waiting)
                self._waiting.clear()
                self._bytes = 0
                self._writing = True
            written = self._write(b"".join(lines))
            with self._changed:
                self._writing = False
                if not written:
                    self._dropped += len(lines)
                    self._unreported += len(lines)
                elif self._unreported:
                    self._waiting.append(_line("warning", "lines of the log were dropped",
                                               {"lines": self._unreported}))  # fmt: skip
                    self._unreported = 0
                self._changed.notify_all()
            if not written:
                time.sleep(_RETRY_SECONDS)

    def _write(self, lines: bytes) -> bool:
        # Not through the stream's buffer, which would keep what cannot be written.
        stream = getattr(self._stream, "raw", self._stream)
        rest = memoryview(lines)
        try:
            while rest:
                written = stream.write(rest)
                if written is None:  # A pipe that does not block, and is full.
                    select.select([], [stream], [], _RETRY_SECONDS)
                rest = rest[written or 0 :]
        except (OSError, ValueError):
            # The reader is closed, or the disk is full: the server continues without its log.
            return False
        return True


def announce(text: str) -> None:
    """Writes a line to standard output in a thread, so that a full pipe does not block."""

    def write() -> None:
        with contextlib.suppress(OSError):
            os.write(1, f"{printable(text)}\n".encode("utf-8", "backslashreplace"))

    threading.Thread(target=write, name="announce", daemon=True).start()


def printable(text: str) -> str:
    """Returns text with control and invisible characters escaped."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def _line(level: str, message: str, fields: dict[str, Any]) -> bytes:
    now = datetime.datetime.now(datetime.timezone.utc).isoformat().replace("+00:00", "Z")
    document = {"time": now, "level": level, "message": message, **fields}
    # In ASCII: whatever a terminal would act upon is escaped, and so are halves of surrogate pairs.
    text = json.dumps(document, default=repr).replace("\x7f", "\\u007f")
    return f"{text}\n".encode("ascii")


# Controls, marks of direction, separators of lines and paragraphs, invisible characters.
_UNPRINTABLE = re.compile(
    "[\\x00-\\x09\\x0b-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e"
    "\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]"
)
