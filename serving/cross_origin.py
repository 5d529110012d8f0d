"""Requests from pages of other origins: refused unless the origin is allowed."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from serving.errors import RequestError

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


def check_origin(method: str, headers: Mapping[bytes, bytes], allowed: Collection[str]) -> None:
    """Refuses POSTs and the like from pages of other sites.

    A browser sends a preflight request before a cross-origin request with JSON, but not with
    `text/plain`. It names the page's origin (https://www.w3.org/TR/fetch-metadata/,
    https://fetch.spec.whatwg.org/#origin-header); other programs do not.

    Args:
      method: of the request.
      headers: of the request.
      allowed: origins whose pages may call; `*` allows all.

    Raises:
      RequestError: 403 if the page is of another site.
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
    """Returns whether an origin is the request's own host, or the proxy's.

    A page cannot set these headers without a preflight request.
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
    """Starlette's middleware with this server's methods, headers and form of errors."""

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        super().__init__(
            app,
            allow_origins=list(origins),
            allow_methods=["GET", "HEAD", "POST"],
            allow_headers=["authorization", "content-type", "content-encoding", "x-request-id"],
            expose_headers=["x-request-id", "retry-after", "etag", "allow", "www-authenticate"],
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """Returns the response to a preflight request."""
        response = super().preflight_response(request_headers)
        if response.status_code == 200:
            return response
        message = f"{bytes(response.body).decode()}: pages of this origin may not do that."
        kept = {
            name: value
            for name, value in response.headers.items()
            if name.startswith(("access-control-", "vary"))
        }
        return RequestError(400, message, kept).response()
