"""Requests and answers as ASGI has them."""

from __future__ import annotations

from collections.abc import Iterable

import orjson
from starlette.types import Receive, Send

from serving.errors import RequestError

Headers = Iterable[tuple[bytes, bytes]]
JSON = b"application/json"


async def read_body(receive: Receive) -> bytes:
    """Returns a request's whole body."""
    chunks = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            break
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            break
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def answer(
    send: Send, status: int, body: bytes, content_type: bytes = JSON, headers: Headers = ()
) -> None:
    """Sends an answer."""
    start = [
        (b"content-type", content_type),
        (b"content-length", str(len(body)).encode("ascii")),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})


def error_body(message: str) -> bytes:
    """Returns an error as every part of the server words it."""
    return orjson.dumps({"error": message.encode("utf-8", "replace").decode("utf-8")})


def error_headers(error: RequestError) -> list[tuple[bytes, bytes]]:
    """Returns the headers that go with an error."""
    headers = []
    if error.retry_after is not None:
        headers.append((b"retry-after", str(error.retry_after).encode("ascii")))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if error.status in (408, 413):
        # The rest of the body is not waited for.
        headers.append((b"connection", b"close"))
    return headers


async def error_answer(send: Send, error: RequestError) -> None:
    """Sends an error."""
    await answer(send, error.status, error_body(error.message), headers=error_headers(error))
