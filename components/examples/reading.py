"""Reading tf.Examples: the files of a split, their records, and the records' columns."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import tensorflow as tf

from storage.paths import join, list_names

EMPTY: Mapping[str, Any] = {"string": "", "int64": 0, "float32": 0.0}
"""Default replacement of missing values, by type."""

_SUFFIX = ".gz"
_COMPRESSION = "GZIP"


class Column(Protocol):
    """A column of the records, as `schema.features.Feature` describes it."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def dtype(self) -> str:
        """ "string", "int64" or "float32"."""

    @property
    def multivalued(self) -> bool:
        """Whether a row holds a list of values."""

    @property
    def optional(self) -> bool:
        """Whether a row may lack the value."""

    @property
    def missing(self) -> str | float:
        """What stands for a value that is not there."""


def files_of_split(folder: str | os.PathLike[str]) -> list[str]:
    """Returns the complete record files in the folder of a split, sorted by name.

    Files being written have names that begin with a dot. The path is never taken for a pattern.
    """
    names = [name for name in list_names(folder) if not name.startswith(".")]
    return [join(folder, name) for name in names if name.endswith(_SUFFIX)]


def serialized_batches(files: Sequence[str | os.PathLike[str]], size: int) -> tf.data.Dataset:
    """Returns batches of at most `size` serialized tf.Examples, in the order of the files."""
    paths = [os.fspath(file) for file in files]
    return tf.data.TFRecordDataset(paths, _COMPRESSION).batch(size)


def parse(
    serialized: tf.Tensor, columns: Iterable[Column], missing: Mapping[str, Any] | None = None
) -> dict[str, tf.Tensor | tf.SparseTensor]:
    """Parses serialized tf.Examples; missing values are no error.

    Args:
      serialized: `[batch]` records.
      columns: the columns to parse.
      missing: replacements of missing values by type. None: those of `EMPTY`, and optional columns
        are sparse, as the preprocessing graph expects.

    Returns:
      By column name `[batch]` values, of multi-valued columns sparse `[batch, n]` values.
    """
    parsed: dict[str, tf.Tensor | tf.SparseTensor] = tf.io.parse_example(
        serialized, _spec(columns, missing)
    )
    return parsed


def _spec(columns: Iterable[Column], missing: Mapping[str, Any] | None) -> dict[str, Any]:
    values = EMPTY if missing is None else missing
    spec: dict[str, Any] = {}
    for column in columns:
        kind = tf.dtypes.as_dtype(column.dtype)
        if column.multivalued or (column.optional and missing is None):
            spec[column.name] = tf.io.VarLenFeature(kind)
        else:
            spec[column.name] = tf.io.FixedLenFeature([], kind, values[column.dtype])
    return spec


def parse_first(serialized: tf.Tensor, columns: Iterable[Column]) -> dict[str, tf.Tensor]:
    """Parses the first value of each column of records with any number of values.

    Args:
      serialized: `[batch]` records.
      columns: the columns to parse.

    Returns:
      By column name `[batch]` values, the column's missing one if a record has none.
    """
    empty = {column.name: column.missing for column in columns}
    spec = {
        column.name: tf.io.VarLenFeature(tf.dtypes.as_dtype(column.dtype)) for column in columns
    }
    return {
        name: tf.pad(tf.sparse.to_dense(values), [[0, 0], [0, 1]], constant_values=empty[name])[
            :, 0
        ]
        for name, values in tf.io.parse_example(serialized, spec).items()
    }
