"""What pages of other origins may do: nothing, unless their origin is allowed."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from serving.errors import RequestError
from serving.wire import error_body

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


def check_origin(method: str, headers: Mapping[bytes, bytes], allowed: Collection[str]) -> None:
    """Checks that a request that can cost something was not sent by a page of another site.

    A browser asks before it lets a page send JSON elsewhere, but not for `text/plain`, whatever
    is in it. It says where a page is from (https://www.w3.org/TR/fetch-metadata/,
    https://fetch.spec.whatwg.org/#origin-header); other programs say nothing.

    Args:
      method: of the request.
      headers: of the request.
      allowed: origins whose pages may call; `*` allows all.

    Raises:
      RequestError: 403 if it was.
    """
    if method in _SAFE_METHODS or "*" in allowed:
        return
    origin = headers.get(b"origin", b"").decode("latin-1")
    if origin in allowed:
        return
    site = headers.get(b"sec-fetch-site", b"").lower()
    if site in (b"same-origin", b"none"):
        return
    if not site and (not origin or _is_own(origin, headers)):
        return
    raise RequestError(
        403,
        f"Expected a request of the server's own page, found one of {origin or 'another site'}."
        " Start the server with --cors-origin to allow it.",
    )


def _is_own(origin: str, headers: Mapping[bytes, bytes]) -> bool:
    """Tells whether an origin is where the server, or the proxy before it, is asked.

    A page cannot set these headers of a request that the browser did not ask about before.
    """
    scheme, _, place = origin.lower().partition("://")
    if scheme not in ("http", "https"):
        return False
    names = (b"host", b"x-forwarded-host")
    hosts = {
        part.strip().decode("latin-1").lower()
        for name in names
        for part in headers.get(name, b"").split(b",")
        if part.strip()
    }
    default = ":443" if scheme == "https" else ":80"
    return place in {host.removesuffix(default) for host in hosts}


class CorsMiddleware(CORSMiddleware):
    """Starlette's, for this server: its methods and headers, and errors in the usual form."""

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        super().__init__(
            app,
            allow_origins=list(origins),
            allow_methods=["GET", "HEAD", "POST"],
            allow_headers=["authorization", "content-type", "content-encoding", "x-request-id"],
            expose_headers=["x-request-id", "retry-after", "etag", "allow", "www-authenticate"],
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answers what a browser asks before it lets a page call."""
        response = super().preflight_response(request_headers)
        if response.status_code == 200:
            return response
        message = f"{bytes(response.body).decode()}: pages of this origin may not do that."
        refusal = Response(error_body(message), 400, media_type="application/json")
        kept = ("access-control-", "vary")
        refusal.headers.update(
            {name: value for name, value in response.headers.items() if name.startswith(kept)}
        )
        return refusal
