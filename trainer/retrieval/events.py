"""Histories of users as tensors: as pairs, the latest events, and padded."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf


class Events(NamedTuple):
    """What users have rated, as pairs.

    Attributes:
      pairs: `[events, 2]` int64: the row of the batch, the row of the catalogue.
      residuals: `[events]` float32, stars above the user's mean; 0 where not known.
    """

    pairs: tf.Tensor
    residuals: tf.Tensor


EVENTS = Events(tf.TensorSpec([None, 2], tf.int64), tf.TensorSpec([None]))
"""Shapes and types of `Events`."""


class Latest(NamedTuple):
    """The latest events before a query, the latest first.

    Attributes:
      movies: `[batch, events]` int32, rows of the catalogue; any where not `present`.
      seconds: `[batch, events]` float32, from the event to the query.
      ratings: `[batch, events]` float32 stars; 0 where not given.
      present: `[batch, events]` bool, whether there is such an event.
      earlier: `[batch, events]` bool, whether it belongs to the query's session
        (`schema.events.SESSION_GAP_SECONDS`).
      history_length: `[batch]` int64, how many events of the user come before the query in all.
    """

    movies: tf.Tensor
    seconds: tf.Tensor
    ratings: tf.Tensor
    present: tf.Tensor
    earlier: tf.Tensor
    history_length: tf.Tensor

    def first(self, count: int) -> Latest:
        """Returns the latest `count` of the events."""
        columns = {
            name: values[:, :count]
            for name, values in self._asdict().items()
            if name != "history_length"
        }
        return self._replace(**columns)


class History(NamedTuple):
    """Everything users have rated, padded to the longest.

    Attributes:
      movies: `[batch, events]` int32, rows of the catalogue; any where not `present`.
      residuals: `[batch, events]` float32, stars above the user's mean; 0 where not known.
      seconds: `[batch, events]` float32, from the event to the query.
      has_time: `[batch, events]` bool, whether it has a time that is not after the query's.
      present: `[batch, events]` bool, false for padding.
    """

    movies: tf.Tensor
    residuals: tf.Tensor
    seconds: tf.Tensor
    has_time: tf.Tensor
    present: tf.Tensor
