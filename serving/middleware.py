"""Middleware of every request.

`AccessLogMiddleware` is the outermost: request ids, security headers, the access log, the metrics.
`RequestLimitsMiddleware` checks host, token, origin, and type and size of the body, and answers
unexpected errors with status 500 and the request's id alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import time
import traceback
from collections.abc import AsyncIterator

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.access_log import Log, printable
from serving.addresses import network_of
from serving.bodies import Bodies, check_type, has_body
from serving.config import Config
from serving.cross_origin import check_origin
from serving.errors import InternalError, RequestError
from serving.metrics import Metrics
from serving.tokens import TokenCheck

OPEN_PATHS = frozenset({"/", "/healthz", "/readyz", "/docs"})
"""Paths that need no token: health, and pages, which contain no data."""
OPEN_PREFIX = "/static/"
_JSON_PREFIX = "/api/"

_LINGER_SECONDS = 2.0
_LINGER_BYTES = 4 << 20
_CLIENT_LEFT = 499
"""Status in log and metrics where the client closed the connection first, as in nginx."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}
)
_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
_ANSWER_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_UNCACHED = (b"cache-control", b"no-store")
_CLOSE = (b"connection", b"close")


class AccessLogMiddleware:
    """Adds request id and security headers to each response, logs and counts it.

    Args:
      app: the ASGI application inside.
      config: the server's configuration.
      metrics: counts the responses.
      log: gets a line for each response.
    """

    def __init__(self, app: ASGIApp, config: Config, metrics: Metrics, log: Log) -> None:
        self._app = app
        self._root = config.root_path
        self._vary = ((b"vary", b"origin"),) if config.cors_origins else ()
        self._metrics = metrics
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method, headers = scope["method"], dict(scope["headers"])
        exchange = _Exchange(scope, headers, receive, send, self._vary)
        inner: Scope = {
            **scope,
            "exchange": exchange,
            "request_id": exchange.request_id,
            # The server below sends no body in an answer to HEAD.
            "method": "GET" if method == "HEAD" else method,
            "path": without_root(scope["path"], self._root),
            "headers_by_name": headers,
        }
        try:
            if self._root and scope["path"] == self._root:
                place = Response(status_code=308, headers={"location": f"{self._root}/"})
                await place(inner, exchange.receive, exchange.send)
            else:
                await self._app(inner, exchange.receive, exchange.send)
            await exchange.finish()
        except asyncio.CancelledError:
            if not exchange.has_lost_client:
                raise
            exchange.status = exchange.status or _CLIENT_LEFT
        finally:
            exchange.release()
            self._note(inner, method, exchange)

    def _note(self, scope: Scope, method: str, exchange: _Exchange) -> None:
        seconds = time.perf_counter() - exchange.started
        counted = method if method in _METHODS else "other"
        route = _route(scope)
        self._metrics.requests.labels(route, counted, str(exchange.status)).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        self._log.request(
            request_id=exchange.request_id.decode("ascii"),
            client=scope["client"][0] if scope.get("client") else None,
            method=method,
            path=printable(scope["path"][:200]),
            status=exchange.status,
            bytes=exchange.length,
            milliseconds=round(seconds * 1e3, 3),
        )


class _Exchange:
    """One request and its response."""

    def __init__(
        self,
        scope: Scope,
        headers: dict[bytes, bytes],
        receive: Receive,
        send: Send,
        vary: tuple[tuple[bytes, bytes], ...],
    ) -> None:
        self._receive, self._send, self._vary = receive, send, vary
        self._connection = scope.get("serving.connection")
        if self._connection is not None:
            self._connection.task = asyncio.current_task()
        self._unread = has_body(headers)
        self._last: Message | None = None
        self.request_id = _request_id(headers)
        self.started = time.perf_counter()
        self.status = 0
        self.length = 0

    @property
    def has_lost_client(self) -> bool:
        """Whether the connection was closed before the response was complete."""
        return self._connection is not None and self._connection.is_lost

    async def receive(self) -> Message:
        """Receives a message of the request."""
        message = await self._receive()
        if not message.get("more_body", False):
            # Latency counts from here: before, the client takes the time.
            self._unread = False
            self.started = time.perf_counter()
        return message

    async def send(self, message: Message) -> None:
        """Sends a message of the application, with the headers of every response."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            await self._send({**message, "headers": self._headers(message["headers"])})
            return
        self.length += len(message.get("body", b""))
        if self._unread and not message.get("more_body", False):
            # The connection is closed with the last message, which `finish` sends.
            self._last = {**message, "body": b""}
            message = {**message, "more_body": True}
        await self._send(message)

    def _headers(self, given: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        names = {name for name, _ in given}
        headers = [*given, (b"x-request-id", self.request_id), *_SECURITY_HEADERS]
        headers += [header for header in (_ANSWER_POLICY, _UNCACHED) if header[0] not in names]
        if self._vary and (b"vary", b"Origin") not in given:
            headers += self._vary
        stopping = self._connection is not None and self._connection.is_stopping
        if (self._unread or stopping) and _CLOSE not in given:
            headers.append(_CLOSE)
        return headers

    async def finish(self) -> None:
        """Completes a response that was sent before the request's body was read.

        The rest of the body is read and discarded first: closing a connection with unread bytes
        resets it, and the client may lose the response.
        """
        if self._last is None:
            return
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._discard(), _LINGER_SECONDS)
        await self._send(self._last)

    async def _discard(self) -> None:
        length = 0
        while length < _LINGER_BYTES:
            message = await self._receive()
            length += len(message.get("body", b""))
            if not message.get("more_body", False):
                return

    def release(self) -> None:
        """Detaches the request from its connection: a lost connection no longer cancels it."""
        if self._connection is not None:
            self._connection.task = None


class RequestLimitsMiddleware:
    """Refuses requests that break a limit, and answers unexpected errors.

    Args:
      app: the ASGI application inside.
      config: the server's configuration.
      log: gets each unexpected error with its stack trace.
    """

    def __init__(self, app: ASGIApp, config: Config, log: Log) -> None:
        self._app = app
        self._config = config
        self._log = log
        self._token = TokenCheck(config.token)
        self._bodies = Bodies(config.max_body_bytes, config.read_seconds, config.max_bodies_bytes)
        self._hosts = frozenset(host.lower().encode("ascii") for host in config.allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._check(scope)
            async with self._body(scope, receive) as replay:
                await self._app(scope, replay, send)
        except Exception as error:
            refusal = error if isinstance(error, RequestError) else self._unexpected(error, scope)
            if not scope["exchange"].status:
                await refusal.response()(scope, receive, send)

    async def _check(self, scope: Scope) -> None:
        """Checks the head of a request.

        Raises:
          RequestError: if the request is refused.
        """
        headers, method, path = scope["headers_by_name"], scope["method"], scope["path"]
        self._check_host(headers)
        if method not in _METHODS:
            raise RequestError(501, f"The method {method} is not supported. See /docs.")
        if self._token.is_required and path not in OPEN_PATHS and not path.startswith(OPEN_PREFIX):
            address = network_of(scope["client"][0]) if scope.get("client") else ""
            await self._token.check(headers.get(b"authorization", b""), address)
        check_origin(method, headers, self._config.cors_origins)
        expected = headers.get(b"expect", b"100-continue").lower()
        if expected != b"100-continue":
            raise RequestError(417, "Expected the header Expect to be '100-continue' or absent.")

    def _check_host(self, headers: dict[bytes, bytes]) -> None:
        host = re.sub(rb":\d*$", b"", headers.get(b"host", b"")).lower()
        if self._hosts and host not in self._hosts:
            raise RequestError(
                421,
                f"Expected the Host header to name one of {', '.join(self._config.allowed_hosts)},"
                f" found {host.decode('latin-1')!r}. Start the server with --allow-host to add it.",
            )

    @contextlib.asynccontextmanager
    async def _body(self, scope: Scope, receive: Receive) -> AsyncIterator[Receive]:
        """Reads the whole body; yields a `receive` that replays it.

        Raises:
          RequestError: if the body is refused.
        """
        headers = scope["headers_by_name"]
        if not has_body(headers):
            yield _replay(b"", receive)
            return
        check_type(headers, json_only=scope["path"].startswith(_JSON_PREFIX))
        async with self._bodies.read(headers, receive) as body:
            yield _replay(body, receive)

    def _unexpected(self, error: Exception, scope: Scope) -> RequestError:
        request_id = scope["request_id"].decode("ascii")
        self._log.error(
            "internal error",
            request_id=request_id,
            error=repr(error),
            trace=traceback.format_exc(),
        )
        return InternalError(request_id)


def without_root(path: str, root: str) -> str:
    """Returns a path without the prefix under which a proxy shows the server, if it has it."""
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def _replay(body: bytes, receive: Receive) -> Receive:
    """Returns a `receive` that gives the body, and then the messages after it."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return pending.pop() if pending else await receive()

    return replayed


def _request_id(headers: dict[bytes, bytes]) -> bytes:
    given = headers.get(b"x-request-id", b"")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8).encode("ascii")


def _route(scope: Scope) -> str:
    """Returns the path's pattern: metrics by path would grow without limit."""
    if "route_path" in scope:
        return str(scope["route_path"])
    return str(getattr(scope.get("route"), "path_format", "none"))
