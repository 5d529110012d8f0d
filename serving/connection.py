"""uvicorn's connection class with a time limit in every state and other limits.

uvicorn has no time limit for a request's head, for the rest of an unread body and for a client that
does not read its response; it has no limit for the length of a head, accepts HTTP/0.9 and refuses
health checks beyond its limit of connections. `docs/serving.md` compares other servers.
"""

from __future__ import annotations

import asyncio
import functools
import http
import re
import sys
from collections import deque
from collections.abc import Sequence
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from serving.addresses import network_of
from serving.config import Config
from serving.errors import error_body, shorten

MAX_HEAD_BYTES = 64 << 10
HEALTH_PATHS = (b"/healthz", b"/readyz")
_MAX_PIPELINED = 32
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 4 << 20
_RESERVED = 64
"""Connections accepted beyond the limit, for health checks only."""
_REQUEST_LINE = re.compile(rb"[!#-'*+.^_`|~0-9A-Za-z-]{1,32} \S+ HTTP/1\.[01]\r?\n")
_AUTHORITY_ENDS = re.compile(rb"[/?#]")
_ONCE = frozenset({b"host", b"authorization", b"content-type", b"content-encoding", b"origin"})


class OpenConnections:
    """The open connections of one server.

    A new connection beyond a limit closes the one that has waited longest for its client: for a
    request, for the rest of one or until a response is read. Connections with a running request
    are never closed.

    Args:
      config: the server's configuration, with the limits.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self._most_per_address = min(config.max_connections_per_address, config.max_connections)
        self._open: set[Connection] = set()
        self._of_address: dict[str, int] = {}

    def add(self, connection: Connection) -> bool:
        """Counts a connection; returns whether it is within the limits.

        Aborts it if even the reserve is used up.
        """
        self._open.add(connection)
        mine = self._of_address.get(connection.address, 0) + 1
        self._of_address[connection.address] = mine
        if mine > self._most_per_address:
            of_address = [one for one in self._open if one.address == connection.address]
            fits = self._make_room(connection, of_address)
        else:
            fits = len(self._open) <= self.config.max_connections or self._make_room(
                connection, list(self._open)
            )
        if len(self._open) > self.config.max_connections + _RESERVED:
            connection.transport.abort()
        return fits

    def remove(self, connection: Connection) -> None:
        """Forgets a connection; does nothing if it is forgotten already."""
        if connection not in self._open:
            return
        self._open.discard(connection)
        left = self._of_address[connection.address] - 1
        if left:
            self._of_address[connection.address] = left
        else:
            del self._of_address[connection.address]

    def _make_room(self, newest: Connection, candidates: list[Connection]) -> bool:
        waiting = [one for one in candidates if one is not newest and not one.is_answering]
        if not waiting:
            return False
        oldest = min(waiting, key=lambda one: one.waiting_since)
        self.remove(oldest)
        oldest.drop()
        return True


class Connection(HttpToolsProtocol):
    """A connection with a time limit in every state.

    Args:
      open_connections: those of the server.
    """

    def __init__(self, *args: Any, open_connections: OpenConnections, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._all = open_connections
        self._config = open_connections.config
        self._clock: asyncio.TimerHandle | None = None
        self._write_clock: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._size = 0
        self._data = b""
        self._in_body = False
        self._unanswered = 0
        self._cycles: deque[RequestResponseCycle] = deque()
        self._refusal: bytes | None = None
        self._is_refused = False
        self._discarded = 0
        self._overflow = False
        self.address = ""
        self.waiting_since = 0.0
        self.is_stopping = False
        self.is_lost = False
        self.task: asyncio.Task[Any] | None = None
        """The running request; cancelled if the client closes the connection."""

    @property
    def is_answering(self) -> bool:
        """Whether the server owes a response that the client reads."""
        return self._is_owing and self._write_clock is None

    @property
    def _is_owing(self) -> bool:
        return self._unanswered - self._in_body > 0

    # -- the connection --------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Starts the clock for the first request."""
        super().connection_made(transport)
        self.address = network_of(self.client[0]) if self.client else ""
        self._start_clock(self._config.read_seconds)
        self._overflow = not self._all.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the clocks, and cancels the running request."""
        self.is_lost = True
        self._all.remove(self)
        self._stop_clocks()
        for cycle in self._cycles:
            # uvicorn does this for the newest only.
            cycle.disconnected = True
            cycle.message_event.set()
        if self.task is not None:
            self.task.cancel()
        super().connection_lost(exc)

    def eof_received(self) -> None:
        """Starts the clock for the transport to close."""
        self._start_clock(self._config.read_seconds)

    def shutdown(self) -> None:
        """Makes the running request the last one: the server stops."""
        self.is_stopping = True
        super().shutdown()

    def drop(self) -> None:
        """Closes at once, to make room for others."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self._close()

    def _close(self) -> None:
        self.transport.close()
        # Without a clock it would wait for ever for a client that does not read.
        self._start_clock(self._config.read_seconds)

    # -- reading ---------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Counts the bytes of a head, and parses."""
        if self._refusal is not None:
            self._discard(data)
            return
        if not self._in_body:
            if not self._head_bytes:
                self._start_clock(self._config.read_seconds)
            self._head_bytes += len(data)
            # The latest read may include a body, which is counted elsewhere.
            if self._head_bytes - len(data) > MAX_HEAD_BYTES:
                self._refuse(431, _LONG_HEAD)
                return
        self._data = data
        super().data_received(data)

    def _discard(self, data: bytes) -> None:
        """Discards the bytes after a refused request."""
        if not self._is_refused:
            self.flow.pause_reading()
            return
        self._discarded += len(data)
        if self._discarded > _LINGER_BYTES:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """Resets the counter of a head."""
        super().on_message_begin()
        self._size = 0
        self._head_bytes = self._head_bytes or 1

    def on_url(self, url: bytes) -> None:
        """Counts a piece of the request's target."""
        super().on_url(url)
        self._size += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Counts a header."""
        self._size += len(name) + len(value) + 4
        if self._size <= MAX_HEAD_BYTES:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Checks a complete head, and starts the clock for the body."""
        if self._refusal is not None:
            return
        problem = self._problem()
        if problem is not None:
            self._refuse(*problem)
            return
        self._in_body = True
        self._unanswered += 1
        # The type of the scope knows the keys of ASGI alone; others may be added.
        self.scope["serving.connection"] = self  # type: ignore[typeddict-unknown-key]
        # Longer than `Bodies` waits for the body, so that it answers first.
        self._start_clock(2 * self._config.read_seconds + 5)
        super().on_headers_complete()
        self._cycles.append(self.cycle)

    def on_body(self, body: bytes) -> None:
        """Passes a piece of a body on, unless the request is refused."""
        if self._refusal is None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Starts the clock for the response: the request is complete."""
        if self._refusal is not None:
            return
        super().on_message_complete()
        self._in_body, self._head_bytes, self._data = False, 0, b""
        if self._unanswered:
            self._start_clock(self._config.answer_seconds)

    def _problem(self) -> tuple[int, str] | None:
        """Returns status and message of the error in a head, if it has one."""
        version = self.parser.get_http_version()
        if version not in ("1.0", "1.1"):
            return 505, f"Expected HTTP/1.1 or HTTP/1.0, found HTTP/{version}."
        if self._size > MAX_HEAD_BYTES:
            return 431, _LONG_HEAD
        if len(self.pipeline) >= _MAX_PIPELINED:
            return 503, f"Expected at most {_MAX_PIPELINED} requests that wait for an answer."
        return _problem_of(self.headers, version) or self._take_target()

    def _take_target(self) -> tuple[int, str] | None:
        """Makes the host of `GET http://host/path` the Host header (RFC 9112, section 3.2.2)."""
        if not self.url.startswith((b"/", b"*")):
            target = httptools.parse_url(self.url)
            if target.schema not in (b"http", b"https") or not target.host:
                return 400, "Expected a path or an http URL as the request's target."
            # The authority ends where the path or the query begins (RFC 3986).
            authority = _AUTHORITY_ENDS.split(self.url.partition(b"://")[2], maxsplit=1)[0]
            others = [header for header in self.headers if header[0] != b"host"]
            self.headers[:] = [*others, (b"host", authority.rpartition(b"@")[2])]
            self.url = self.url.partition(b"://")[2][len(authority) :]
            self.url = self.url if self.url.startswith(b"/") else b"/" + self.url
        path = self.url.partition(b"?")[0].removeprefix(self._config.root_path.encode("ascii"))
        if self._overflow and path not in HEALTH_PATHS:
            return 503, "The server has too many connections. Try again in a second."
        return None

    # -- answering -------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        """Starts the clock for the next request: a response is complete."""
        self._cycles.popleft()
        super().on_response_complete()
        self._unset_keepalive_if_required()
        self._unanswered -= 1
        if self._refusal is not None and not self._is_owing:
            self._write_refusal()
        elif self.transport.is_closing() or self._head_bytes:
            self._start_clock(self._config.read_seconds)
        elif self._unanswered:
            self._start_clock(self._config.answer_seconds)
        else:
            self._start_clock(self._config.idle_seconds)

    def pause_writing(self) -> None:
        """Starts the clock for a client that does not read."""
        super().pause_writing()
        if self._write_clock is None:
            self.waiting_since = self.loop.time()
            self._write_clock = self.loop.call_later(
                self._config.read_seconds, self.transport.abort
            )

    def resume_writing(self) -> None:
        """Stops the clock: the client reads again."""
        if self._write_clock is not None:
            self._write_clock.cancel()
            self._write_clock = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuses bytes that are not HTTP."""
        unknown_method = isinstance(sys.exc_info()[1], httptools.HttpParserInvalidMethodError)
        if unknown_method and _REQUEST_LINE.match(self._data):
            self._refuse(501, "Expected a method of HTTP such as GET or POST, found another one.")
        else:
            self._refuse(400, "Expected a request of HTTP/1.1, found something else.")

    def _refuse(self, status: int, message: str) -> None:
        """Sends an error after the responses that are still owed, and closes."""
        if self._refusal is not None:
            return
        self._refusal = _response(status, message, bool(self._config.cors_origins))
        if not self._is_owing:
            self._write_refusal()

    def _write_refusal(self) -> None:
        cycle = self.cycle
        started = False
        if self._in_body and cycle is not None and not cycle.response_complete:
            # Ends the reading of the broken body.
            started = cycle.response_started
            cycle.disconnected = True
            cycle.message_event.set()
        self._is_refused = True
        if started or self.transport.is_closing():
            self._close()
            return
        self.transport.write(self._refusal or b"")
        # Closing with unread bytes resets the connection, and the client may lose the response.
        self.transport.write_eof()
        self.flow.resume_reading()
        self._start_clock(min(_LINGER_SECONDS, self._config.read_seconds))

    # -- clocks ----------------------------------------------------------------------------

    def _start_clock(self, seconds: float) -> None:
        if self._clock is not None:
            self._clock.cancel()
        self.waiting_since = self.loop.time()
        self._clock = self.loop.call_later(seconds, self._overdue)

    def _stop_clocks(self) -> None:
        for clock in (self._clock, self._write_clock):
            if clock is not None:
                clock.cancel()
        self._clock = self._write_clock = None

    def _overdue(self) -> None:
        if self.transport.is_closing() or self._is_refused:
            self.transport.abort()
        elif self._is_owing and (self._head_bytes or self._in_body):
            # A request is running: the next one has to wait for it anyway.
            self._start_clock(self._config.read_seconds)
        elif self._head_bytes and not self._in_body:
            self._refuse(408, f"Expected the head within {self._config.read_seconds:g} s.")
        elif self._in_body or self._is_owing:
            self.transport.abort()
        else:
            self._close()


_LONG_HEAD = f"Expected a head of at most {MAX_HEAD_BYTES} bytes."


def _problem_of(headers: Sequence[tuple[bytes, bytes]], version: str) -> tuple[int, str] | None:
    names = [name for name, _ in headers if name in _ONCE]
    if len(names) != len(set(names)):
        twice = next(name for name in names if names.count(name) > 1).decode("ascii")
        return 400, f"Expected the header {twice!r} once, found it more often."
    if b"host" not in names and version == "1.1":
        return 400, "Expected a Host header, as HTTP/1.1 requires it, found none."
    codings = b",".join(value for name, value in headers if name == b"transfer-encoding")
    if codings and codings.strip().lower() != b"chunked":
        return (
            501,
            f"Expected the transfer coding 'chunked', found {shorten(codings.decode('latin-1'))}.",
        )
    return None


def _response(status: int, message: str, cors: bool) -> bytes:
    body = error_body(message)
    head = (
        f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        "cache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close\r\n"
    )
    if status == 503:
        head += "retry-after: 1\r\n"
    if cors:
        # The origin may be unknown, since it is in the head. The message has no secret.
        head += "access-control-allow-origin: *\r\n"
    return head.encode("ascii") + b"\r\n" + body


def connections(config: Config) -> Any:
    """Returns the factory of connections for uvicorn."""
    return functools.partial(Connection, open_connections=OpenConnections(config))
