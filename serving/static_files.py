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
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path

from starlette.types import Receive, Scope, Send

from serving.asgi import send_error, send_response
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
    body: bytes
    compressed: bytes
    content_type: bytes
    etag: bytes
    gzip_etag: bytes
    modified: bytes
    policy: bytes


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
        scope["route_path"] = scope["path"] if scope["path"] in self.files else "/static"
        try:
            await self._answer(scope, send)
        except RequestError as error:
            await send_error(send, error)

    async def _answer(self, scope: Scope, send: Send) -> None:
        file = self.files.get(scope["path"])
        if file is None:
            raise NotFound("There is no such file.")
        if scope["method"] != "GET":
            raise RequestError(
                405, f"Expected GET, found {scope['method']}.", headers=[(b"allow", b"GET, HEAD")]
            )
        given = dict(scope["headers"])
        compressed = bool(file.compressed) and takes_gzip(given.get(b"accept-encoding", b""))
        headers = [
            (b"etag", file.gzip_etag if compressed else file.etag),
            (b"last-modified", file.modified),
            (b"cache-control", b"no-cache"),
            (b"vary", b"accept-encoding"),
            (b"content-security-policy", file.policy),
        ]
        tags = (file.etag, file.gzip_etag)
        if not matches(given.get(b"if-match"), tags, weakly=False):
            raise RequestError(412, "The file's entity tag is not in the header If-Match.")
        if _is_current(given, tags, file.modified):
            await send_response(send, 304, b"", file.content_type, headers)
            return
        if compressed:
            headers.append((b"content-encoding", b"gzip"))
        await send_response(
            send, 200, file.compressed if compressed else file.body, file.content_type, headers
        )


def _is_current(given: Mapping[bytes, bytes], tags: tuple[bytes, bytes], modified: bytes) -> bool:
    """Returns whether the client's copy is current (RFC 9110, section 13.2.2)."""
    if b"if-none-match" in given:
        return matches(given[b"if-none-match"], tags, weakly=True)
    return is_unmodified_since(given.get(b"if-modified-since", b""), modified)


def matches(condition: bytes | None, tags: tuple[bytes, ...], weakly: bool) -> bool:
    """Returns whether a condition such as `"a", W/"b"` or `*` has one of a file's entity tags.

    Args:
      condition: the header's value; None is always met.
      tags: of the file's representations.
      weakly: whether `W/"a"` equals `"a"`.
    """
    if condition is None or condition.strip() == b"*":
        return True
    named = (part.strip() for part in condition.split(b","))
    return any((part.removeprefix(b"W/") if weakly else part) in tags for part in named)


def is_unmodified_since(condition: bytes, modified: bytes) -> bool:
    """Returns whether a file is no newer than a date; False where it is not a date."""
    try:
        return parsedate_to_datetime(condition.decode("ascii")) >= parsedate_to_datetime(
            modified.decode("ascii")
        )
    except (ValueError, TypeError, OverflowError):
        return False


def takes_gzip(accepted: bytes) -> bool:
    """Returns whether an Accept-Encoding header allows gzip; `gzip;q=0` does not."""
    weights: dict[bytes, float] = {}
    for part in accepted.lower().split(b","):
        coding, _, parameter = part.partition(b";")
        name, _, weight = parameter.strip().partition(b"=")
        try:
            weights[coding.strip()] = float(weight) if name.strip() == b"q" else 1.0
        except ValueError:
            weights[coding.strip()] = 0.0
    return weights.get(b"gzip", weights.get(b"x-gzip", weights.get(b"*", 0.0))) > 0


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
    digest = hashlib.sha256(body).hexdigest()[:20]
    return _File(
        body,
        gzip.compress(body, 6, mtime=0) if compress else b"",
        kind.encode("ascii"),
        f'"{digest}"'.encode("ascii"),
        f'"{digest}-gzip"'.encode("ascii"),
        formatdate(int(path.stat().st_mtime), usegmt=True).encode("ascii"),
        policy.encode("ascii"),
    )
