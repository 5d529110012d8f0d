"""Interactions as Arrow columns, and the numbers that stand for ids while they are split."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sources.ratings import RatingsChunk

INTERACTIONS = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("rating", pa.float32()),
        pa.field("timestamp", pa.int64()),
        pa.field("position", pa.int64()),
    ]
)
"""The columns of a batch of interactions: unix seconds, and the place in the file, which is null
where the order of the file means nothing. Columns after these are context features."""

CONTEXT_TYPES = {"string": pa.string(), "float32": pa.float32()}
"""The types of the columns of context features. Text that is not known is "unknown", a number that
is not known null."""

# "007" and "-0" are not canonical: they are text.
_WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,18}")
# At most 18 digits always fit int64.
_SHORT_NUMBER = r"^(0|-?[1-9][0-9]{0,17})$"


def batch_of(chunk: RatingsChunk) -> pa.RecordBatch:
    """Returns ratings of whole-number ids as a batch of `INTERACTIONS`."""
    position = chunk.position
    rows = len(chunk.user_id)
    columns = [
        pa.array(chunk.user_id).cast(pa.string()),
        pa.array(chunk.movie_id).cast(pa.string()),
        pa.array(chunk.user_rating),
        pa.array(chunk.timestamp),
        pa.nulls(rows, pa.int64()) if position is None else pa.array(position),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=INTERACTIONS)


def chunk_of(batch: pa.RecordBatch) -> RatingsChunk:
    """Returns a batch of `INTERACTIONS` and context features, its ids as `id_keys`.

    A rating or a time that the data does not have (null) is 0; the records lack it again.
    """
    position = batch.column("position")
    context = pa.Table.from_batches([batch]).select(batch.schema.names[len(INTERACTIONS) :])
    return RatingsChunk(
        id_keys(batch.column("user_id")),
        id_keys(batch.column("item_id")),
        batch.column("rating").fill_null(0.0).to_numpy(zero_copy_only=False),
        batch.column("timestamp").fill_null(0).to_numpy(zero_copy_only=False),
        None if position.null_count else position.to_numpy(zero_copy_only=False),
        context if context.num_columns else None,
    )


def id_keys(ids: pa.Array) -> npt.NDArray[np.int64]:
    """Returns the number `[n]` that stands for each id in splits and partitions.

    The canonical text of a whole number of 64 bits ("7", not "007") is that number; any other
    text is its `text_key`.

    Args:
      ids: `[n]` strings.
    """
    whole = pc.match_substring_regex(ids, _SHORT_NUMBER)
    if pc.all(whole, min_count=0).as_py():
        return ids.cast(pa.int64()).to_numpy(zero_copy_only=False)
    encoded = ids.dictionary_encode()
    keys = [_key(text) for text in encoded.dictionary.to_pylist()]
    return np.array(keys, np.int64)[encoded.indices.to_numpy()]


def _key(text: str) -> int:
    if _WHOLE_NUMBER.fullmatch(text) and -(2**63) <= (value := int(text)) < 2**63:
        return value
    return text_key(text)


def text_key(text: str) -> int:
    """Returns the 64-bit BLAKE2b hash (RFC 7693, no key) of a text's UTF-8, as a signed number.

    The eight bytes of the hash are read with the lowest first.
    """
    digest = hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
