"""Which events belong to the session of a query, as TensorFlow operations.

Decided in `schema.events`: a chain of gaps of at most `SESSION_GAP_SECONDS` leads from the query
back to each event of its session.
"""

from __future__ import annotations

import tensorflow as tf

from schema.events import SESSION_GAP_SECONDS
from trainer.retrieval.history import NEVER


def session_of(seconds: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
    """Returns `[batch, events]` bool: which events belong to the query's session.

    Args:
      seconds: `[batch, events]` float32, from the event to the query, in any order.
      known: `[batch, events]` bool: which events have a time and are not after the query.
    """
    since = tf.where(known, seconds, NEVER)
    ascending = tf.sort(since, axis=1)
    gaps = ascending - tf.pad(ascending[:, :-1], [[0, 0], [1, 0]])
    # The chain breaks before the first event that is long before the one after it.
    beyond = tf.where(gaps > float(SESSION_GAP_SECONDS), ascending, NEVER)
    first_beyond = tf.reduce_min(tf.pad(beyond, [[0, 0], [0, 1]], constant_values=NEVER), axis=1)
    return known & (since < first_beyond[:, tf.newaxis])


def places_of_latest(seconds: tf.Tensor, known: tf.Tensor, count: int) -> tf.Tensor:
    """Returns `[batch, at most count]` int32: the columns of the latest known events.

    Unknown ones come after all others. Of events of one second the first column comes first.

    Args:
      seconds: `[batch, events]` float32, from the event to the query.
      known: `[batch, events]` bool.
      count: how many columns, where there are as many.
    """
    since = tf.where(known, seconds, NEVER)
    return tf.math.top_k(-since, tf.minimum(count, tf.shape(seconds)[1])).indices


def latest_of_session(seconds: tf.Tensor, known: tf.Tensor, count: int) -> tf.Tensor:
    """Returns `[batch, events]` bool: which of the `count` latest events are of the session.

    Args:
      seconds: `[batch, events]` float32, from the event to the query.
      known: `[batch, events]` bool: which events have a time and are not after the query.
      count: how many of the latest events are looked at.
    """
    places = places_of_latest(seconds, known, count)
    among = tf.reduce_any(tf.one_hot(places, tf.shape(seconds)[1], True, False), axis=1)
    return session_of(seconds, known & among)
