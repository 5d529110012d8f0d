"""The pages and their files; fastapi-offline has those of the interactive documentation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from starlette import staticfiles
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.errors import NotFound

PAGES = {"/": "index.html", "/docs": "docs.html"}
"""The file of each page, by its path."""
_HERE = Path(__file__).parent / "static"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
# The interactive documentation sets styles on its elements.
_DOCS_POLICY = _POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")


class StaticFiles(staticfiles.StaticFiles):
    """Starlette's application for files, with this server's headers and errors."""

    def __init__(self) -> None:
        super().__init__(directory=_HERE, packages=[("fastapi_offline", "static")])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        scope["route_path"] = "/static"
        await super().__call__(scope, receive, send)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Returns the response for a file's name.

        Raises:
          RequestError: if there is no such file.
          HTTPException: if the method is none for files.
        """
        try:
            return await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code == 405:
                raise HTTPException(405, headers={"allow": "GET"}) from None
            raise NotFound("There is no such file.") from None

    def file_response(
        self, full_path: str | os.PathLike[str], *args: Any, **kwargs: Any
    ) -> Response:
        """Returns the response for a file, or the one that it has not changed."""
        response = super().file_response(full_path, *args, **kwargs)
        is_docs = Path(full_path).name == PAGES["/docs"]
        response.headers["content-security-policy"] = _DOCS_POLICY if is_docs else _POLICY
        response.headers["cache-control"] = "no-cache"
        return response
