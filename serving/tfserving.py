"""TensorFlow Serving's REST API: paths, JSON and errors.

See https://www.tensorflow.org/tfx/serving/api_rest. Two things are stricter, so that one request
cannot stop others: sizes are limited, and the shapes of inputs are checked before TensorFlow runs.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from google.protobuf import json_format

from serving import limits
from serving.errors import InvalidInput, NotFound, RequestError, shorten
from serving.model import ServedModel, Signature, Tensor
from serving.signatures import Array, Call
from serving.versions import Status

DEFAULT_SIGNATURE = "serving_default"
LABELS = ("stable", "latest")
"""Labels of the served version."""

_PREDICT = re.compile(
    r"/v1/models/(?P<model>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
    r":(?P<verb>classify|regress|predict)",
    re.IGNORECASE | re.ASCII,
)
_STATUS = re.compile(
    r"/v1/models(?:/(?P<model>[^/:]+))?"
    r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?(?P<metadata>/metadata)?",
    re.IGNORECASE | re.ASCII,
)
_LARGEST_VERSION = 2**63 - 1
_BYTES_SUFFIX = "_bytes"


@dataclass(frozen=True)
class Target:
    """The model, version and verb in a path.

    Args:
      model: the model's name.
      version: a version's number, if given.
      label: a version's label, if given.
      verb: "predict", "classify", "regress", "metadata" or "status".
    """

    model: str
    version: int | None
    label: str | None
    verb: str


def parse_path(method: str, path: str) -> Target:
    """Reads a path below /v1/.

    Raises:
      InvalidInput: if it is not a path of TensorFlow Serving.
      RequestError: 405 if it is one for another method.
    """
    patterns = {"POST": _PREDICT, "GET": _STATUS}
    match = patterns[method].fullmatch(path) if method in patterns else None
    if match is None:
        problem = f"Malformed request: {method} {path[:200]}"
        allowed = next((own for own in patterns if patterns[own].fullmatch(path)), None)
        if allowed is None:
            raise InvalidInput(problem)
        allow = {"allow": "GET, HEAD" if allowed == "GET" else "POST"}
        raise RequestError(405, f"{problem}. This path is for {allowed}.", allow)
    found = match.groupdict()
    if not found["model"]:
        raise InvalidInput("Missing model name in request.")
    version = None if found["version"] is None else int(found["version"][:25])
    if version is not None and version > _LARGEST_VERSION:
        raise InvalidInput(f"Failed to convert version: {found['version'][:40]} to numeric.")
    verb = found.get("verb") or ("metadata" if found.get("metadata") else "status")
    return Target(found["model"], version, found["label"], verb.lower())


def check_target(target: Target, name: str, version: int | None) -> None:
    """Checks that the model and version in a path are served.

    Args:
      target: of the path.
      name: the name of the model.
      version: the served version; None to check the name alone.

    Raises:
      NotFound: if they are not.
      InvalidInput: if the label is unknown.
    """
    _check_label(target)
    if target.model == name and (version is None or target.version in (None, version)):
        return
    model = target.model[:100]
    servable = (
        f"Latest({model})" if target.version is None else f"Specific({model}, {target.version})"
    )
    here = f"{name!r}" if version is None else f"{name!r}, version {version}"
    raise NotFound(f"Servable not found for request: {servable}. This server has {here}.")


def _check_label(target: Target) -> None:
    if target.label is not None and target.label not in LABELS:
        raise InvalidInput(
            f"Unrecognized servable version label: {target.label}. Known: {', '.join(LABELS)}."
        )


# -- status and metadata -----------------------------------------------------------------------


def status_answer(
    target: Target, name: str, statuses: list[Status], served: int | None
) -> dict[str, Any]:
    """Returns the JSON of GetModelStatusResponse.

    Raises:
      NotFound: if there is no such model or version.
      InvalidInput: if the label is not known.
    """
    _check_label(target)
    if target.label is not None:
        statuses = [status for status in statuses if status.version == served]
    if target.model != name or not statuses:
        raise NotFound(f"Could not find any versions of model {target.model}")
    if target.version is not None:
        statuses = [status for status in statuses if status.version == target.version]
        if not statuses:
            raise NotFound(f"Could not find version {target.version} of model {target.model}")
    return {
        "model_version_status": [
            {
                "version": str(status.version),
                "state": status.state.value,
                "status": {"error_code": status.code, "error_message": status.message},
            }
            for status in statuses
        ]
    }


def metadata_answer(name: str, model: ServedModel) -> dict[str, Any]:
    """Returns the JSON of GetModelMetadataResponse."""
    signatures = {
        signature: json_format.MessageToDict(
            definition, including_default_value_fields=True, preserving_proto_field_name=True
        )
        for signature, definition in sorted(model.signature_defs.items())
    }
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(model.version)},
        "metadata": {"signature_def": {"signature_def": signatures}},
    }


# -- predict: the request ----------------------------------------------------------------------


@dataclass(frozen=True)
class PredictRequest:
    """A predict request: the call, and whether its format is by row."""

    call: Call
    by_row: bool


def read_predict(body: bytes, model: ServedModel) -> PredictRequest:
    """Reads the body of a predict request.

    Raises:
      InvalidInput: if it is malformed, or does not fit the signature.
    """
    document = _parse_json(body)
    signature = _signature(document, model)
    if "instances" in document and "inputs" in document:
        raise InvalidInput("Expected only one of 'inputs' and 'instances', found both.")
    if "instances" in document:
        inputs = _read_rows(document["instances"], signature)
    elif "inputs" in document:
        inputs = _read_columns(document["inputs"], signature)
    else:
        raise InvalidInput("Missing 'inputs' or 'instances' key")
    _check_sizes(inputs)
    return PredictRequest(Call(model, signature.name, inputs), "instances" in document)


def refuse_verb(verb: str, model: ServedModel) -> None:
    """Refuses classify and regress, for which models of this pipeline have no signature.

    Raises:
      InvalidInput: always.
    """
    methods = sorted({definition.method_name for definition in model.signature_defs.values()})
    raise InvalidInput(
        f"Expected a signature with method tensorflow/serving/{verb}, found only"
        f" {', '.join(method for method in methods if method)}. Use ':predict'."
    )


def _parse_json(body: bytes) -> dict[str, Any]:
    if not body:
        raise InvalidInput("JSON Parse error: The document is empty")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        document = _parse_with_special_numbers(body, error)
    if not isinstance(document, dict):
        raise InvalidInput(f"JSON Value: {shorten(document)} Is not object")
    return document


def _parse_with_special_numbers(body: bytes, error: orjson.JSONDecodeError) -> Any:
    """Reads JSON with NaN, Infinity and -Infinity, which this API allows and orjson refuses."""
    if b"NaN" in body or b"Infinity" in body:
        try:
            text = body.decode("utf-8")
            document = json.loads(text)
            orjson.dumps(text)  # refuses halves of surrogate pairs
        except (ValueError, RecursionError):
            pass
        else:
            return document
    raise InvalidInput(f"JSON Parse error: {error.msg} at offset: {error.pos}")


def _signature(document: Mapping[str, Any], model: ServedModel) -> Signature:
    name = document.get("signature_name", DEFAULT_SIGNATURE)
    if not isinstance(name, str):
        raise InvalidInput(f"Expected 'signature_name' to be a string, found {shorten(name)}.")
    signature = model.signatures.get(name or DEFAULT_SIGNATURE)
    if signature is None:
        raise InvalidInput(
            f"Serving signature name: {shorten(name)} not found in signature def."
            f" There are {', '.join(model.signatures)}."
        )
    return signature


def _read_rows(instances: Any, signature: Signature) -> dict[str, Array]:
    if not isinstance(instances, list):
        raise InvalidInput(f"Expected 'instances' to be a list, found {shorten(instances)}.")
    if not instances:
        raise InvalidInput("No values in 'instances' array")
    if len(instances) > limits.MAX_TENSOR_ROWS:
        raise InvalidInput(
            f"Expected at most {limits.MAX_TENSOR_ROWS} instances, found {len(instances)}."
        )
    only = next(iter(signature.inputs), "")
    if len(signature.inputs) == 1 and not _is_named(instances[0]):
        instances = [{only: instance} for instance in instances]
    names = signature.inputs.keys()
    for index, instance in enumerate(instances):
        if not _is_named(instance):
            raise InvalidInput(
                f"Expected an object per instance with the keys {', '.join(names)};"
                f" instance {index} is {shorten(instance)}."
            )
        if instance.keys() != names:
            raise InvalidInput(
                f"Failed to process element: {index} of 'instances' list. Its keys must be equal"
                f" to: {','.join(names)}; differing: {_differing(instance.keys(), names)}."
            )
    return {
        name: _read_tensor([instance[name] for instance in instances], tensor)
        for name, tensor in signature.inputs.items()
    }


def _read_columns(inputs: Any, signature: Signature) -> dict[str, Array]:
    names = signature.inputs.keys()
    if not _is_named(inputs):
        if len(names) > 1:
            raise InvalidInput(
                f"Expected 'inputs' to be an object with the keys {', '.join(names)},"
                f" found {shorten(inputs)}."
            )
        inputs = {next(iter(names), ""): inputs}
    for name in names:
        if name not in inputs:
            raise InvalidInput(f"Missing named input: {name} in 'inputs' object.")
    if inputs.keys() != names:
        raise InvalidInput(
            f"Expected 'inputs' with the keys {', '.join(names)};"
            f" not known: {_differing(inputs.keys(), names)}."
        )
    return {name: _read_tensor(inputs[name], tensor) for name, tensor in signature.inputs.items()}


def _differing(found: Any, expected: Any) -> str:
    return shorten(sorted(set(found) ^ set(expected)), 200)


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def _read_tensor(value: Any, tensor: Tensor) -> Array:
    """Makes an array of a tensor's type and shape from nested lists."""
    shape = _shape_of(value, 8 if tensor.rank is None else tensor.rank, tensor.name)
    tensor.check_shape(shape)
    count = math.prod(shape)
    if count > limits.MAX_TENSOR_VALUES:
        raise InvalidInput(
            f"Expected at most {limits.MAX_TENSOR_VALUES} values in input {tensor.name!r},"
            f" found {count}."
        )
    items = [value]
    for level, size in enumerate(shape):
        for item in items:
            if not isinstance(item, list) or len(item) != size:
                found = len(item) if isinstance(item, list) else shorten(item)
                raise InvalidInput(
                    f"Input {tensor.name!r}: expected lists of equal length, {size} at level"
                    f" {level}, found {found}."
                )
        items = [inner for item in items for inner in item]
    array = np.empty(count, tensor.dtype)
    try:
        array[:] = [_read_value(item, tensor) for item in items]
    except (OverflowError, ValueError, TypeError) as error:
        raise InvalidInput(f"Input {tensor.name!r}: {error}") from error
    return array.reshape(shape)


def _shape_of(value: Any, rank: int, name: str) -> tuple[int, ...]:
    """Returns the shape by the first element of each list, as TensorFlow Serving does."""
    shape: list[int] = []
    while isinstance(value, list):
        if len(shape) == rank:
            raise InvalidInput(
                f"Input {name!r}: expected lists nested {rank} deep, found deeper ones."
            )
        shape.append(len(value))
        value = value[0] if value else None
        if shape[-1] == 0:
            break
    if 0 in shape:
        # The dimensions inside of an empty list are unknown: they are taken as empty too.
        shape += [0] * (rank - len(shape))
    return tuple(shape)


def _read_value(value: Any, tensor: Tensor) -> Any:
    kind = tensor.dtype.kind
    if kind == "O":
        if isinstance(value, str):
            return value.encode("utf-8")
        if _is_base64(value):
            return _decode_base64(value["b64"])
    elif kind == "b":
        if isinstance(value, bool):
            return value
    elif isinstance(value, bool):
        pass
    elif kind == "f" and isinstance(value, int | float):
        if not math.isfinite(value) or abs(value) <= float(np.finfo(tensor.dtype).max):
            return value
    elif kind in "iu" and isinstance(value, int):
        bounds = np.iinfo(tensor.dtype)
        if bounds.min <= value <= bounds.max:
            return value
    raise InvalidInput(
        f"JSON Value: {shorten(value)} Type: {_JSON_TYPES.get(type(value), 'Object')} is not of"
        f" expected type: {'string' if kind == 'O' else tensor.dtype.name} (input {tensor.name!r})"
    )


_JSON_TYPES = {
    str: "String",
    int: "Number",
    float: "Number",
    bool: "Bool",
    list: "Array",
    type(None): "Null",
}


def _decode_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput("Unable to base64 decode") from error


def _check_sizes(inputs: Mapping[str, Array]) -> None:
    for name, value in inputs.items():
        if np.ndim(value) and len(value) > limits.MAX_TENSOR_ROWS:
            raise InvalidInput(
                f"Expected at most {limits.MAX_TENSOR_ROWS} rows in input {name!r},"
                f" found {len(value)}."
            )
        if name == "k" and np.ndim(value) == 0 and value > limits.MAX_TENSOR_K:
            raise InvalidInput(f"Expected k of at most {limits.MAX_TENSOR_K}, found {value}.")


# -- predict: the response ---------------------------------------------------------------------


def write_predict(outputs: Mapping[str, Array], by_row: bool) -> bytes:
    """Returns the response to a predict request.

    Raises:
      RequestError: if the format is by row and the outputs have different numbers of rows.
    """
    if all(value.dtype.kind != "f" or np.isfinite(value).all() for value in outputs.values()):
        write, dump = _to_array, _dump_arrays
    else:
        write, dump = _to_lists, _dump_special_numbers
    values = {name: write(name, value) for name, value in sorted(outputs.items())}
    if not by_row:
        return dump({"outputs": next(iter(values.values())) if len(values) == 1 else values})
    lengths = {len(value) if np.ndim(value) else None for value in outputs.values()}
    if len(lengths) != 1 or None in lengths:
        raise RequestError(
            400, "Tensors of the answer have different numbers of rows. Use 'inputs'."
        )
    if len(values) == 1:
        return dump({"predictions": next(iter(values.values()))})
    rows = zip(*values.values(), strict=True)
    return dump({"predictions": [dict(zip(values, row, strict=True)) for row in rows]})


def _to_array(name: str, value: Array) -> Any:
    """Returns a value that orjson writes; it writes float32 as 3.7, not 3.700000047683716."""
    if value.ndim == 0 or value.dtype not in _WRITTEN_BY_ORJSON:
        return _to_lists(name, value)
    return np.ascontiguousarray(value)


_WRITTEN_BY_ORJSON = ("bool", "int32", "int64", "float32", "float64")


def _to_lists(name: str, value: Array) -> Any:
    if value.dtype == object:
        return _map(value.tolist(), _as_base64 if name.endswith(_BYTES_SUFFIX) else _as_text)
    if value.dtype == np.float32:
        return _map(value.tolist(), lambda number: float(str(np.float32(number))))
    return value.tolist()


def _map(value: Any, convert: Any) -> Any:
    if isinstance(value, list):
        return [_map(item, convert) for item in value]
    return convert(value)


def _as_base64(value: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(value).decode("ascii")}


def _as_text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _dump_arrays(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def _dump_special_numbers(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode("utf-8")
