"""Lookups in the exported model's tables, with few operations for each, and graphs to share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy.typing as npt
import tensorflow as tf

Function = TypeVar("Function", bound=Callable[..., Any])


def saved_variable(values: tf.Tensor | npt.NDArray[Any], name: str) -> tf.Variable:
    """Returns values that are saved with the model's variables rather than inside its graph."""
    return tf.Variable(values, trainable=False, name=name)


def one_graph(function: Function, *inputs: object) -> Function:
    """Returns a function whose graph is traced once, and shared by all graphs that call it.

    Tracing, writing and loading a graph takes longer than the Evaluator and the report run it.

    Args:
      function: of tensors and of tuples of them, without Python control flow on tensors.
      inputs: a `tf.TensorSpec` for each tensor.
    """
    graph = tf.function(function, input_signature=inputs, autograph=False)
    # A module exports each tf.function among its attributes: the graph would be saved twice.
    found: Any = lambda *values: graph(*values)  # noqa: E731 (a function that is no attribute)
    return found


def rows_of(table: tf.Variable, rows: tf.Tensor) -> tf.Tensor:
    """Returns rows of a table that is also read as a whole.

    `tf.gather` on a variable makes each later read of all of it a copy.
    """
    return tf.gather(tf.convert_to_tensor(table), rows)


def first_not_below(ascending: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """Returns `[n]` int32: where each wanted value is, or would be, in an ascending vector.

    `tf.searchsorted` does the same with a dozen operations around it.
    """
    found = tf.raw_ops.LowerBound(
        sorted_inputs=tf.expand_dims(ascending, 0), values=tf.expand_dims(wanted, 0)
    )
    return tf.squeeze(found, axis=0)


def weighted_rows(
    pairs: tf.Tensor, weights: tf.Tensor, batch: tf.Tensor, table: tf.Variable
) -> tf.Tensor:
    """Returns `[batch, columns]` weighted sums of a table's rows.

    Args:
      pairs: `[n, 2]` int64: the row of the result, the row of the table.
      weights: `[n]` float32.
      batch: scalar int64, number of rows of the result.
      table: `[rows, columns]`.
    """
    shape = tf.stack([batch, table.shape[0]])
    return tf.raw_ops.SparseTensorDenseMatMul(
        a_indices=pairs, a_values=weights, a_shape=shape, b=table
    )


def in_pieces(
    function: Callable[[tf.Tensor], tf.Tensor],
    rows: tf.Tensor,
    size: int,
    shape: tuple[int, ...] = (),
) -> tf.Tensor:
    """Returns `function(rows)`, computed piece by piece so that memory does not grow with rows.

    Args:
      function: of `[any, columns]` rows, returns `[any, *shape]` float32, each from its own row
        alone.
      rows: `[n, columns]`; a row of zeros must be one that the function takes.
      size: rows of a piece.
      shape: of what the function returns for a row.
    """
    count = tf.shape(rows)[0]

    def pieces() -> tf.Tensor:
        padded = tf.pad(rows, [[0, -count % size], [0, 0]])
        cut = tf.reshape(padded, [-1, size, rows.shape[1]])
        output = tf.TensorSpec([size, *shape])
        found = tf.map_fn(function, cut, parallel_iterations=1, fn_output_signature=output)
        return tf.reshape(found, [tf.size(cut[:, :, 0]), *shape])[:count]

    return tf.cond(count <= size, lambda: function(rows), pieces)
