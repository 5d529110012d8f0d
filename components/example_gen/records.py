"""From tables to serialized tf.Examples, a column at a time.

Building one protocol buffer per row in Python is what makes a straightforward ExampleGen
slow; here the users' and movies' columns are laid out once, gathered by row number in
Arrow, and encoded by tfx_bsl's C++ coder.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
from tfx_bsl.coders import example_coder

from components.examples import events
from schema.features import Feature, FeatureTable, Owner
from sources import staging
from sources.interactions import id_keys
from sources.ratings import RatingsChunk

_ARROW_TYPES = {"string": pa.binary(), "int64": pa.int64(), "float32": pa.float32()}
_ROWS_PER_BATCH = 16_384
# Level 1 costs a third of the default's time for files a tenth larger.
_COMPRESSION = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=1)


def _lists(values: Iterable[Any], feature: Feature) -> pa.Array:
    """Lays values out as the lists of a tf.Example; a missing one is no feature at all."""
    rows = [
        None if _is_missing(value) else value if feature.multivalued else [value]
        for value in values
    ]
    if feature.dtype == "string":
        rows = [None if row is None else [str(value).encode() for value in row] for row in rows]
    return pa.array(rows, pa.list_(_ARROW_TYPES[feature.dtype]))


def _is_missing(value: object) -> bool:
    # A NaN is the only value that differs from itself.
    return value is None or value is pd.NA or (isinstance(value, float) and value != value)


def _singletons(values: npt.NDArray[np.generic], kind: pa.DataType) -> pa.Array:
    offsets = pa.array(np.arange(len(values) + 1, dtype=np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(values, kind))


class Side:
    """The columns of one owner (users or movies), laid out once and gathered per rating.

    Args:
      rows: one row per user or movie, with a column for each feature of its owner.
      owner: whose columns they are.
      table: the features.

    Attributes:
      ids: `[n]` the numbers that stand for the ids (`sources.interactions.id_keys`), ascending.

    Raises:
      ValueError: there is no column for a feature, or one number stands for two ids.
    """

    def __init__(self, rows: pd.DataFrame, owner: Owner, table: FeatureTable) -> None:
        self.table = table
        features = table.owned_by(owner)
        missing = [feature.name for feature in features if feature.name not in rows]
        if missing:
            raise ValueError(
                f"expected a column for every feature of owner {owner.value}, received none for "
                f"{', '.join(missing)}: read it from the data, or leave it out of the table"
            )
        key = table.user_id if owner is Owner.USER else table.item_id
        keys = id_keys(pa.array([str(text) for text in rows[key.name]], pa.string()))
        order = np.argsort(keys, kind="stable")
        rows, self.ids = rows.iloc[order], keys[order]
        if (self.ids[1:] == self.ids[:-1]).any():
            raise ValueError(f"expected ids of different numbers, received two {key.name} of one")
        self.columns: dict[str, pa.Array] = {
            feature.name: _lists(rows[feature.name], feature) for feature in features
        }

    def rows(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Returns the row number `[n]` of each id's number; every one must be in the table."""
        return np.searchsorted(self.ids, ids)

    def gather(self, rows: npt.NDArray[np.int64]) -> dict[str, pa.Array]:
        """Returns the columns at the row numbers `[n]`, repeated as often as named."""
        indices = pa.array(rows)
        return {name: column.take(indices) for name, column in self.columns.items()}


def rating_batch(ratings: RatingsChunk, users: Side, movies: Side) -> pa.RecordBatch:
    """Joins ratings with their user's and movie's columns: one row per rating.

    Where the table has no rating or no time, those of `ratings` are not written.

    Raises:
      ValueError: the table has a position, and the ratings have none.
    """
    columns = users.gather(users.rows(ratings.user_id))
    columns |= movies.gather(movies.rows(ratings.movie_id))
    table = users.table
    if table.has_rating:
        columns[table.rating.name] = _singletons(ratings.user_rating, pa.float32())
    if table.has_time:
        columns[table.timestamp.name] = _singletons(ratings.timestamp, pa.int64())
    if table.position is not None:
        places = _positions(ratings, table.position)
        columns[table.position.name] = _singletons(places, pa.int64())
    return _in_table_order(columns, table)


def _positions(ratings: RatingsChunk, feature: Feature) -> npt.NDArray[np.int64]:
    if ratings.position is None:
        raise ValueError(
            f"expected the place of every rating in its file, for {feature.name}; "
            "received ratings without"
        )
    return ratings.position


def movie_batch(movies: Side) -> pa.RecordBatch:
    """Returns the catalogue: one row per movie, rated or not, in order of its id."""
    return _in_table_order(movies.columns, movies.table)


def _in_table_order(columns: dict[str, pa.Array], table: FeatureTable) -> pa.RecordBatch:
    names = [name for name in table.names if name in columns]
    return pa.RecordBatch.from_arrays([columns[name] for name in names], names)


def rating_examples(ratings: RatingsChunk, users: Side, movies: Side) -> Iterator[bytes]:
    """Yields one serialized tf.Example per rating, encoding a bounded number at a time."""
    for start in range(0, len(ratings.user_id), _ROWS_PER_BATCH):
        rows = np.arange(start, min(start + _ROWS_PER_BATCH, len(ratings.user_id)))
        yield from example_coder.RecordBatchToExamples(
            rating_batch(ratings.take(rows), users, movies)
        )


def user_examples(ratings: RatingsChunk, users: Side) -> list[bytes]:
    """Returns one serialized tf.Example per user of the ratings."""
    rows = np.unique(users.rows(ratings.user_id))
    batch = _in_table_order(users.gather(rows), users.table)
    return list(example_coder.RecordBatchToExamples(batch))


def event_columns(
    ratings: RatingsChunk, users: Side, movies: Side
) -> tuple[npt.NDArray[np.int64], dict[str, pa.Array]]:
    """Returns what an event file holds of ratings (`components.examples.events`).

    Returns:
      The rows `[n]` of the ratings in event order, and the columns `[n]` in that order. Parts of
      them share their dictionaries.
    """
    table = users.table
    user = _ids(users, table.user_id.name, ratings.user_id)
    item = _ids(movies, table.item_id.name, ratings.movie_id)
    columns = {table.user_id.name: user, table.item_id.name: item}
    if table.has_rating:
        columns[table.rating.name] = pa.array(ratings.user_rating)
    if table.has_time:
        columns[table.timestamp.name] = pa.array(ratings.timestamp)
    keys = [item.indices.to_numpy(), ratings.timestamp, user.indices.to_numpy()]
    if table.position is not None:
        position = _positions(ratings, table.position)
        columns[table.position.name] = pa.array(position)
        keys.insert(1, position)
    order = np.lexsort(keys)
    rows = pa.array(order)
    return order, {name: column.take(rows) for name, column in columns.items()}


def _ids(side: Side, name: str, keys: npt.NDArray[np.int64]) -> pa.DictionaryArray:
    rows, codes = np.unique(side.rows(keys), return_inverse=True)
    ids = side.columns[name].take(pa.array(rows)).flatten()
    order = pc.sort_indices(ids)
    ranks = np.empty(len(rows), np.int32)
    ranks[order.to_numpy()] = np.arange(len(rows))
    return pa.DictionaryArray.from_arrays(pa.array(ranks[codes]), ids.take(order))


def movie_examples(movies: Side) -> list[bytes]:
    """Returns one serialized tf.Example per movie of the catalogue."""
    return list(example_coder.RecordBatchToExamples(movie_batch(movies)))


def write_shard(folder: str, shard: int, shards: int, examples: Iterable[bytes]) -> None:
    """Writes one gzipped TFRecord file of a split, complete or not at all.

    The name appears only when the file is complete, so a worker that is killed and
    started again leaves nothing half-written behind.

    Raises:
      InputError: the disk is full, or the folder is not writable.
    """
    name = f"data_tfrecord-{shard:05d}-of-{shards:05d}.gz"
    with (
        _completed(folder, name) as partial,
        tf.io.TFRecordWriter(partial, _COMPRESSION) as writer,
    ):
        for example in examples:
            writer.write(example)


def write_events(folder: str, shard: int, shards: int, columns: Mapping[str, pa.Array]) -> None:
    """Writes one event file of a split, complete or not at all; see `write_shard`."""
    with _completed(folder, events.file_name(shard, shards)) as partial:
        events.write_events(partial, columns)


@contextlib.contextmanager
def _completed(folder: str, name: str) -> Iterator[str]:
    """Yields the path of a file that gets its name when the block succeeds."""
    partial = str(Path(folder) / f".{name}.partial")
    with staging.writable(Path(folder)), _os_errors():
        tf.io.gfile.makedirs(folder)
        yield partial
        tf.io.gfile.rename(partial, str(Path(folder) / name), overwrite=True)


@contextlib.contextmanager
def _os_errors() -> Iterator[None]:
    """Turns TensorFlow's errors about the disk into the OSErrors that they once were."""
    try:
        yield
    except (tf.errors.ResourceExhaustedError, tf.errors.PermissionDeniedError) as error:
        raise OSError(error.message) from error
