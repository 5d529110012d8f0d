"""The parts of a query to the exported model."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainer.serving.interfaces import Features


class Query(NamedTuple):
    """The users and the times of queries, transformed.

    Attributes:
      user_row: `[batch]` int32; the number of users where unknown.
      features: `[batch, features]` int64: their transformed features.
      profile: `[batch, width]` tower outputs of retrieval, with what the context adds in a session.
      rating_outputs: `[batch, width]` tower outputs of the rating network; not used without one.
      context: transformed features of the context, `[batch]` each.
      timestamp: `[batch]` int64, unix seconds; 0 where the data has no times.
      position: `[batch]` int64 place in the file, which orders events of one second where that
        means something; 0 comes before all of them.
    """

    user_row: tf.Tensor
    features: tf.Tensor
    profile: tf.Tensor
    rating_outputs: tf.Tensor
    context: Features
    timestamp: tf.Tensor
    position: tf.Tensor


class Recent(NamedTuple):
    """Events that queries give beside the known histories.

    Attributes:
      movies: `[batch, n]` int32 rows of the catalogue.
      residuals: `[batch, n]` float32, stars above the user's mean; 0 where no rating is given.
      ratings: `[batch, n]` float32 stars; 0 where not given.
      seconds: `[batch, n]` float32, from the event to the query; `NEVER` without a time.
      counts: `[batch, n]` bool: the last event of each known movie, in event order; the
        others count for nothing.
      has_time: `[batch, n]` bool: which of them have a time, not after the query's: a session can
        hold these.
      disliked: `[batch, n]` bool: which are rated below the middle of the scale by somebody new.
    """

    movies: tf.Tensor
    residuals: tf.Tensor
    ratings: tf.Tensor
    seconds: tf.Tensor
    counts: tf.Tensor
    has_time: tf.Tensor
    disliked: tf.Tensor

    def without_dislikes(self) -> Recent:
        """Returns the events that count for the list: what somebody new dislikes is no like."""
        return self._replace(
            counts=self.counts & ~self.disliked, has_time=self.has_time & ~self.disliked
        )


class QueryContext(NamedTuple):
    """The time of a query, and events that it gives beside the known history.

    Attributes:
      timestamp: `[batch]` unix seconds of the query; 0 means now. None, like the next but one,
        where the data has no times.
      recent_movie_ids: `[batch, n]` ids beside the known history; an empty one is none.
      recent_timestamps: `[batch, n]` unix seconds of each. One of 0 has no time: it is history
        and never part of the session.
      recent_ratings: `[batch, n]` float32 ratings of each; NaN, or 0 where that is not on the
        scale, where none was given. None where the data has no ratings.
    """

    timestamp: tf.Tensor | None
    recent_movie_ids: tf.Tensor
    recent_timestamps: tf.Tensor | None
    recent_ratings: tf.Tensor | None


class Excluded(NamedTuple):
    """What may not be recommended.

    Attributes:
      movie_ids: `[batch, n]` ids; an empty or unknown one excludes nothing.
      seen: scalar bool, the user's history and recent movies as well.
    """

    movie_ids: tf.Tensor
    seen: tf.Tensor
