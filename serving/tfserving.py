"""Predict requests of TensorFlow Serving's REST API: their JSON and errors.

See https://www.tensorflow.org/tfx/serving/api_rest. Two things are stricter, so that one request
cannot stop others: sizes are limited, and the shapes of inputs are checked before TensorFlow runs.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from serving import limits
from serving.errors import InvalidInput, RequestError, shorten
from serving.model import ServedModel, Signature, Tensor
from serving.signatures import Array, Call

DEFAULT_SIGNATURE = "serving_default"
_BYTES_SUFFIX = "_bytes"


def read_predict(body: bytes, model: ServedModel) -> tuple[Call, bool]:
    """Reads the body of a predict request.

    Returns:
      The call, and whether its format is by row.

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
    return Call(model, signature.name, inputs), "instances" in document


def _parse_json(body: bytes) -> dict[str, Any]:
    """Reads JSON; unlike orjson it allows NaN, Infinity and -Infinity, as this API does."""
    document: Any = None
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if b"NaN" in body or b"Infinity" in body:
            with contextlib.suppress(ValueError, RecursionError):
                document = json.loads(body.decode("utf-8"))
        if document is None:
            problem = f"JSON Parse error: {error.msg} at offset: {error.pos}"
            raise InvalidInput(problem) from error
    if not isinstance(document, dict):
        raise InvalidInput(f"JSON Value: {shorten(document)} Is not object")
    return document


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
    only = next(iter(signature.inputs), "")
    if len(signature.inputs) == 1 and not _is_named(instances[0]):
        instances = [{only: instance} for instance in instances]
    names = signature.inputs.keys()
    for index, instance in enumerate(instances):
        if not _is_named(instance) or instance.keys() != names:
            raise InvalidInput(
                f"Failed to process element: {index} of 'instances' list. Expected an object with"
                f" the keys {', '.join(names)}, found {shorten(instance)}."
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
            f" not known: {shorten(sorted(inputs.keys() - names), 200)}."
        )
    return {name: _read_tensor(inputs[name], tensor) for name, tensor in signature.inputs.items()}


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def _read_tensor(value: Any, tensor: Tensor) -> Array:
    """Makes an array of a tensor's type and shape from nested lists."""
    found = np.array(value, object)
    if not found.size and tensor.rank is not None:
        # The dimensions inside of an empty list are unknown: they are taken as empty too.
        found = found.reshape(found.shape + (0,) * (tensor.rank - found.ndim))
    tensor.check_shape(found.shape)
    if found.size > limits.MAX_TENSOR_VALUES:
        raise InvalidInput(
            f"Expected at most {limits.MAX_TENSOR_VALUES} values in input {tensor.name!r},"
            f" found {found.size}."
        )
    array = np.empty(found.size, tensor.dtype)
    try:
        array[:] = [_read_value(item, tensor) for item in found.ravel()]
    except (OverflowError, ValueError, TypeError) as error:
        raise InvalidInput(f"Input {tensor.name!r}: {error}") from error
    return array.reshape(found.shape)


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
        f"JSON Value: {shorten(value)} is not of expected type:"
        f" {'string' if kind == 'O' else tensor.dtype.name} (input {tensor.name!r})"
    )


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
    """Returns the response to a predict request; all numbers are finite.

    Raises:
      RequestError: if the format is by row and the outputs have different numbers of rows.
    """
    values = {name: _writable(name, value) for name, value in sorted(outputs.items())}
    if not by_row:
        return _dump({"outputs": next(iter(values.values())) if len(values) == 1 else values})
    lengths = {len(value) if np.ndim(value) else None for value in outputs.values()}
    if len(lengths) != 1 or None in lengths:
        raise RequestError(
            400, "Tensors of the answer have different numbers of rows. Use 'inputs'."
        )
    if len(values) == 1:
        return _dump({"predictions": next(iter(values.values()))})
    rows = zip(*values.values(), strict=True)
    return _dump({"predictions": [dict(zip(values, row, strict=True)) for row in rows]})


def _writable(name: str, value: Array) -> Any:
    """Returns a value that orjson writes; it writes float32 as 3.7, not 3.700000047683716."""
    if value.dtype == object:
        convert = _as_base64 if name.endswith(_BYTES_SUFFIX) else _as_text
        return np.asarray(np.frompyfunc(convert, 1, 1)(value), object).tolist()
    return np.ascontiguousarray(value) if value.ndim else value[()]


def _as_base64(value: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(value).decode("ascii")}


def _as_text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _dump(document: dict[str, Any]) -> bytes:
    # What orjson does not write, such as float16, has a `tolist` too.
    return orjson.dumps(document, lambda one: one.tolist(), orjson.OPT_SERIALIZE_NUMPY)
