"""Encodes the history of a user: pooled as a whole, and its latest events weighted by recency.

Training and the exported model share these functions. In training, the movie to be predicted is
left out of its history, and the session component sees earlier events of the same session only.

In training the events just before a rating are mostly known; at the start of a user's next session
they are not. So the histories of some training rows are truncated: their latest ratings are hidden.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from schema.events import SESSION_GAP_SECONDS

NEVER = 1e30
"""Seconds since the latest event of a user who has none."""


class Recency(NamedTuple):
    """The latest events, summed by weight.

    Attributes:
      block: `[batch, dim]` their weighted embeddings.
      seconds: `[batch]` float, since the latest of them; `NEVER` if there is none.
      history_length: `[batch]` integers, how many events there are in all.
    """

    block: tf.Tensor
    seconds: tf.Tensor
    history_length: tf.Tensor


def pooled_history(
    movies: tf.Tensor,
    segments: tf.Tensor,
    kept: tf.Tensor,
    table: tf.Tensor,
) -> tf.Tensor:
    """Pools each row's history: all kept movies of its segment but its own.

    The sum of embeddings over the square root of 1 + their number: between the mean, which
    forgets how much is known, and the sum, which lets long histories drown everything.

    Args:
      movies: `[batch]` index in `table` of each row's movie.
      segments: `[batch]` ascending number of each row's user.
      kept: `[batch]` float, 1 where the movie counts as history, 0 where it is left out.
      table: `[indices, dim]` history embeddings.

    Returns:
      `[batch, dim]`.
    """
    count = tf.reduce_max(segments) + 1
    vectors = tf.gather(table, movies) * kept[:, tf.newaxis]
    total = tf.gather(tf.math.unsorted_segment_sum(vectors, segments, count), segments)
    number = tf.gather(tf.math.unsorted_segment_sum(kept, segments, count), segments)
    return (total - vectors) / tf.sqrt(number - kept + 1.0)[:, tf.newaxis]


def truncated_history(
    movies: tf.Tensor,
    segments: tf.Tensor,
    kept: tf.Tensor,
    hidden: tf.Tensor,
    table: tf.Tensor,
) -> tf.Tensor:
    """Pools truncated histories: the movies before each row but the latest, hidden ones.

    Args:
      movies: `[batch]` index in `table` of each row's movie.
      segments: `[batch]` ascending number of each row's user, by time within.
      kept: `[batch]` float, 1 where the movie counts as history, 0 where it is left out.
      hidden: `[batch]` int32, how many ratings just before the row are hidden; at
        most as many as the user has before it.
      table: `[indices, dim]` history embeddings.

    Returns:
      `[batch, dim]`, as `mean_history` of the rows before the hidden ones.
    """
    row = tf.range(tf.shape(movies)[0])
    start, end = row - rows_before(segments), row - hidden

    def between(values: tf.Tensor) -> tf.Tensor:
        return tf.gather(values, end) - tf.gather(values, start)

    vectors = tf.gather(table, movies) * kept[:, tf.newaxis]
    totals = between(tf.cumsum(tf.pad(vectors, [[1, 0], [0, 0]])))
    return mean_history(totals, between(tf.cumsum(tf.pad(kept, [[1, 0]]))))


def rows_before(segments: tf.Tensor) -> tf.Tensor:
    """Returns `[batch]` int32: how many rows of its (ascending) segment are before each."""
    row = tf.range(tf.shape(segments)[0])
    return row - tf.searchsorted(segments, segments, side="left")


def mean_history(totals: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
    """Pools histories whose sums `[batch, dim]` and lengths `[batch]` are known."""
    return totals / tf.sqrt(counts + 1.0)[:, tf.newaxis]


def recency_weights(
    seconds: tf.Tensor, earlier: tf.Tensor, decay_seconds: tuple[float, ...]
) -> tf.Tensor:
    """Returns the weight of each event for each query, per decay time, normalised.

    w = exp(-Δt/τ) over strictly earlier events, divided by √(Σw + 0.5): a burst of recent
    events counts more than one, yet not in proportion.

    Args:
      seconds: `[..., queries, events]` float, time from event to query.
      earlier: `[..., queries, events]` bool, the events that count.
      decay_seconds: the τ, in seconds.

    Returns:
      `[..., decays, queries, events]` float.
    """
    decays = tf.constant(decay_seconds, tf.float32)[:, tf.newaxis, tf.newaxis]
    since = tf.expand_dims(tf.maximum(seconds, 0.0), -3)
    weight = tf.exp(-since / decays) * tf.expand_dims(tf.cast(earlier, tf.float32), -3)
    total = tf.reduce_sum(weight, axis=-1, keepdims=True)
    return weight / tf.sqrt(total + 0.5)


def recency_of_batch(
    movies: tf.Tensor,
    segments: tf.Tensor,
    timestamps: tf.Tensor,
    ties: tf.Tensor,
    hidden: tf.Tensor,
    max_truncation: int,
    table: tf.Tensor,
    mixture: tf.Tensor,
    decay_seconds: tuple[float, ...],
    events: int,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes block and seconds (as in `Recency`) of rows sorted by segment and event order.

    Of the session that a row's latest visible events form (`schema.events`), only the `events`
    rows before its hidden ones can count, so the batch is cut into blocks as long as both
    together, each compared with itself and the block before: the work grows with the batch, not
    with its square.

    The exported model looks at those of the latest `events` that are of the query's session.
    Where nothing is hidden the two agree, unless a rating has more than `events` before it and
    ties with some of them (ties take places here, so the oldest events drop out) or starts a
    later piece of a user who has more ratings than a batch (the pieces before are not seen here).

    Args:
      movies: `[batch]` index in `table` of each row's movie.
      segments: `[batch]` ascending number of each row's user.
      timestamps: `[batch]` unix seconds, ascending within a segment.
      ties: `[batch]` how many rows just before each are not known to be earlier.
      hidden: `[batch]` int32, how many rows just before each do not count.
      max_truncation: an upper bound of `hidden`.
      table: `[indices, dim]` recency embeddings.
      mixture: `[decays, dim]` how much each decay time counts.
      decay_seconds: the τ, in seconds.
      events: how many rows the block reaches back of the hidden ones.
    """
    batch = tf.shape(movies)[0]
    length = events + max_truncation
    blocks = (batch + length - 1) // length
    pad = blocks * length - batch
    # A block of padding in front stands for "the block before" of the first one.
    session = tf.pad(sessions_of(segments, timestamps), [[length, pad]], constant_values=-1)
    time = tf.pad(timestamps, [[length, pad]])
    vectors = tf.pad(tf.gather(table, movies), [[length, pad], [0, 0]])
    skipped, tied = (
        tf.reshape(tf.pad(tf.cast(rows, tf.int32), [[0, pad]]), [blocks, length, 1])
        for rows in (hidden, ties)
    )

    def queries(values: tf.Tensor) -> tf.Tensor:
        return tf.reshape(values[length:], [blocks, length])

    def keys(values: tf.Tensor) -> tf.Tensor:
        width = values.shape[1:].as_list()
        cut = tf.reshape(values, [blocks + 1, length, *width])
        return tf.concat([cut[:-1], cut[1:]], axis=1)

    difference = queries(time)[:, :, tf.newaxis] - keys(time)[:, tf.newaxis, :]
    same = queries(session)[:, :, tf.newaxis] == keys(session)[:, tf.newaxis, :]
    position = tf.range(length)[:, tf.newaxis] + length - tf.range(2 * length)[tf.newaxis, :]
    near = (position > skipped) & (position <= skipped + events)
    seconds, earlier = tf.cast(difference, tf.float32), same & near & (position > tied)
    # Hidden rows may leave a longer gap than a session has.
    goes_on = seconds_since(seconds, earlier) <= float(SESSION_GAP_SECONDS)
    earlier &= goes_on[:, :, tf.newaxis]
    weights = recency_weights(seconds, earlier, decay_seconds)
    pooled = tf.matmul(weights, keys(vectors)[:, tf.newaxis])
    mixed = tf.reduce_sum(pooled * mixture[:, tf.newaxis, :], axis=1)
    return (
        tf.reshape(mixed, [blocks * length, table.shape[1]])[:batch],
        tf.reshape(seconds_since(seconds, earlier), [blocks * length])[:batch],
    )


def sessions_of(segments: tf.Tensor, timestamps: tf.Tensor) -> tf.Tensor:
    """Returns `[batch]` ascending numbers of sessions, given rows sorted by (segment, time).

    Args:
      segments: `[batch]` ascending number of each row's user.
      timestamps: `[batch]` unix seconds.
    """
    begins = (segments[1:] != segments[:-1]) | (
        timestamps[1:] - timestamps[:-1] > SESSION_GAP_SECONDS
    )
    return tf.cumsum(tf.pad(tf.cast(begins, segments.dtype), [[1, 0]]))


def events_before(place: tf.Tensor, ties: tf.Tensor, hidden: tf.Tensor) -> tf.Tensor:
    """Returns `[batch]` how many known events of its user are strictly earlier than each row.

    Args:
      place: `[batch]` how many ratings of the user are before the row in event order.
      ties: `[batch]` how many of those are not known to be earlier.
      hidden: `[batch]` how many of those are hidden.
    """
    return place - tf.maximum(ties, tf.cast(hidden, ties.dtype))


def seconds_since(seconds: tf.Tensor, earlier: tf.Tensor) -> tf.Tensor:
    """Returns `[...]` seconds since the latest of the events `[..., events]` that count."""
    return tf.reduce_min(tf.where(earlier, seconds, NEVER), axis=-1)


def recency_of_events(
    movies: tf.Tensor,
    seconds: tf.Tensor,
    earlier: tf.Tensor,
    table: tf.Tensor,
    mixture: tf.Tensor,
    decay_seconds: tuple[float, ...],
) -> tf.Tensor:
    """Computes the session component of queries whose latest events are given.

    Args:
      movies: `[batch, events]` index in `table` of the events' movies.
      seconds: `[batch, events]` float, time from event to query.
      earlier: `[batch, events]` bool, the events that count.
      table: `[indices, dim]` recency embeddings.
      mixture: `[decays, dim]` how much each decay time counts.
      decay_seconds: the τ, in seconds.

    Returns:
      `[batch, dim]`.
    """
    weights = recency_weights(seconds[:, tf.newaxis], earlier[:, tf.newaxis], decay_seconds)
    pooled = tf.matmul(weights, tf.gather(table, movies)[:, tf.newaxis])
    return tf.reduce_sum(pooled[:, :, 0, :] * mixture, axis=1)
