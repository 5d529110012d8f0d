"""The ASGI application: middleware around the API, TensorFlow Serving's API and the pages."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from urllib.parse import quote, unquote_to_bytes

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.api import make_api
from serving.cross_origin import CorsMiddleware
from serving.middleware import AccessLogMiddleware, RequestLimitsMiddleware, without_root
from serving.rest import PREFIX, RestApi
from serving.service import Service


def make_application(service: Service) -> ASGIApp:
    """Returns the ASGI application.

    Args:
      service: started and stopped with the application.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.versions.start()
        try:
            yield
        finally:
            service.stop()

    api, rest, config = make_api(service, lifespan), RestApi(service), service.config

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(f"{PREFIX}/"):
            await rest(scope, receive, send)
            return
        if scope["type"] == "http" and b"%" in scope["raw_path"]:
            # An id may have a slash: each part of the path is decoded after it is matched.
            scope["path"] = without_root(_encoded(scope["raw_path"]), config.root_path)
        await api(scope, receive, send)

    app: ASGIApp = RequestLimitsMiddleware(route, config, service.log)
    if config.cors_origins:
        # Around the limits, so that pages of these origins may read why a request is refused.
        app = CorsMiddleware(app, config.cors_origins)
    return AccessLogMiddleware(app, config, service.metrics, service.log)


def _encoded(raw_path: bytes) -> str:
    """Returns a path in which each part between slashes is percent-encoded in one way."""
    return "/".join(quote(unquote_to_bytes(part), safe="") for part in raw_path.split(b"/"))
