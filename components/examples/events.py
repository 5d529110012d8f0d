"""Event files: the ratings of a split as columns that are mapped into memory, not parsed.

Beside the tf.Examples, which carry the text of users and movies in every row, RatingsGen writes
each rating once more as numbers. A file holds one partition of the users in one split:

    Events-<split>/data-00000-of-00004.arrow    ratings
    Users/data_tfrecord-00000-of-00004.gz       tf.Examples of the users of a partition

It is an Arrow IPC file of one uncompressed record batch, whose columns have the names of the
feature table: both ids as dictionaries with 32-bit codes, the rating as float32, time and position
as int64, context features as dictionaries of text or as float32, null where a number is not known.
A column that the table does not have is not there. Dictionaries of ids ascend by the ids' bytes
and may hold ids without a rating in the file. Rows are in event order: by user, then by time,
position and item, so that each user's ratings are one range.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from storage.paths import join, list_names

VERSION = "1"
"""Version of the format; a reader refuses any other."""

USERS = "Users"
"""The folder of the users, in the artifact."""

_VERSION_KEY = b"events_version"
_SUFFIX = ".arrow"

Codes: TypeAlias = npt.NDArray[np.int32]


def events_folder(uri: str | os.PathLike[str], split: str) -> str:
    """Returns the folder of a split's event files, in the Examples artifact of the ratings."""
    return join(uri, f"Events-{split}")


def event_files(uri: str | os.PathLike[str], split: str) -> list[str]:
    """Returns the complete event files of a split, sorted by name."""
    folder = events_folder(uri, split)
    names = [name for name in list_names(folder) if not name.startswith(".")]
    return [join(folder, name) for name in names if name.endswith(_SUFFIX)]


def file_name(shard: int, shards: int) -> str:
    """Returns the name of the event file of a partition."""
    return f"data-{shard:05d}-of-{shards:05d}{_SUFFIX}"


def write_events(path: str, columns: Mapping[str, pa.Array]) -> None:
    """Writes an event file.

    Args:
      path: the file.
      columns: `[n]` values by the names of the feature table, in event order.

    Raises:
      OSError: it cannot be written.
    """
    batch = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
    schema = batch.schema.with_metadata({_VERSION_KEY: VERSION.encode()})
    with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, schema) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=schema))


def map_events(path: str) -> pa.RecordBatch:
    """Returns the columns of an event file, which stay in the file until they are used.

    Raises:
      ValueError: it is of another version of the format.
      OSError: it cannot be read.
    """
    reader = pa.ipc.open_file(pa.memory_map(path))
    version = (reader.schema.metadata or {}).get(_VERSION_KEY, b"none").decode()
    if version != VERSION:
        raise ValueError(
            f"expected an event file of version {VERSION}, received version {version}: {path}; "
            "run without the cache (--no-cache)"
        )
    return reader.get_batch(0)


def codes_of(column: pa.DictionaryArray) -> tuple[npt.NDArray[np.bytes_], Codes]:
    """Returns the ids `[known]` that a column of ids knows, and the code `[n]` of each row."""
    ids = np.array(column.dictionary.to_pylist(), np.bytes_)
    return ids, column.indices.to_numpy()
