"""Reading and decompressing request bodies, within limits of size, time and memory."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from starlette.types import Receive

from serving.errors import RETRY, InvalidInput, RequestError

Headers = Mapping[bytes, bytes]
_GZIP = 16 + zlib.MAX_WBITS
_CODINGS = {b"gzip": _GZIP, b"x-gzip": _GZIP, b"deflate": zlib.MAX_WBITS}
_CHARSETS = frozenset({b"utf-8", b"utf8", b"us-ascii", b"ascii"})
_CLOSE = {"connection": "close"}


def has_body(headers: Headers) -> bool:
    """Returns whether a request has a body."""
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"


def check_type(headers: Headers, json_only: bool) -> None:
    """Checks the Content-Type header.

    Args:
      headers: of the request.
      json_only: whether another type than JSON is refused.

    Raises:
      RequestError: 415 if it is not JSON or its charset is not UTF-8.
    """
    kind, *parameters = (
        part.strip().lower() for part in headers.get(b"content-type", b"").split(b";")
    )
    is_json = kind == b"application/json" or (
        kind.startswith(b"application/") and kind.endswith(b"+json")
    )
    if json_only and kind and not is_json:
        raise RequestError(
            415,
            f"Expected the header 'content-type: application/json', found {_text(kind)!r}."
            " With curl: -H 'content-type: application/json'.",
        )
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        if name == b"charset" and value.strip(b'"') not in _CHARSETS:
            raise RequestError(415, f"Expected text in UTF-8, found charset {_text(value)!r}.")


class Bodies:
    """Reads bodies. Belongs to one event loop.

    Args:
      limit: bytes of one body, both as sent and decompressed.
      seconds: how long one may take to arrive.
      total: bytes of all bodies that are held at the same time.
    """

    def __init__(self, limit: int, seconds: float, total: int) -> None:
        self._limit = limit
        self._seconds = seconds
        self._free = total

    @asynccontextmanager
    async def read(self, headers: Headers, receive: Receive) -> AsyncIterator[bytes]:
        """Reads a whole body before anything else is done for the request.

        Raises:
          RequestError: if it is too long, takes too long or has an unknown content coding.
        """
        bits = _window_bits(headers)
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > self._limit:
            raise self._too_long()
        taken: list[int] = []
        try:
            raw = await self._receive_in_time(receive, taken)
            yield raw if bits is None else self._decompress(raw, bits)
        finally:
            self._free += sum(taken)

    async def _receive_in_time(self, receive: Receive, taken: list[int]) -> bytes:
        try:
            return await asyncio.wait_for(self._receive(receive, taken), self._seconds)
        except asyncio.TimeoutError:
            raise RequestError(
                408, f"Expected the whole body within {self._seconds:g} s.", _CLOSE
            ) from None

    async def _receive(self, receive: Receive, taken: list[int]) -> bytes:
        chunks, length = [], 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise RequestError(400, "The connection was closed before the body was complete.")
            chunk = message.get("body", b"")
            if len(chunk) > self._free:
                raise RequestError(503, "The server is busy with long requests.", RETRY)
            self._free -= len(chunk)
            taken.append(len(chunk))
            chunks.append(chunk)
            length += len(chunk)
            if length > self._limit:
                raise self._too_long()
            if not message.get("more_body", False):
                return b"".join(chunks)

    def _decompress(self, raw: bytes, bits: int) -> bytes:
        decompressor = zlib.decompressobj(bits)
        try:
            body = decompressor.decompress(raw, self._limit + 1)
        except zlib.error as error:
            raise InvalidInput(f"Expected a body as content-encoding says: {error}.") from None
        if len(body) > self._limit:
            raise self._too_long()
        if not decompressor.eof or decompressor.unused_data:
            raise InvalidInput(
                "Expected one complete piece of compressed data as the body, found"
                f" {'more after it' if decompressor.eof else 'only its beginning'}."
            )
        return body

    def _too_long(self) -> RequestError:
        return RequestError(
            413,
            f"Expected a body of at most {self._limit} bytes, decompressed. Send less at once.",
            _CLOSE,
        )


def _window_bits(headers: Headers) -> int | None:
    """Returns zlib's `wbits` for a body's content coding, None if it is not compressed."""
    coding = headers.get(b"content-encoding", b"").strip().lower()
    if coding in (b"", b"identity"):
        return None
    if coding not in _CODINGS:
        raise RequestError(
            415,
            f"Expected content-encoding gzip, deflate or none, found {_text(coding)!r}.",
            {"accept-encoding": "gzip, deflate, identity"},
        )
    return _CODINGS[coding]


def _text(value: bytes) -> str:
    return value[:60].decode("latin-1")
