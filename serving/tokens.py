"""The bearer token: reading it at the start, and checking requests."""

from __future__ import annotations

import asyncio
import hmac
import os
import re
import stat
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from serving.errors import RETRY, RequestError

TOKEN_VARIABLE = "SERVING_TOKEN"
_MOST_BYTES = 4_096
_SHORT = 16
_TOKEN = re.compile(r"[!-~]+")
_CHALLENGE = 'Bearer realm="movielens"'


class TokenError(ValueError):
    """A token that cannot be used."""


@dataclass(frozen=True)
class Token:
    """A token, and warnings about it.

    Args:
      value: the token; empty if none is required.
      warnings: a sentence each.
    """

    value: str = ""
    warnings: tuple[str, ...] = ()


def read_token(path: Path | None, environment: Mapping[str, str]) -> Token:
    """Reads the token from a file or else from the variable.

    Blanks and line breaks around it are ignored.

    Raises:
      TokenError: if the token is empty, cannot be read or is not one word of ASCII.
    """
    if path is not None:
        source = f"--token-file {path}"
        text, warnings = _read_file(path, source)
    elif TOKEN_VARIABLE in environment:
        source, text, warnings = f"${TOKEN_VARIABLE}", environment[TOKEN_VARIABLE], []
    else:
        return Token()
    token = text.strip()
    if not token:
        raise TokenError(
            f"Expected a token in {source}, found nothing."
            " Put one there, or leave the option or variable out to serve without a token."
        )
    if not _TOKEN.fullmatch(token):
        raise TokenError(
            f"Expected one token in {source}: one line of letters, digits and signs of ASCII"
            f" without blanks. Found {_describe(token)}."
        )
    if len(token) < _SHORT:
        warnings.append(
            f"the token has {len(token)} characters and can be guessed;"
            f" take {_SHORT} or more, such as those of 'openssl rand -hex 24'"
        )
    return Token(token, tuple(warnings))


def _read_file(path: Path, source: str) -> tuple[str, list[str]]:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_MOST_BYTES + 1)
        text = content.decode("utf-8")
    except (OSError, ValueError) as error:
        found = error.strerror if isinstance(error, OSError) else "bytes that are not UTF-8"
        raise TokenError(
            f"Expected a token in {source}, found a file that cannot be read: {found}."
            " Correct the path or the file, or leave the option out to serve without a token."
        ) from None
    if len(content) > _MOST_BYTES:
        raise TokenError(f"Expected at most {_MOST_BYTES} bytes in {source}, found more.")
    warnings = []
    if stat.S_ISREG(mode) and mode & (stat.S_IRGRP | stat.S_IROTH):
        warnings.append(f"others may read {path}; 'chmod 600' makes it yours alone")
    return text, warnings


def _describe(token: str) -> str:
    """Describes why a token is invalid, without showing it."""
    lines = len(token.splitlines())
    if lines > 1:
        return f"{lines} lines"
    if any(character.isspace() for character in token):
        return "a blank in it"
    return "another character in it"


# -- requests ----------------------------------------------------------------------------------


@dataclass
class _Guesses:
    """Wrong tokens from one address: how many lately, and how many responses are delayed."""

    count: float = 0.0
    at: float = 0.0
    held: int = 0


class TokenCheck:
    """Checks the token of requests, and slows down guessing. Belongs to one event loop.

    An address may send `FREE` wrong tokens, and one more for each second. Responses to further ones
    are delayed by `PAUSE` seconds, at most `MOST_HELD` at a time; while that many are delayed,
    tokens from that address are refused without a check.

    Args:
      token: the token; empty if none is required.
    """

    FREE = 30
    PAUSE = 0.5
    MOST_HELD = 8
    _MOST_ADDRESSES = 10_000

    def __init__(self, token: str) -> None:
        self.is_required = bool(token)
        self._token = token.encode("ascii")
        self._guesses: OrderedDict[str, _Guesses] = OrderedDict()

    async def check(self, authorization: bytes, address: str) -> None:
        """Checks the Authorization header of a request.

        Args:
          authorization: the header's value, empty if there is none.
          address: of the client.

        Raises:
          RequestError: 401 if the token is missing or wrong, 429 if too many were wrong.
        """
        guesses = self._guesses.get(address)
        if guesses is not None and guesses.held >= self.MOST_HELD and authorization:
            raise RequestError(429, "Too many wrong tokens came from this address.", RETRY)
        scheme, _, given = authorization.partition(b" ")
        is_bearer = scheme.lower() == b"bearer"
        if is_bearer and hmac.compare_digest(given.strip(b" \t"), self._token):
            return
        challenge = _CHALLENGE
        if authorization:
            challenge += ', error="invalid_token"' if is_bearer else ""
            await self._slow_down(address)
        raise RequestError(
            401,
            "Expected the header 'Authorization: Bearer <the server's token>',"
            f" found {'another token' if is_bearer else 'another scheme' if scheme else 'none'}.",
            {"www-authenticate": challenge},
        )

    async def _slow_down(self, address: str) -> None:
        now = asyncio.get_running_loop().time()
        guesses = self._guesses.setdefault(address, _Guesses(at=now))
        self._guesses.move_to_end(address)
        if len(self._guesses) > self._MOST_ADDRESSES:
            self._guesses.popitem(last=False)
        guesses.count = max(0.0, guesses.count - (now - guesses.at)) + 1
        guesses.at = now
        if guesses.count <= self.FREE:
            return
        guesses.held += 1
        # The pause counts also for a client that has closed the connection.
        asyncio.get_running_loop().call_later(self.PAUSE, _release, guesses)
        await asyncio.sleep(self.PAUSE)


def _release(guesses: _Guesses) -> None:
    guesses.held -= 1
