"""Errors of requests, which clients see, and of versions of the model."""

from __future__ import annotations

import json
from collections.abc import Mapping

import orjson
from starlette.responses import Response

from serving.access_log import printable

RETRY = {"retry-after": "1"}
"""The headers of an error after which trying again in a second makes sense."""


class RequestError(Exception):
    """A request that is answered with an error.

    Args:
      status: the HTTP status code.
      message: what was expected, what was found and what to do, in one line.
      headers: further headers of the answer.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers

    def response(self) -> Response:
        """Returns the answer."""
        return Response(error_body(self.message), self.status, self.headers, "application/json")


def error_body(message: str) -> bytes:
    """Returns the body of an error response, `{"error": message}`; control characters escaped."""
    text = printable(message).encode("utf-8", "replace").decode("utf-8")
    return orjson.dumps({"error": text})


class InvalidInput(RequestError):
    """A value of a request is invalid."""

    def __init__(self, message: str) -> None:
        super().__init__(400, message)


class ModelFault(RequestError):
    """The model failed on valid inputs, or an output has NaN or infinity.

    Args:
      kind: "failed" or "not_finite", for the metrics.
      reason: the model's own message, for the log; clients do not see it.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(500, "The model failed on this request. The server's log has the details.")
        self.kind = kind
        self.reason = reason


class NotFound(RequestError):
    """The user, movie, model or path of a request does not exist."""

    def __init__(self, message: str) -> None:
        super().__init__(404, message)


class Overloaded(RequestError):
    """The queue of calls is full."""

    def __init__(self, waiting: int) -> None:
        super().__init__(
            503, f"The server is busy: {waiting} requests wait. Try again in a second.", RETRY
        )


class InternalError(RequestError):
    """An unexpected error of the server; the log has it under the id of the request."""

    def __init__(self, request_id: str) -> None:
        super().__init__(
            500,
            "Something went wrong inside the server. Its log has the details of request"
            f" {request_id}.",
        )


class ModelError(Exception):
    """A version of the model that cannot be served.

    Args:
      code: the name of a TensorFlow error code, as in model status responses.
      message: the reason, after the words "version N".
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def shorten(value: object, length: int = 60) -> str:
    """Returns a value as JSON, text as its repr, cut to a length that fits into a message."""
    is_text = isinstance(value, str | bytes)
    text = repr(value) if is_text else json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= length else f"{text[: length - 1]}…"
