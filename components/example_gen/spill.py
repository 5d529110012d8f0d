"""Spills ratings to files between reading and partitioning, so that memory is bounded.

Each chunk is one file, its rows in order of their partition; Beam carries the places alone. A file
is mapped into memory and has no longer life than the component's execution.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.examples import events
from schema import hashing
from sources.ratings import RatingsChunk, concatenate

FOLDER = ".partitions"
"""Below the artifact."""


class Place(NamedTuple):
    """Where rows of one partition are in a file.

    Attributes:
      path: of the file.
      start: its first row.
      rows: how many there are.
    """

    path: str
    start: int
    rows: int


def write(path: str, chunk: RatingsChunk, partitions: int) -> Iterator[tuple[int, Place]]:
    """Writes a chunk to a file, and yields the place of each partition's rows.

    A partition holds all ratings of its users: any function of the user's id will do.

    Raises:
      OSError: the file cannot be written.
    """
    hashed = hashing.pair_hash(chunk.user_id, np.zeros_like(chunk.user_id), 0)
    partition = (hashed % np.uint64(partitions)).astype(np.int64)
    columns = chunk.take(np.argsort(partition, kind="stable"))._asdict()
    context = columns.pop("context")
    known = {name: pa.array(column) for name, column in columns.items() if column is not None}
    of_context = {} if context is None else dict(zip(context.column_names, context, strict=True))
    events.write_events(
        path, known | {name: column.combine_chunks() for name, column in of_context.items()}
    )
    counts = np.bincount(partition, minlength=partitions)
    for number in np.flatnonzero(counts).tolist():
        yield number, Place(path, int(counts[:number].sum()), int(counts[number]))


def read(places: Iterable[Place]) -> RatingsChunk:
    """Returns the ratings of a partition, in any order."""
    return concatenate(map(_read, places))


def _read(place: Place) -> RatingsChunk:
    batch = events.map_events(place.path).slice(place.start, place.rows)
    names = [name for name in batch.schema.names if name in RatingsChunk._fields]
    columns: dict[str, npt.NDArray[np.generic]] = {
        name: batch.column(name).to_numpy() for name in names
    }
    context = pa.Table.from_batches([batch]).drop(names)
    return RatingsChunk(
        **columns,  # type: ignore[arg-type]  # the types of the file are those
        context=context if context.num_columns else None,
    )
