"""TensorFlow Serving's REST API over HTTP: `/v1/models/…`."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving import limits, tfserving
from serving.call_size import check_cells, check_output_cells, output_cells
from serving.errors import RequestError
from serving.large_calls import LargeCalls
from serving.recommender import Recommender
from serving.service import Service

PREFIX = "/v1/"
_ROUTES = {
    "predict": "/v1/models/{model}:predict",
    "classify": "/v1/models/{model}:classify",
    "regress": "/v1/models/{model}:regress",
    "metadata": "/v1/models/{model}/metadata",
    "status": "/v1/models/{model}",
}


class RestApi:
    """An ASGI application for the paths below `/v1/`."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._large = LargeCalls(limits.MAX_LARGE_CALLS, service.config.batching.deadline_seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        scope["route_path"] = "/v1"
        try:
            target = tfserving.parse_path(scope["method"], scope["path"])
            scope["route_path"] = _ROUTES[target.verb]
            if target.verb == "status":
                body = self._status(target)
            else:
                body = await self._call(target, Request(scope, receive))
            response = Response(body, media_type="application/json")
        except RequestError as error:
            response = error.response()
        await response(scope, receive, send)

    def _status(self, target: tfserving.Target) -> bytes:
        versions = self._service.versions
        served = versions.current.model.version if versions.ready else None
        document = tfserving.status_answer(
            target, self._service.config.name, versions.statuses(), served
        )
        return _pretty(document)

    async def _call(self, target: tfserving.Target, request: Request) -> bytes:
        name = self._service.config.name
        tfserving.check_target(target, name, None)
        with self._service.versions.lease() as recommender:
            model = recommender.model
            tfserving.check_target(target, name, model.version)
            if target.verb == "metadata":
                return _pretty(tfserving.metadata_answer(name, model))
            if target.verb != "predict":
                tfserving.refuse_verb(target.verb, model)
            return await self._predict(recommender, await request.body())

    async def _predict(self, recommender: Recommender, body: bytes) -> bytes:
        read = functools.partial(tfserving.read_predict, body, recommender.model)
        long = len(body) > limits.LARGE_BODY
        request = await self._large.in_thread(read) if long else read()
        movies = len(recommender.catalogue)
        check_cells(request.call, movies, self._service.config.max_cells)
        large = output_cells(request.call, movies) >= limits.LARGE_CELLS
        async with self._large.place() if large else contextlib.nullcontext():
            outputs = await self._service.batcher.run(request.call)
            check_output_cells(request.call, outputs, self._service.config.max_cells)
            write = functools.partial(tfserving.write_predict, outputs, request.by_row)
            return await self._large.in_thread(write) if large else write()


def _pretty(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
