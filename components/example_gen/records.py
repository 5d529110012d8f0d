"""From tables to serialized tf.Examples, a column at a time.

Building one protocol buffer per row in Python is what makes a straightforward ExampleGen
slow; here users and movies are laid out and encoded once each, by tfx_bsl's C++ coder, and
gathered by row number in Arrow.
"""

from __future__ import annotations

import contextlib
import functools
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
_NOTHING = pa.scalar(b"", pa.large_binary())
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


def _singletons(values: pa.Array) -> pa.Array:
    """Lays single values out as the lists of a tf.Example; a missing one is no feature at all."""
    known = values.is_valid().to_numpy(zero_copy_only=False)
    offsets = np.append(0, np.cumsum(known, dtype=np.int32)).astype(np.int32)
    missing = np.append(~known, False) if values.null_count else None
    return pa.ListArray.from_arrays(pa.array(offsets, mask=missing), values.drop_null())


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

    @functools.cached_property
    def examples(self) -> pa.Array:
        """A serialized tf.Example `[n]` of each, in order of `ids`."""
        names = [name for name in self.table.names if name in self.columns]
        batch = pa.RecordBatch.from_arrays([self.columns[name] for name in names], names)
        return _examples(batch)


def _examples(batch: pa.RecordBatch) -> pa.Array:
    """Returns a serialized tf.Example `[n]` for each row of a batch."""
    return pa.array(example_coder.RecordBatchToExamples(batch), pa.large_binary())


def _positions(ratings: RatingsChunk, feature: Feature) -> npt.NDArray[np.int64]:
    if ratings.position is None:
        raise ValueError(
            f"expected the place of every rating in its file, for {feature.name}; "
            "received ratings without"
        )
    return ratings.position


def rating_examples(ratings: RatingsChunk, users: Side, movies: Side) -> Iterator[bytes]:
    """Yields one serialized tf.Example per rating: its own features, its user's and its movie's.

    Serialized protocol buffers that follow each other are one with the features of all
    (https://protobuf.dev/programming-guides/encoding/#last-one-wins), so users and movies are
    encoded once each. Where the table has no rating or no time, those of `ratings` are not written.

    Raises:
      ValueError: the table has a position or context features, and the ratings have none.
    """
    user_rows, movie_rows = users.rows(ratings.user_id), movies.rows(ratings.movie_id)
    own = _own_columns(ratings, users.table)
    for start in range(0, len(user_rows), _ROWS_PER_BATCH):
        rows = slice(start, start + _ROWS_PER_BATCH)
        parts = [
            users.examples.take(pa.array(user_rows[rows])),
            movies.examples.take(pa.array(movie_rows[rows])),
        ]
        if own:
            batch = pa.RecordBatch.from_arrays(
                [_singletons(values[rows]) for values in own.values()], list(own)
            )
            parts.append(_examples(batch))
        yield from pc.binary_join_element_wise(*parts, _NOTHING).to_pylist()


def _own_columns(ratings: RatingsChunk, table: FeatureTable) -> dict[str, pa.Array]:
    """Returns the columns `[n]` that are neither a user's nor a movie's."""
    columns: dict[str, pa.Array] = {}
    if table.has_rating:
        columns[table.rating.name] = pa.array(ratings.user_rating, pa.float32())
    if table.has_time:
        columns[table.timestamp.name] = pa.array(ratings.timestamp, pa.int64())
    if table.position is not None:
        columns[table.position.name] = pa.array(_positions(ratings, table.position), pa.int64())
    for feature in table.context:
        columns[feature.name] = _context(ratings, feature).cast(_ARROW_TYPES[feature.dtype])
    return columns


def _context(ratings: RatingsChunk, feature: Feature) -> pa.Array:
    if ratings.context is None:
        raise ValueError(f"expected {feature.name} of every rating, received ratings without")
    return ratings.context.column(feature.name).combine_chunks()


def user_examples(ratings: RatingsChunk, users: Side) -> list[bytes]:
    """Returns one serialized tf.Example per user of the ratings."""
    rows = np.unique(users.rows(ratings.user_id))
    return users.examples.take(pa.array(rows)).to_pylist()


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
    for feature in table.context:
        values = _context(ratings, feature)
        columns[feature.name] = values.dictionary_encode() if feature.dtype == "string" else values
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
    """Returns one serialized tf.Example per movie of the catalogue, in order of its id."""
    return movies.examples.to_pylist()


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
