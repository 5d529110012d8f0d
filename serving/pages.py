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
from email.utils import formatdate, parsedate_to_datetime
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
    packed_etag: bytes
    modified: bytes
    policy: bytes


class Pages:
    """An ASGI application for the pages and what belongs to them.

    Attributes:
      files: what there is, by path.
    """

    def __init__(self) -> None:
        self.files = _read_files()

    def has(self, path: str) -> bool:
        """Tells whether there is something at a path."""
        return path in self.files or path.startswith("/static/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        scope["route_path"] = scope["path"] if scope["path"] in self.files else "/static"
        try:
            await self._answer(scope, send)
        except RequestError as error:
            await error_answer(send, error)

    async def _answer(self, scope: Scope, send: Send) -> None:
        file = self.files.get(scope["path"])
        if file is None:
            raise NotFound("There is no such file.")
        if scope["method"] != "GET":
            raise RequestError(
                405, f"Expected GET, found {scope['method']}.", headers=[(b"allow", b"GET, HEAD")]
            )
        asked = dict(scope["headers"])
        packed = bool(file.compressed) and takes_gzip(asked.get(b"accept-encoding", b""))
        headers = [
            (b"etag", file.packed_etag if packed else file.etag),
            (b"last-modified", file.modified),
            (b"cache-control", b"no-cache"),
            (b"vary", b"accept-encoding"),
            (b"content-security-policy", file.policy),
        ]
        tags = (file.etag, file.packed_etag)
        if not matches(asked.get(b"if-match"), tags, weakly=False):
            raise RequestError(412, "The file is another one than the header If-Match names.")
        if _has_it(asked, tags, file.modified):
            await answer(send, 304, b"", file.content_type, headers)
            return
        if packed:
            headers.append((b"content-encoding", b"gzip"))
        await answer(
            send, 200, file.compressed if packed else file.body, file.content_type, headers
        )


def _has_it(asked: Mapping[bytes, bytes], tags: tuple[bytes, bytes], modified: bytes) -> bool:
    """Tells whether the client has a file already (RFC 9110, section 13.2.2)."""
    if b"if-none-match" in asked:
        return matches(asked[b"if-none-match"], tags, weakly=True)
    return is_unmodified_since(asked.get(b"if-modified-since", b""), modified)


def matches(condition: bytes | None, tags: tuple[bytes, ...], weakly: bool) -> bool:
    """Tells whether a condition such as `"a", W/"b"` or `*` names one of a file's tags.

    Args:
      condition: the header's value; no header is always met.
      tags: of the file's representations.
      weakly: whether `W/"a"` stands for `"a"`.
    """
    if condition is None or condition.strip() == b"*":
        return True
    named = (part.strip() for part in condition.split(b","))
    return any((part.removeprefix(b"W/") if weakly else part) in tags for part in named)


def is_unmodified_since(condition: bytes, modified: bytes) -> bool:
    """Tells whether a file is no newer than a date; of what is no date, never."""
    try:
        return parsedate_to_datetime(condition.decode("ascii")) >= parsedate_to_datetime(
            modified.decode("ascii")
        )
    except (ValueError, TypeError, OverflowError):
        return False


def takes_gzip(accepted: bytes) -> bool:
    """Tells whether an Accept-Encoding header allows gzip; `gzip;q=0` does not."""
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
