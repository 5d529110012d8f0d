"""Errors that a caller of the server gets to see."""

from __future__ import annotations

from collections.abc import Sequence


class RequestError(Exception):
    """A request that is answered with an error.

    Args:
      status: the HTTP status code.
      message: what was expected, what was found and what to do, in one line.
      retry_after: seconds after which trying again makes sense, if it does.
      headers: further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        retry_after: int | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after
        self.headers = headers


class InvalidInput(RequestError):
    """The model or the server cannot do anything with the values of a request."""

    def __init__(self, message: str) -> None:
        super().__init__(400, message)


class ModelFault(RequestError):
    """The model failed on values that its signature allows, or answered with NaN or infinity.

    Args:
      kind: "failed" or "not_finite", for the counters.
      reason: the model's own message, for the log; callers do not see it.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(500, "The model failed on this request. The server's log has the details.")
        self.kind = kind
        self.reason = reason


class NotFound(RequestError):
    """What a request names does not exist."""

    def __init__(self, message: str) -> None:
        super().__init__(404, message)


class Overloaded(RequestError):
    """More requests wait than the server wants to promise an answer to."""

    def __init__(self, waiting: int) -> None:
        super().__init__(
            503, f"The server is busy: {waiting} requests wait. Try again in a second.", 1
        )


class NotReady(RequestError):
    """No version of the model is loaded."""

    def __init__(self) -> None:
        super().__init__(
            503, "No version of the model is loaded yet; /readyz says what is going on.", 1
        )


class DeadlineExceeded(RequestError):
    """The answer would come later than anybody waits for it."""

    def __init__(self, seconds: float) -> None:
        super().__init__(504, f"No answer within {seconds:g} s. Try again in a second.", 1)


class ModelError(Exception):
    """A version of the model that cannot be served, and why.

    Args:
      code: the name of TensorFlow's error code, as model status answers give it.
      message: what is wrong.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def shorten(value: object, length: int = 60) -> str:
    """Returns the value as text that fits into a message."""
    text = repr(value)
    return text if len(text) <= length else f"{text[: length - 1]}…"
