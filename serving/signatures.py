"""Calls of the model's signatures, and merging several of them into one.

TensorFlow takes hardly longer for 16 users than for one, so calls that wait at the same time
are run as one. A call's outputs are the same alone and merged.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.errors import InvalidInput, ModelFault
from serving.model import Arrays, ServedModel

Array = np.ndarray[Any, Any]
_LARGEST = "k"
"""The scalar input of which a merged call takes the largest value; others must be equal."""


@dataclass(frozen=True)
class Call:
    """One call of a signature.

    Args:
      model: the version.
      signature: the name of the signature.
      inputs: an array for each of its inputs.
    """

    model: ServedModel
    signature: str
    inputs: Arrays

    @property
    def rows(self) -> int:
        """The number of rows, 1 where the inputs have none."""
        return max((len(value) for value in self.inputs.values() if value.ndim), default=1)

    @property
    def columns(self) -> int:
        """The length of the longest row of any input, 1 where none has columns."""
        return max((value.shape[1] for value in self.inputs.values() if value.ndim > 1), default=1)

    def group(self) -> Hashable:
        """Returns a key; calls with equal keys may be merged."""
        if self.signature not in _TRIMS:
            return id(self)
        scalars = tuple(
            (name, value.item())
            for name, value in self.inputs.items()
            if not value.ndim and name != _LARGEST
        )
        return (id(self.model), self.signature, scalars)


def check_inputs(call: Call) -> None:
    """Checks shapes before the call runs, so that a wrong one does not fail a merged call.

    Raises:
      InvalidInput: if an input has another number of dimensions than the signature's, or the
        inputs do not have the same number of rows.
    """
    if call.signature not in _TRIMS:
        return
    rows: dict[str, int] = {}
    for name, tensor in call.model.signatures[call.signature].inputs.items():
        value = call.inputs[name]
        if tensor.rank is not None and value.ndim != tensor.rank:
            raise InvalidInput(
                f"Expected {tensor.rank} dimensions in input {name!r} of {call.signature!r},"
                f" found {value.ndim}."
            )
        if value.ndim:
            rows[name] = len(value)
    if len(set(rows.values())) > 1:
        found = ", ".join(f"{name}: {count}" for name, count in rows.items())
        raise InvalidInput(
            f"Expected the same number of rows in every input of {call.signature!r}, found {found}."
        )
    _check_recent(call)


def _check_recent(call: Call) -> None:
    if "recent_movie_ids" not in call.inputs:
        return
    movies = call.inputs["recent_movie_ids"].shape[1]
    for name in ("recent_timestamps", "recent_ratings"):
        values = call.inputs.get(name)
        if values is not None and values.shape[1] != movies:
            raise InvalidInput(
                f"Expected {name} of {call.signature!r} to be as long as recent_movie_ids,"
                f" found {movies} and {values.shape[1]}."
            )


def check_outputs(call: Call, outputs: Mapping[str, Array]) -> None:
    """Checks that all outputs are finite.

    Raises:
      ModelFault: an output has NaN or infinity.
      InvalidInput: an output has, and so does an input.
    """
    output = _not_finite(outputs)
    if output is None:
        return
    # NaN is an event without a rating, or a number that is not given.
    given = next(
        (
            name
            for name, value in call.inputs.items()
            if value.dtype.kind in "fc" and np.isinf(value).any()
        ),
        None,
    )
    if given is not None:
        raise InvalidInput(
            f"Expected finite numbers in input {given!r} of {call.signature!r}, found others."
        )
    raise ModelFault(
        "not_finite", f"signature {call.signature!r} has NaN or infinity in output {output!r}"
    )


def _not_finite(arrays: Mapping[str, Array]) -> str | None:
    for name, value in arrays.items():
        if value.dtype.kind in "fc" and not np.isfinite(value).all():
            return name
    return None


Outcome = dict[str, Array] | InvalidInput | ModelFault


def run_together(calls: Sequence[Call]) -> list[Outcome]:
    """Runs calls of one group as one call of the model.

    Returns:
      For each call its outputs, or its error.
    """
    signature = calls[0].model.signatures[calls[0].signature]
    try:
        outputs = signature(_merge(calls) if len(calls) > 1 else calls[0].inputs)
    except (InvalidInput, ModelFault) as error:
        if len(calls) == 1:
            return [error]
        # One call made it fail. The others are run without it.
        return [outcome for call in calls for outcome in run_together([call])]
    return _split(calls, outputs) if len(calls) > 1 else [_outcome(calls[0], outputs)]


def _outcome(call: Call, outputs: dict[str, Array]) -> Outcome:
    trimmed = _TRIMS.get(call.signature, _trim_nothing)(call.inputs, outputs)
    try:
        check_outputs(call, trimmed)
    except (InvalidInput, ModelFault) as error:
        return error
    return trimmed


def _merge(calls: Sequence[Call]) -> dict[str, Array]:
    merged: dict[str, Array] = {}
    for name, first in calls[0].inputs.items():
        values = [call.inputs[name] for call in calls]
        if np.ndim(first) == 0:
            merged[name] = np.max(np.stack(values))
        elif np.ndim(first) == 1:
            merged[name] = np.concatenate(values)
        else:
            merged[name] = _stack_padded(values)
    return merged


def _stack_padded(values: Sequence[Array]) -> Array:
    """Stacks `[rows, columns]` arrays; short rows are padded with values that the model ignores."""
    columns = max(value.shape[1] for value in values)
    if all(value.shape[1] == columns for value in values):
        return np.concatenate(values)
    filler: Any = b"" if values[0].dtype == object else 0
    rows = sum(len(value) for value in values)
    stacked = np.full((rows, columns), filler, values[0].dtype)
    start = 0
    for value in values:
        stacked[start : start + len(value), : value.shape[1]] = value
        start += len(value)
    return stacked


def _split(calls: Sequence[Call], merged: Mapping[str, Array]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    start = 0
    for call in calls:
        end = start + call.rows
        own = {name: value[start:end] for name, value in merged.items()}
        outcomes.append(_outcome(call, own))
        start = end
    return outcomes


def _trim_to_count(inputs: Arrays, outputs: dict[str, Array]) -> dict[str, Array]:
    """Cuts the columns to the call's own k and its longest row."""
    counts = np.minimum(outputs["count"], max(0, int(inputs[_LARGEST])))
    longest = int(counts.max(initial=0))
    trimmed = {name: value[:, :longest] for name, value in outputs.items() if value.ndim > 1}
    return {**trimmed, "count": counts}


def _trim_to_movies(inputs: Arrays, outputs: dict[str, Array]) -> dict[str, Array]:
    columns = inputs["movie_ids"].shape[1]
    return {name: value[:, :columns] for name, value in outputs.items()}


def _trim_to_reasons(inputs: Arrays, outputs: dict[str, Array]) -> dict[str, Array]:
    """Cuts to the call's own movies, and the reasons to its own k and the last one in use."""
    columns, reasons = inputs["movie_ids"].shape[1], max(0, int(inputs[_LARGEST]))
    own = {name: value[:, :columns, :reasons] for name, value in outputs.items()}
    longest = int((own["because_movie_id"] != b"").sum(axis=2).max(initial=0))
    return {name: value[:, :, :longest] for name, value in own.items()}


def _trim_nothing(inputs: Arrays, outputs: dict[str, Array]) -> dict[str, Array]:
    return outputs


_TRIMS: Mapping[str, Callable[[Arrays, dict[str, Array]], dict[str, Array]]] = {
    "serving_default": _trim_nothing,
    "recommend": _trim_to_count,
    "rank": _trim_to_movies,
    "similar": _trim_to_count,
    "explain": _trim_to_reasons,
}
"""The signatures whose rows are independent, and how their outputs are cut after a call.

Also after a call that was not merged, so that both give outputs of the same width."""
