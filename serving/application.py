"""The whole application, put together."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.api import make_api
from serving.browsers import CorsMiddleware
from serving.gate import Checks, Gate
from serving.pages import Pages
from serving.rest import PREFIX, RestApi
from serving.service import Service


def make_application(service: Service) -> ASGIApp:
    """Returns the ASGI application: the gate, and behind it APIs and pages.

    Args:
      service: what answers; started and stopped with the application.
    """
    api = make_api(service, _lifespan(service))
    config = service.config
    inner: ASGIApp = _Switch(api, RestApi(service), Pages())
    inner = Checks(inner, config, service.log)
    if config.cors_origins:
        inner = CorsMiddleware(inner, config.cors_origins)
    return Gate(inner, config, service.metrics, service.log)


class _Switch:
    """Sends each request where it belongs."""

    def __init__(self, api: FastAPI, rest: RestApi, pages: Pages) -> None:
        self._api, self._rest, self._pages = api, rest, pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app: ASGIApp = self._api
        if scope["type"] == "http":
            path = scope["path"]
            if path.startswith(PREFIX):
                app = self._rest
            elif self._pages.has(path):
                app = self._pages
        await app(scope, receive, send)


def _lifespan(service: Service) -> contextlib.AbstractAsyncContextManager[None]:
    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            service.stop()

    return lifespan  # type: ignore[return-value]
