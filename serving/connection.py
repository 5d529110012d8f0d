"""Connections that cannot be held open for nothing.

uvicorn waits as long as a client likes for a request's head and for an answer to be taken, and
lets a head be as long as it likes. A server that everybody may reach cannot afford that.
"""

from __future__ import annotations

import asyncio
import functools
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 << 10


class Connection(HttpToolsProtocol):
    """uvicorn's connection with limits.

    Args:
      read_seconds: how long a request's head may take to arrive, an answer to be taken, and
        an idle connection to be used again.
    """

    def __init__(self, *args: Any, read_seconds: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_seconds = read_seconds
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._in_head = True

    def connection_made(self, transport: Any) -> None:
        """Starts the clock: the first request is due."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the clocks."""
        self._stop_head_timer()
        self._stop_write_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Counts what comes before the end of a head."""
        if self._in_head:
            if self._head_timer is None:
                self._expect_head()
            self._head_bytes += len(data)
            # What exceeds the limit by one read may be the body: it is counted elsewhere.
            if self._head_bytes - len(data) > MAX_HEAD_BYTES:
                self._refuse(b"431 Request Header Fields Too Large", b"The head is too long.")
                return
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """A head arrived: stops its clock."""
        self._in_head = False
        self._stop_head_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A request arrived: the next bytes are a head again."""
        super().on_message_complete()
        self._in_head, self._head_bytes = True, 0

    def pause_writing(self) -> None:
        """The client does not take its answer: starts the clock."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self._read_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client takes its answer again."""
        self._stop_write_timer()
        super().resume_writing()

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(self._read_seconds, self._head_overdue)

    def _head_overdue(self) -> None:
        self._head_timer = None
        if self.transport.is_closing():
            return
        if self._head_bytes:
            self._refuse(b"408 Request Timeout", b"The request's head took too long.")
        else:
            self.transport.close()

    def _refuse(self, status: bytes, message: bytes) -> None:
        body = b'{"error": "' + message + b'"}'
        self.transport.write(
            b"HTTP/1.1 "
            + status
            + b"\r\ncontent-type: application/json\r\ncontent-length: "
            + str(len(body)).encode("ascii")
            + b"\r\nconnection: close\r\n\r\n"
            + body
        )
        self.transport.close()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None


def connections(read_seconds: float) -> Any:
    """Returns what makes connections, as uvicorn wants it."""
    return functools.partial(Connection, read_seconds=read_seconds)
