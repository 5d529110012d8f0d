"""The size of a call of the model, computed from its inputs before it runs.

Each input has a limit of its own (`serving/limits.py`). The cost of a call is a product of several
of them: rows times `k`, or rows times movies times reasons.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from serving import limits
from serving.errors import InvalidInput
from serving.signatures import Array, Call

Factor = tuple[str, int]
"""The name of a factor, for messages, and its value."""


def output_factors(call: Call, movies: int) -> list[Factor]:
    """Returns the factors whose product is the number of cells in each output of a call.

    Args:
      call: the call, of any signature.
      movies: how many movies the catalogue has; no list is longer.
    """
    factors = [("rows", call.rows)]
    if call.signature in ("rank", "explain"):
        factors.append(("movie_ids", _columns(call, "movie_ids")))
    if call.signature in ("recommend", "similar"):
        factors.append(("k", _k(call, movies)))
    elif call.signature == "explain":
        factors.append(("k", _k(call, movies + _columns(call, "recent_movie_ids"))))
    return factors


def work_factors(call: Call, movies: int) -> list[list[Factor]]:
    """Returns the factors of each intermediate array of the model.

    Args:
      call: the call, of any signature.
      movies: how many movies the catalogue has.
    """
    rows, recent = ("rows", call.rows), _columns(call, "recent_movie_ids")
    catalogue = ("movies of the catalogue", movies)
    arrays: list[list[Factor]] = []
    if call.signature in ("recommend", "similar"):
        arrays.append([rows, catalogue])
    if call.signature == "explain":
        # A history can have every movie of the catalogue, and the recent ones in addition.
        history = ("movies of the catalogue and recent_movie_ids", movies + recent)
        arrays.append([rows, ("movie_ids", _columns(call, "movie_ids")), history])
        arrays.append([rows, history, ("values for each", limits.HISTORY_VALUES)])
    if recent > 1:
        # Each recent movie is compared with each other one.
        arrays.append([rows, ("recent_movie_ids", recent), ("recent_movie_ids", recent)])
    return arrays


def output_cells(call: Call, movies: int) -> int:
    """Returns the number of cells in each output of a call."""
    return _product(output_factors(call, movies))


def check_cells(call: Call, movies: int, most: int) -> None:
    """Checks the size of a call and of its outputs, before the call runs.

    Args:
      call: the call.
      movies: how many movies the catalogue has.
      most: the limit of `output_cells`.

    Raises:
      InvalidInput: if it is too large; the message names the factors and the limit.
    """
    factors = output_factors(call, movies)
    if _product(factors) > most:
        raise InvalidInput(
            f"Expected an answer of at most {most} cells, found {_spell(factors)}."
            f" {_ADVICE.get(call.signature, _FEWER_ROWS)} (--max-cells of the server is the limit.)"
        )
    for factors in work_factors(call, movies):
        if _product(factors) > limits.MAX_WORK_VALUES:
            raise InvalidInput(
                f"Expected at most {limits.MAX_WORK_VALUES} values to compute with, found"
                f" {_spell(factors)}. {_ADVICE.get(call.signature, _FEWER_ROWS)}"
            )


def check_output_cells(call: Call, outputs: Mapping[str, Array], most: int) -> None:
    """Checks outputs of signatures that are not the pipeline's, whose size cannot be computed.

    Raises:
      InvalidInput: if an output has more cells than `most`.
    """
    for name, value in outputs.items():
        if value.size > most:
            raise InvalidInput(
                f"Expected an answer of at most {most} cells, found {value.size} in output"
                f" {name!r} of {call.signature!r}. {_FEWER_ROWS}"
                " (--max-cells of the server is the limit.)"
            )


_FEWER_ROWS = "Send fewer rows at once."
_ADVICE = {
    "recommend": "Send fewer rows at once, a smaller k or fewer recent_movie_ids.",
    "similar": "Send fewer rows at once or a smaller k.",
    "rank": "Send fewer rows or movie_ids at once, or fewer recent_movie_ids.",
    "explain": "Send fewer rows or movie_ids at once, a smaller k or fewer recent_movie_ids.",
}


def _spell(factors: Sequence[Factor]) -> str:
    product = " x ".join(f"{count} {name}" for name, count in factors)
    return f"{product} = {_product(factors)}" if len(factors) > 1 else product


def _product(factors: Sequence[Factor]) -> int:
    return math.prod(count for _, count in factors)


def _columns(call: Call, name: str) -> int:
    value = call.inputs.get(name)
    return value.shape[1] if value is not None and value.ndim > 1 else 0


def _k(call: Call, most: int) -> int:
    value = call.inputs.get("k")
    return min(most, max(0, int(value))) if value is not None and np.ndim(value) == 0 else 1
