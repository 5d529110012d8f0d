"""TensorFlow Serving's REST API over HTTP: `/v1/models/…`."""

from __future__ import annotations

import contextlib
import functools
import re
from typing import Any

import orjson
from google.protobuf import json_format
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving import limits
from serving.call_size import check_cells, check_output_cells
from serving.errors import InvalidInput, NotFound, RequestError
from serving.large_calls import LargeCalls
from serving.model import ServedModel
from serving.recommender import Recommender
from serving.service import Service
from serving.tfserving import read_predict, write_predict

PREFIX = "/v1"
LABELS = ("stable", "latest")
"""Labels of the served version."""

_PATH = re.compile(
    r"/v1/models(?:/(?P<model>[^/:]+))?"
    r"(?:/versions/(?P<version>\d{1,19})|/labels/(?P<label>[^/:]+))?"
    r"(?P<verb>/metadata|:predict|:classify|:regress)?",
    re.IGNORECASE | re.ASCII,
)
_Target = re.Match[str]
"""The model, version or label, and verb in a path."""


class RestApi:
    """An ASGI application for the paths below `/v1/`.

    Beside FastAPI's, whose layers would take a seventh more of a predict request's processor time.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._name = service.config.name
        self._large = LargeCalls(limits.MAX_LARGE_CALLS, service.config.batching.deadline_seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        try:
            response = await self._response(scope, receive)
        except RequestError as error:
            response = error.response()
        await response(scope, receive, send)

    async def _response(self, scope: Scope, receive: Receive) -> Response:
        scope["route_path"] = PREFIX
        target = _target(scope["method"], scope["path"])
        verb = (target["verb"] or "").lower()
        scope["route_path"] = f"{PREFIX}/models/{{model}}{verb}"
        if target["label"] not in (None, *LABELS):
            raise InvalidInput(
                f"Unrecognized servable version label: {target['label']}."
                f" Known: {', '.join(LABELS)}."
            )
        if verb:
            body = await self._call(target, verb, Request(scope, receive))
        else:
            body = self._status(target)
        return Response(body, media_type="application/json")

    def _status(self, target: _Target) -> bytes:
        versions = self._service.versions
        statuses = versions.statuses() if target["model"] == self._name else []
        if target["label"]:
            served = versions.current.model.version if versions.ready else None
            statuses = [status for status in statuses if status.version == served]
        if not statuses:
            raise NotFound(f"Could not find any versions of model {target['model']}")
        if target["version"]:
            statuses = [one for one in statuses if one.version == int(target["version"])]
            if not statuses:
                raise NotFound(
                    f"Could not find version {target['version']} of model {target['model']}"
                )
        return _pretty(
            {
                "model_version_status": [
                    {
                        "version": str(status.version),
                        "state": status.state.value,
                        "status": {"error_code": status.code, "error_message": status.message},
                    }
                    for status in statuses
                ]
            }
        )

    async def _call(self, target: _Target, verb: str, request: Request) -> bytes:
        if target["model"] != self._name:
            raise self._not_found(target, "")
        with self._service.versions.lease() as recommender:
            model = recommender.model
            if target["version"] and int(target["version"]) != model.version:
                raise self._not_found(target, f", version {model.version}")
            if verb == "/metadata":
                return _pretty(self._metadata(model))
            if verb != ":predict":
                raise InvalidInput(
                    f"Expected a signature with method tensorflow/serving/{verb[1:]}, found only"
                    " tensorflow/serving/predict. Use ':predict'."
                )
            return await self._predict(recommender, await request.body())

    def _not_found(self, target: _Target, version: str) -> NotFound:
        model, number = target["model"][:100], target["version"]
        servable = f"Specific({model}, {number})" if number else f"Latest({model})"
        return NotFound(
            f"Servable not found for request: {servable}. This server has {self._name!r}{version}."
        )

    def _metadata(self, model: ServedModel) -> dict[str, Any]:
        """Returns the JSON of GetModelMetadataResponse."""
        signatures = {
            signature: json_format.MessageToDict(
                definition, including_default_value_fields=True, preserving_proto_field_name=True
            )
            for signature, definition in sorted(model.signature_defs.items())
        }
        return {
            "model_spec": {"name": self._name, "signature_name": "", "version": str(model.version)},
            "metadata": {"signature_def": {"signature_def": signatures}},
        }

    async def _predict(self, recommender: Recommender, body: bytes) -> bytes:
        read = functools.partial(read_predict, body, recommender.model)
        long = len(body) > limits.LARGE_BODY
        call, by_row = await self._large.in_thread(read) if long else read()
        most = self._service.config.max_cells
        large = check_cells(call, len(recommender.catalogue), most) >= limits.LARGE_CELLS
        async with self._large.place() if large else contextlib.nullcontext():
            outputs = await self._service.batcher.run(call)
            check_output_cells(call, outputs, most)
            write = functools.partial(write_predict, outputs, by_row)
            return await self._large.in_thread(write) if large else write()


def _target(method: str, path: str) -> _Target:
    """Reads a path below /v1/.

    Raises:
      InvalidInput: if it is not a path of TensorFlow Serving.
      RequestError: 405 if it is one for another method.
    """
    problem = f"Malformed request: {method} {path[:200]}"
    target = _PATH.fullmatch(path)
    if target is None:
        raise InvalidInput(problem)
    expected = "POST" if (target["verb"] or "").startswith(":") else "GET"
    if method != expected:
        allow = {"allow": "GET, HEAD" if expected == "GET" else "POST"}
        raise RequestError(405, f"{problem}. This path is for {expected}.", allow)
    if target["model"] is None:
        raise InvalidInput("Missing model name in request.")
    return target


def _pretty(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
