"""The tables that the exported model looks up: movies, users, and their histories."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from trainer.data.training_data import (
    Bytes,
    Catalogue,
    Floats,
    Interactions,
    Users,
    mean_ratings,
    rating_residuals,
)
from trainer.lookups import first_not_below, rows_of, saved_variable
from trainer.retrieval.events import Events, History, Latest
from trainer.serving.interfaces import Features
from transform.outputs import Output

_LEAST_RATING = 1e-3
"""Stars that are above 0, which stands for no rating."""


def row_lookup(ids: Bytes, name: str) -> tf.lookup.StaticHashTable:
    """A table from ids to their position; an unknown id gets the position after the last."""
    initializer = tf.lookup.KeyValueTensorInitializer(
        tf.constant(ids.tolist()), tf.range(len(ids), dtype=tf.int32)
    )
    return tf.lookup.StaticHashTable(initializer, len(ids), name=name)


class MovieTable(tf.Module):
    """The catalogue by row. One more row stands for "no movie": unknown, or none left.

    Args:
      catalogue: every movie.
      outputs: `[movies + 1, width]` tower outputs of the rating model; None without one.
      similarity_vectors: `[movies, dim]`, close where the same users like both movies.
    """

    def __init__(
        self, catalogue: Catalogue, outputs: tf.Tensor | None, similarity_vectors: tf.Tensor
    ) -> None:
        super().__init__(name="movie_table")
        self.count = len(catalogue.ids)
        self._rows = row_lookup(catalogue.ids, "movie_rows")
        self._ids = tf.constant([*catalogue.ids, b""])
        self._titles = tf.constant([*catalogue.titles, b""])
        self.outputs = None if outputs is None else saved_variable(outputs, "movie_outputs")
        vectors = tf.math.l2_normalize(similarity_vectors, axis=1)
        self.similarity_vectors = saved_variable(
            tf.pad(vectors, [[0, 1], [0, 0]]), "similarity_vectors"
        )

    def rows(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns int32 rows of ids of any shape."""
        return self._rows.lookup(ids)

    def ids(self, rows: tf.Tensor) -> tf.Tensor:
        """Returns the ids of rows; empty for "no movie"."""
        return tf.gather(self._ids, rows)

    def titles(self, rows: tf.Tensor) -> tf.Tensor:
        """Returns the titles of rows; empty for "no movie"."""
        return tf.gather(self._titles, rows)


class UserTable(tf.Module):
    """The known users by row. One more row stands for unknown users.

    Args:
      users: the users.
      outputs: their transformed features, in the order of the profiles' columns.
      unknown: transformed features of a user without a profile, `[1]` each.
    """

    def __init__(self, users: Users, outputs: tuple[Output, ...], unknown: Features) -> None:
        super().__init__(name="user_table")
        self.count = len(users.ids)
        self._rows = row_lookup(users.ids, "user_rows")
        columns = [np.append(users.features[one.name], unknown[one.name]) for one in outputs]
        self.profiles = saved_variable(np.stack(columns, axis=1), "profiles")

    def rows(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns int32 rows of `[batch]` ids."""
        return self._rows.lookup(ids)


class HistoryTable(tf.Module):
    """The known ratings by user, and of each user by time.

    A key is row · span + time since the first rating: ascending, so that one search finds a
    user's place in time. The unknown user, of the row after the last, has an empty history.

    Args:
      interactions: the known ratings.
      context_effects: `[ratings]` how many stars the context of each adds to what is usual, which
        the ratings of the latest events are without; None where the data has no context features.
    """

    def __init__(self, interactions: Interactions, context_effects: Floats | None = None) -> None:
        super().__init__(name="history_table")
        self._context_effects: tf.Variable | None = None
        if context_effects is not None:
            self._context_effects = saved_variable(context_effects, "context_effects")
        times = interactions.timestamp
        self.first_time, self.last_time = int(times.min()), int(times.max())
        self._span = self.last_time - self.first_time + 2
        self.movies = saved_variable(interactions.movie_row.astype(np.int32), "history_movies")
        self.residuals = saved_variable(rating_residuals(interactions), "history_residuals")
        keys = interactions.user_row.astype(np.int64) * self._span + (times - self.first_time)
        self.keys = saved_variable(keys, "history_keys")
        self._places: tf.Variable | None = None
        if interactions.position.any():
            # Ascending keys as well: number of the (user, second) · span + place in the file.
            seconds = np.cumsum(np.diff(keys, prepend=keys[0]) != 0)
            self._places_span = int(interactions.position.max()) + 1
            self._seconds = saved_variable(seconds, "history_seconds")
            self._places = saved_variable(
                seconds * self._places_span + interactions.position, "history_places"
            )
        offsets = interactions.offsets.astype(np.int64)
        bounds = np.stack([offsets, np.append(offsets[1:], offsets[-1])], axis=1)
        self._bounds = saved_variable(bounds, "history_bounds")
        means = np.append(mean_ratings(interactions), np.mean(interactions.rating, dtype=float))
        means[:-1][np.diff(offsets) == 0] = means[-1]
        self._means = saved_variable(means.astype(np.float32), "mean_ratings")

    def bounds(self, user_row: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, 2]` int64: where each user's history starts and ends."""
        return tf.gather(self._bounds, user_row)

    def mean_ratings(self, user_row: tf.Tensor) -> tf.Tensor:
        """Returns `[batch]` the users' mean ratings in stars; of an unknown one that of all."""
        return tf.gather(self._means, user_row)

    def events(self, bounds: tf.Tensor) -> Events:
        """Returns the histories, given their `[batch, 2]` bounds."""
        starts, ends = tf.unstack(bounds, num=2, axis=1)
        places = tf.raw_ops.RaggedRange(starts=starts, limits=ends, deltas=np.int64(1))
        cells = tf.raw_ops.RaggedTensorToSparse(
            rt_nested_splits=[places.rt_nested_splits], rt_dense_values=places.rt_dense_values
        )
        movies = tf.gather(self.movies, places.rt_dense_values)
        return Events(
            tf.stack([cells.sparse_indices[:, 0], tf.cast(movies, tf.int64)], axis=1),
            tf.gather(self.residuals, places.rt_dense_values),
        )

    def before(
        self, user_row: tf.Tensor, timestamp: tf.Tensor, position: tf.Tensor, bounds: tf.Tensor
    ) -> tf.Tensor:
        """Returns `[batch, 2]` bounds of what is before each query, in event order.

        Events of the query's second are before it where their place in the file is, if the order
        of the file means something; else none of them is.

        Args:
          user_row: `[batch]` rows of the users.
          timestamp: `[batch]` unix seconds of the queries.
          position: `[batch]` int64 places in the file.
          bounds: `[batch, 2]` of the users' histories.
        """
        time = tf.clip_by_value(timestamp, self.first_time, self.last_time + 1)
        keys = self._key_of_second_0(user_row) + time
        ends = first_not_below(self.keys, keys)
        if self._places is not None:
            row = tf.minimum(ends, self.keys.shape[0] - 1)
            wanted = rows_of(self._seconds, row) * self._places_span
            wanted += tf.minimum(position, self._places_span)
            has_ties = (rows_of(self.keys, row) == keys) & (time == timestamp)
            ends = tf.where(has_ties, first_not_below(self._places, wanted), ends)
        return tf.stack([bounds[:, 0], tf.cast(ends, tf.int64)], axis=1)

    def latest(
        self, user_row: tf.Tensor, timestamp: tf.Tensor, before: tf.Tensor, count: int
    ) -> Latest:
        """Returns the latest `count` events before each query; all are `earlier`, of any session.

        Args:
          user_row: `[batch]` rows of the users.
          timestamp: `[batch]` unix seconds of the queries.
          before: `[batch, 2]`, of `before`.
          count: how many events, at most.
        """
        start = self._key_of_second_0(user_row)
        ends = before[:, 1]
        places = ends[:, tf.newaxis] - np.arange(1, count + 1)
        present = places >= before[:, :1]
        places = tf.maximum(places, 0)
        seconds = (start + timestamp)[:, tf.newaxis] - rows_of(self.keys, places)
        ratings = tf.gather(self.residuals, places) + self.mean_ratings(user_row)[:, tf.newaxis]
        if self._context_effects is not None:
            # A rating of 0 or less would be none.
            without = ratings - tf.gather(self._context_effects, places)
            ratings = tf.where(ratings > 0, tf.maximum(without, _LEAST_RATING), ratings)
        return Latest(
            tf.gather(self.movies, places),
            tf.cast(seconds, tf.float32),
            ratings,
            present,
            present,
            ends - before[:, 0],
        )

    def padded(self, user_row: tf.Tensor, timestamp: tf.Tensor, bounds: tf.Tensor) -> History:
        """Returns whole histories, the latest event first, padded to the longest.

        Those strictly before the query's time are marked as `has_time`.

        Args:
          user_row: `[batch]` rows of the users.
          timestamp: `[batch]` unix seconds of the queries.
          bounds: `[batch, 2]` of the users' histories.
        """
        starts, ends = tf.split(bounds, 2, axis=1)
        longest = tf.reduce_max(tf.concat([[[0]], ends - starts], axis=0))
        places = ends - 1 - tf.range(longest)[tf.newaxis, :]
        present = places >= starts
        places = tf.where(present, places, 0)
        times = rows_of(self.keys, places) - self._key_of_second_0(user_row)[:, tf.newaxis]
        seconds = timestamp[:, tf.newaxis] - times
        return History(
            tf.gather(self.movies, places),
            tf.gather(self.residuals, places),
            tf.cast(seconds, tf.float32),
            present & (seconds > 0),
            present,
        )

    def _key_of_second_0(self, user_row: tf.Tensor) -> tf.Tensor:
        """Returns `[batch]` what a rating's key would be whose unix time is 0."""
        return tf.cast(user_row, tf.int64) * self._span - self.first_time
