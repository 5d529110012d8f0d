"""What every request passes first and every answer last.

Request ids, the token, hosts, limits of size and time, security headers, the access log, the
counters, and the promise that no error of ours shows more than its request's id.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import secrets
import time
import traceback

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.config import Config
from serving.errors import RequestError
from serving.events import Log
from serving.metrics import Metrics
from serving.wire import error_answer

OPEN_PATHS = frozenset({"/", "/healthz", "/readyz", "/docs"})
"""Paths that need no token: health, and pages, which hold no data."""
OPEN_PREFIX = "/static/"

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})
_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
_ANSWER_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_UNCACHED = (b"cache-control", b"no-store")


class Gate:
    """An ASGI application around another one.

    Args:
      app: the application.
      config: how to serve.
      metrics: told each answer.
      log: told each answer, and each error with its trace.
    """

    def __init__(self, app: ASGIApp, config: Config, metrics: Metrics, log: Log) -> None:
        self._app = app
        self._config = config
        self._metrics = metrics
        self._log = log
        self._token = b"Bearer " + config.token.encode("utf-8") if config.token else b""
        self._hosts = frozenset(host.lower().encode("ascii") for host in config.allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        exchange = _Exchange(send, _request_id(headers))
        scope["request_id"] = exchange.request_id
        try:
            self._check(scope, headers)
            body = await self._body(headers, receive)
            exchange.started = time.perf_counter()
            await self._app(scope, _replay(body, receive), exchange.send)
        except RequestError as error:
            if not exchange.status:
                await error_answer(exchange.send, error)
        except Exception as error:
            await self._own_fault(error, exchange)
        finally:
            self._note(scope, exchange)

    def _check(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        """Checks what the head of a request says.

        Raises:
          RequestError: if the request is not to be answered.
        """
        host = re.sub(rb":\d*$", b"", headers.get(b"host", b"")).lower()
        if self._hosts and host not in self._hosts:
            raise RequestError(
                421,
                f"Expected the Host header to name one of {', '.join(self._config.allowed_hosts)},"
                f" found {host.decode('latin-1')!r}. Start the server with --allow-host to add it.",
            )
        path = scope["path"]
        is_open = path in OPEN_PATHS or path.startswith(OPEN_PREFIX)
        preflight = scope["method"] == "OPTIONS" and bool(self._config.cors_origins)
        if self._token and not is_open and not preflight:
            given = headers.get(b"authorization", b"")
            if not hmac.compare_digest(given, self._token):
                raise RequestError(
                    401, "Expected the header 'Authorization: Bearer <the server's token>'."
                )

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """Reads the whole body, so that a slow client holds nothing but its connection.

        Raises:
          RequestError: if it is too long or takes too long.
        """
        limit = self._config.max_body_bytes
        length = headers.get(b"content-length", b"0")
        if b"transfer-encoding" not in headers and length == b"0":
            return b""
        if length.isdigit() and int(length[:20]) > limit:
            raise _too_long(limit)
        try:
            return await asyncio.wait_for(_read(receive, limit), self._config.read_seconds)
        except asyncio.TimeoutError:
            raise RequestError(
                408, f"Expected the whole body within {self._config.read_seconds:g} s."
            ) from None

    async def _own_fault(self, error: Exception, exchange: _Exchange) -> None:
        self._log.error(
            "internal error",
            request_id=exchange.request_id.decode("ascii"),
            error=repr(error),
            trace=traceback.format_exc(),
        )
        if not exchange.status:
            message = (
                "Something went wrong inside of the server. Its log says more about request"
                f" {exchange.request_id.decode('ascii')}."
            )
            await error_answer(exchange.send, RequestError(500, message))

    def _note(self, scope: Scope, exchange: _Exchange) -> None:
        seconds = time.perf_counter() - exchange.started
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.request(_route(scope), method, exchange.status, seconds)
        self._log.request(
            request_id=exchange.request_id.decode("ascii"),
            client=scope["client"][0] if scope.get("client") else None,
            method=scope["method"],
            path=scope["path"][:200],
            status=exchange.status,
            bytes=exchange.length,
            milliseconds=round(seconds * 1e3, 3),
        )


class _Exchange:
    """One request's answer on its way out."""

    def __init__(self, send: Send, request_id: bytes) -> None:
        self._send = send
        self.request_id = request_id
        self.started = time.perf_counter()
        self.status = 0
        self.length = 0

    async def send(self, message: Message) -> None:
        """Sends a message of the application, with the headers that every answer has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message["headers"])
            names = {name for name, _ in headers}
            headers.append((b"x-request-id", self.request_id))
            headers.extend(_SECURITY_HEADERS)
            headers.extend(
                header for header in (_ANSWER_POLICY, _UNCACHED) if header[0] not in names
            )
            message = {**message, "headers": headers}
        else:
            self.length += len(message.get("body", b""))
        await self._send(message)


def _too_long(limit: int) -> RequestError:
    return RequestError(413, f"Expected a body of at most {limit} bytes. Send less at once.")


async def _read(receive: Receive, limit: int) -> bytes:
    chunks, length = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise RequestError(400, "The connection was closed before the body was complete.")
        chunks.append(message.get("body", b""))
        length += len(chunks[-1])
        if length > limit:
            raise _too_long(limit)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body that was read, and then what comes after it."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return pending.pop() if pending else await receive()

    return replayed


def _request_id(headers: dict[bytes, bytes]) -> bytes:
    given = headers.get(b"x-request-id", b"")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8).encode("ascii")


def _route(scope: Scope) -> str:
    """The path's pattern: of paths as such there is no end."""
    if "route_path" in scope:
        return str(scope["route_path"])
    return str(getattr(scope.get("route"), "path", "none"))
