"""A file from a server that is not trusted: resumed, and within limits of size and time."""

from __future__ import annotations

import os
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import IO

import requests
import urllib3

CONNECT_SECONDS, READ_SECONDS = 4.0, 10.0
ANSWER_SECONDS = 8.0
"""Until the first byte in all: the other two do not cover name look-up and redirections."""

BLOCK_SECONDS = 20.0
"""For each `_BLOCK_BYTES`: slower, a download is given up."""

TOTAL_SECONDS = 300.0
"""For each 50 MB that may come."""

_BLOCK_BYTES = 4096
_MAX_REDIRECTS = 5
# Signs in the messages of the libraries, most telling first.
_REASONS = {
    "IncompleteRead": "cut off: the connection closed before the end",
    "Connection refused": "connection refused",
    "NameResolutionError": "the server's name cannot be resolved",
    "Name or service not known": "the server's name cannot be resolved",
    "unreachable": "the network cannot be reached",
    "CERTIFICATE_VERIFY_FAILED": "the server's certificate is not trusted",
    "Read timed out": "cut off: no more data in time",
    "Connection reset": "cut off: the connection was reset",
    "RemoteDisconnected": "cut off: the server closed the connection",
    "Connection broken": "cut off: the connection broke",
}


class TransferError(Exception):
    """Why a file did not come, in a few words."""


class _RefusedError(Exception):
    """The server does what no server of a plain file does: nothing of it is kept."""


def receive(
    url: str, target: IO[bytes], limit: int, progress: Callable[[int, int], None] = lambda *_: None
) -> None:
    """Appends to a file what comes after its end; keeps that if the connection breaks.

    Args:
      url: of the file.
      target: what was received of it before, to append to.
      limit: the largest size of the whole.
      progress: called with the bytes received, and those announced (0: none were).

    Raises:
      TransferError: it was refused, cut off, too large or too slow.
      OSError: `target` cannot be written.
    """
    try:
        with _answer(url, target.seek(0, os.SEEK_END)) as response:
            if not _is_whole(response, target.tell()):
                total = _begin(response, target, limit)
                _take(response, target, limit, total, progress)
    except _RefusedError as error:
        target.truncate(0)
        raise TransferError(str(error)) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        raise TransferError(_reason(error)) from error
    finally:
        target.flush()


def _answer(url: str, start: int) -> requests.Response:
    """Returns the answer; looks for it in a thread that is left behind when that takes too long.

    Nothing else ends a look-up of a name, or headers that come a byte a second: a time limit on
    reading starts anew with each byte.
    """
    found: Future[requests.Response] = Future()

    def work() -> None:
        try:
            found.set_result(_request(url, start))
        except Exception as error:  # handed over to the caller's thread
            found.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        return found.result(ANSWER_SECONDS)
    except FutureTimeoutError as error:
        raise TransferError("no answer in time") from error


def _request(url: str, start: int) -> requests.Response:
    """Returns the answer after redirections, its body, from a byte on, not read yet."""
    # A zip file is compressed already; then the length announced is that of the file.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with requests.Session() as session:
        # Its own way reads the bodies of redirections, and unpacks them.
        vars(session)["resolve_redirects"] = lambda *_args, **_kwargs: iter(())
        for _ in range(_MAX_REDIRECTS + 1):
            timeout = (CONNECT_SECONDS, READ_SECONDS)
            response = session.get(url, stream=True, timeout=timeout, headers=headers)
            if not response.is_redirect:
                return response
            response.close()
            url = urllib.parse.urljoin(url, response.headers["Location"])
    raise _RefusedError(f"more than {_MAX_REDIRECTS} redirections")


def _is_whole(response: requests.Response, received: int) -> bool:
    """Returns whether nothing comes after what there is; refuses if that is of another file."""
    if response.status_code != 416:
        return False
    if response.headers.get("Content-Range") != f"bytes */{received}":
        raise _RefusedError("no such part")
    return True


def _begin(response: requests.Response, target: IO[bytes], limit: int) -> int:
    """Returns the size that is announced, 0 if none is; starts anew where the whole file comes."""
    response.raise_for_status()
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        plain = "although the request accepts a plain file alone"
        raise _RefusedError(f"compressed ({encoding[:40]}), {plain}")
    found = response.headers.get("Content-Range", "")
    if response.status_code != 206:
        target.truncate(0)
    elif not found.startswith(f"bytes {target.tell()}-"):
        raise _RefusedError(f"another part than the requested one: {found[:40]}")
    length = int(response.headers.get("Content-Length") or 0)
    total = length and length + target.seek(0, os.SEEK_END)
    if total > limit:
        raise _RefusedError(f"more than {limit:,} bytes: {total:,}")
    return total


def _take(
    response: requests.Response,
    target: IO[bytes],
    limit: int,
    total: int,
    progress: Callable[[int, int], None],
) -> None:
    """Appends the body."""
    received = target.tell()
    for block in _blocks(response, TOTAL_SECONDS * max(1.0, limit / 50e6)):
        received += len(block)
        if received > limit:
            raise _RefusedError(f"more than {limit:,} bytes")
        target.write(block)
        progress(received, total)
    if received < total:
        raise TransferError(f"cut off after {received:,} of {total:,} bytes")


def _blocks(response: requests.Response, most_seconds: float) -> Iterator[bytes]:
    """Yields the body as it is sent, a block at a time: whatever is packed in it stays packed."""
    block, received, started = b"", 0, time.monotonic()
    since = started
    while data := response.raw.read1(_BLOCK_BYTES, decode_content=False):
        block, received, now = block + data, received + len(data), time.monotonic()
        if now - since > BLOCK_SECONDS or now - started > most_seconds:
            raise TransferError(f"too slow: {received:,} bytes in {now - started:.0f} seconds")
        if len(block) >= _BLOCK_BYTES:
            yield block
            block, since = b"", now
    yield block


def _reason(error: Exception) -> str:
    """Returns what went wrong in a few words; libraries say it in many lines."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        reason = "".join(filter(str.isprintable, str(error.response.reason)))
        return f"HTTP {error.response.status_code} {reason[:60]}".strip()
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy does not let it through"
    text = str(error)
    found = (reason for sign, reason in _REASONS.items() if sign in text)
    return next(found, f"{type(error).__name__}: {text}".splitlines()[0][:120])
