"""Reading request bodies from ASGI messages, and sending responses."""

from __future__ import annotations

from collections.abc import Iterable

import orjson
from starlette.types import Receive, Send

from serving.access_log import printable
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


async def send_response(
    send: Send, status: int, body: bytes, content_type: bytes = JSON, headers: Headers = ()
) -> None:
    """Sends a whole response."""
    start = [*headers]
    if status not in (204, 304):
        length = str(len(body)).encode("ascii")
        start += [(b"content-type", content_type), (b"content-length", length)]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})


def error_body(message: str) -> bytes:
    """Returns the body of an error response, `{"error": message}`; control characters escaped."""
    text = printable(message).encode("utf-8", "replace").decode("utf-8")
    return orjson.dumps({"error": text})


def internal_error_message(request_id: str) -> str:
    """Returns the message for an unexpected error of the server."""
    return (
        f"Something went wrong inside the server. Its log has the details of request {request_id}."
    )


def error_headers(error: RequestError) -> list[tuple[bytes, bytes]]:
    """Returns the headers that go with an error."""
    headers = [*error.headers]
    if error.retry_after is not None:
        headers.append((b"retry-after", str(error.retry_after).encode("ascii")))
    return headers


async def send_error(send: Send, error: RequestError) -> None:
    """Sends an error response."""
    await send_response(send, error.status, error_body(error.message), headers=error_headers(error))
