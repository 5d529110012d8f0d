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


def sizes(call: Call, movies: int) -> tuple[list[Factor], list[list[Factor]]]:
    """Returns what the size of a call is a product of.

    Args:
      call: the call, of any signature.
      movies: how many movies the catalogue has; no list is longer.

    Returns:
      The factors of the cells in each output, and those of each intermediate array of the model.
    """
    rows = ("rows", call.rows)
    listed = ("movie_ids", _columns(call, "movie_ids"))
    recent = ("recent_movie_ids", _columns(call, "recent_movie_ids"))
    catalogue = ("items of the catalogue", movies)
    # A history can have every movie of the catalogue, and the recent ones in addition.
    history = ("items of the catalogue and recent_movie_ids", movies + recent[1])
    # Each recent movie is compared with each other one.
    arrays = [[rows, recent, recent]] if recent[1] > 1 else []
    if call.signature in ("recommend", "similar"):
        return [rows, ("k", _k(call, movies))], [[rows, catalogue], *arrays]
    if call.signature == "explain":
        arrays += [[rows, listed, history], [rows, history, ("values", limits.HISTORY_VALUES)]]
        return [rows, listed, ("k", _k(call, history[1]))], arrays
    return [rows, listed] if call.signature == "rank" else [rows], arrays


def check_cells(call: Call, movies: int, most: int) -> int:
    """Returns the number of cells in each output of a call.

    Args:
      call: the call.
      movies: how many movies the catalogue has.
      most: the limit of that number.

    Raises:
      InvalidInput: if the call is too large; the message names the factors and the limit.
    """
    cells, arrays = sizes(call, movies)
    if _product(cells) > most:
        raise InvalidInput(
            f"Expected an answer of at most {most} cells, found {_spell(cells)}."
            f" {_ADVICE} (--max-cells of the server is the limit.)"
        )
    for factors in arrays:
        if _product(factors) > limits.MAX_WORK_VALUES:
            raise InvalidInput(
                f"Expected at most {limits.MAX_WORK_VALUES} values to compute with, found"
                f" {_spell(factors)}. {_ADVICE}"
            )
    return _product(cells)


def check_output_cells(call: Call, outputs: Mapping[str, Array], most: int) -> None:
    """Checks outputs of signatures that are not the pipeline's, whose size cannot be computed.

    Raises:
      InvalidInput: if an output has more cells than `most`.
    """
    for name, value in outputs.items():
        if value.size > most:
            raise InvalidInput(
                f"Expected an answer of at most {most} cells, found {value.size} in output"
                f" {name!r} of {call.signature!r}. {_ADVICE}"
                " (--max-cells of the server is the limit.)"
            )


_ADVICE = "Make one of these factors smaller, such as by sending fewer rows at once."


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
