"""A file from a server that is not trusted: resumed, and within limits of size and time."""

from __future__ import annotations

import os
import threading
import time
import urllib.parse
from collections.abc import Callable
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
    """The server breaks a limit of a plain file transfer; what it has sent is discarded."""


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
    transfer = _Transfer(url, target, limit, progress)
    try:
        transfer.run()
    except _RefusedError as error:
        target.truncate(0)
        raise TransferError(str(error)) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        raise TransferError(_reason(error)) from error
    finally:
        target.flush()


class _Transfer:
    """A download in a thread of its own, which is left behind when it takes too long.

    Nothing else ends a look-up of a name, or a server that sends a byte a second: a time limit on
    reading starts again with each byte.
    """

    def __init__(
        self, url: str, target: IO[bytes], limit: int, progress: Callable[[int, int], None]
    ) -> None:
        self._url, self._target, self._limit, self._progress = url, target, limit, progress
        self._received, self._total = target.seek(0, os.SEEK_END), 0
        self._answered = self._given_up = False
        self._last = time.monotonic()
        self._failure: Exception | None = None

    def run(self) -> None:
        """Downloads the file; raises the exception of the thread, if there is one."""
        started, first = self._last, self._received
        end = started + TOTAL_SECONDS * max(1.0, self._limit / 50e6)
        thread = threading.Thread(target=self._work, daemon=True)
        thread.start()
        while thread.is_alive() and not self._given_up:
            most = BLOCK_SECONDS if self._answered else ANSWER_SECONDS
            left = min(self._last + most, end) - time.monotonic()
            thread.join(max(0.0, left))
            self._given_up = left <= 0 and thread.is_alive()
        if self._failure is not None:
            raise self._failure
        if self._given_up and not self._answered:
            raise TransferError("no answer in time")
        received, seconds = self._received - first, time.monotonic() - started
        if self._given_up:
            raise TransferError(f"too slow: {received:,} bytes in {seconds:.0f} seconds")
        if self._received < self._total:
            raise TransferError(f"cut off after {self._received:,} of {self._total:,} bytes")

    def _work(self) -> None:
        try:
            with _request(self._url, self._received) as response:
                self._take(response)
        except Exception as error:  # handed over to the caller's thread
            self._failure = error

    def _take(self, response: requests.Response) -> None:
        """Appends the body as it is sent, without decompressing it."""
        found = response.headers.get("Content-Range", "")
        if response.status_code == 416:
            # Nothing comes after what there is: it is whole, or of another file.
            if found != f"bytes */{self._received}":
                raise _RefusedError("no such part")
            return
        response.raise_for_status()
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in ("", "identity"):
            plain = "although the request accepts a plain file alone"
            raise _RefusedError(f"compressed ({encoding[:40]}), {plain}")
        if response.status_code != 206:  # the whole file, as a server without ranges sends it
            self._received = self._target.truncate(0)
        elif not found.startswith(f"bytes {self._received}-"):
            raise _RefusedError(f"another part than the requested one: {found[:40]}")
        length = int(response.headers.get("Content-Length") or 0)
        self._total = length and length + self._received
        if self._total > self._limit:
            raise _RefusedError(f"more than {self._limit:,} bytes: {self._total:,}")
        self._took(0)
        while block := response.raw.read(_BLOCK_BYTES, decode_content=False):
            if self._given_up:
                return
            self._took(len(block))
            if self._received > self._limit:
                raise _RefusedError(f"more than {self._limit:,} bytes")
            self._target.write(block)
            self._progress(self._received, self._total)

    def _took(self, count: int) -> None:
        self._received += count
        self._answered, self._last = True, time.monotonic()


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
