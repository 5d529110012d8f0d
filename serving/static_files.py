"""The pages and their files, read into memory at the start.

A request's path is looked up in a table and never used as a path of the file system.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

import starlette.staticfiles
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.errors import NotFound, RequestError

_HERE = Path(__file__).parent / "static"
_PAGES = {"/": "index.html", "/docs": "docs.html"}
_DOCS_FILES = ("swagger-ui-bundle.js", "swagger-ui.css")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
# The interactive documentation sets styles on its elements.
_DOCS_POLICY = _POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
_WORTH_COMPRESSING = 1_000


@dataclass(frozen=True)
class _File:
    """A file; its entity tag is weak, since it is that of both representations (RFC 9110, 8.8)."""

    body: bytes
    compressed: bytes
    headers: Mapping[str, str]

    def response(self, given: Headers) -> Response:
        """Returns the response to a GET with these headers."""
        compressed = bool(self.compressed) and takes_gzip(given.get("accept-encoding", ""))
        strong = Headers({**self.headers, "etag": self.headers["etag"].removeprefix("W/")})
        if _CONDITIONS.is_not_modified(strong, given):
            # With every header of the file: those of this answer replace them in caches.
            kept = {name: self.headers[name] for name in self.headers if name != "content-type"}
            return Response(status_code=304, headers=kept)
        encoding = {"content-encoding": "gzip"} if compressed else {}
        body = self.compressed if compressed else self.body
        return Response(body, headers={**self.headers, **encoding})


_CONDITIONS = starlette.staticfiles.StaticFiles(directory=_HERE)


class StaticFiles:
    """An ASGI application for the pages, their scripts and their styles.

    Attributes:
      files: the files by path.
    """

    def __init__(self) -> None:
        self.files = _read_files()

    def has(self, path: str) -> bool:
        """Returns whether this application serves a path."""
        return path in self.files or path.startswith("/static/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        file = self.files.get(scope["path"])
        scope["route_path"] = scope["path"] if file is not None else "/static"
        if file is None:
            response = NotFound("There is no such file.").response()
        elif scope["method"] != "GET":
            message = f"Expected GET, found {scope['method']}."
            response = RequestError(405, message, {"allow": "GET, HEAD"}).response()
        else:
            response = file.response(Headers(scope=scope))
        await response(scope, receive, send)


def takes_gzip(accepted: str) -> bool:
    """Returns whether an Accept-Encoding header allows gzip; `gzip;q=0` does not."""
    weights: dict[str, float] = {}
    for part in accepted.lower().split(","):
        coding, _, parameter = part.partition(";")
        name, _, weight = parameter.strip().partition("=")
        try:
            weights[coding.strip()] = float(weight) if name.strip() == "q" else 1.0
        except ValueError:
            weights[coding.strip()] = 0.0
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


def _read_files() -> Mapping[str, _File]:
    files = {f"/static/{path.name}": _file(path, _POLICY) for path in sorted(_HERE.iterdir())}
    for path, name in _PAGES.items():
        files[path] = _file(_HERE / name, _DOCS_POLICY if path == "/docs" else _POLICY)
    bundled = _bundled_docs()
    for name in _DOCS_FILES:
        files[f"/static/{name}"] = _file(bundled / name, _POLICY)
    return files


def _bundled_docs() -> Path:
    spec = importlib.util.find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise RuntimeError("fastapi-offline is not installed; see requirements/serving.in.")
    return Path(spec.origin).parent / "static"


def _file(path: Path, policy: str) -> _File:
    body = path.read_bytes()
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if kind.startswith("text/") or kind == "application/javascript":
        kind += "; charset=utf-8"
    text = kind.startswith(("text/", "application/javascript", "image/svg"))
    compress = text and len(body) > _WORTH_COMPRESSING
    headers = {
        "content-type": kind,
        "etag": f'W/"{hashlib.sha256(body).hexdigest()[:20]}"',
        "last-modified": formatdate(int(path.stat().st_mtime), usegmt=True),
        "cache-control": "no-cache",
        "vary": "accept-encoding",
        "content-security-policy": policy,
    }
    return _File(body, gzip.compress(body, 6, mtime=0) if compress else b"", headers)
