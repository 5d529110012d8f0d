"""The pages and their files, all read into memory at the start.

No path of a request is ever made a path of a file: what is not in the table is not there.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.types import Receive, Scope, Send

from serving.errors import NotFound, RequestError
from serving.wire import answer, error_answer

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
    body: bytes
    compressed: bytes
    content_type: bytes
    etag: bytes
    policy: bytes


class Pages:
    """An ASGI application for the pages and what belongs to them."""

    def __init__(self) -> None:
        self._files = _read_files()

    def has(self, path: str) -> bool:
        """Tells whether there is something at a path."""
        return path in self._files or path.startswith("/static/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        scope["route_path"] = scope["path"] if scope["path"] in self._files else "/static"
        try:
            await self._answer(scope, send)
        except RequestError as error:
            await error_answer(send, error)

    async def _answer(self, scope: Scope, send: Send) -> None:
        file = self._files.get(scope["path"])
        if file is None:
            raise NotFound("There is no such file.")
        if scope["method"] not in ("GET", "HEAD"):
            raise RequestError(405, f"Expected GET, found {scope['method']}.")
        asked = dict(scope["headers"])
        headers = [
            (b"etag", file.etag),
            (b"cache-control", b"no-cache"),
            (b"vary", b"accept-encoding"),
            (b"content-security-policy", file.policy),
        ]
        if asked.get(b"if-none-match") == file.etag:
            await answer(send, 304, b"", file.content_type, headers)
            return
        body = file.body
        if file.compressed and b"gzip" in asked.get(b"accept-encoding", b""):
            body = file.compressed
            headers.append((b"content-encoding", b"gzip"))
        await answer(send, 200, body, file.content_type, headers)


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
    return _File(
        body,
        gzip.compress(body, 6, mtime=0) if compress else b"",
        kind.encode("ascii"),
        b'"' + hashlib.sha256(body).hexdigest()[:20].encode("ascii") + b'"',
        policy.encode("ascii"),
    )
