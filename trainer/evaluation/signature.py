"""The evaluation's signature: serialized tf.Examples to predicted ratings and ranks.

It is a function of its own in the exported model. What is pushed is what was judged, and the
signatures that programs ask have neither its outputs nor its table.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from schema.predictions import (
    PREDICTED_RATING,
    RANK_ALL,
    RANK_PLAIN,
    RANK_POPULARITY,
    RANK_UNSEEN,
    RANK_UNTIMED,
    UNKNOWN_RANK,
    UNTIMED_RATING,
    USER_KEY,
)
from trainer.data.training_data import IntArray
from trainer.lookups import saved_variable
from trainer.serving.module import UNKNOWN_TIME, Answer, ServingModel
from trainer.serving.queries import Query
from transform import outputs as out

_LONG = 10_000_000_000
"""Seconds until no effect of time is left."""


class Evaluation(tf.Module):
    """What the Evaluator asks of a model, row by row.

    Args:
      serving: the model that is evaluated.
      ratings_per_movie: `[movies]` training ratings of each, to rank by popularity.
    """

    def __init__(self, serving: ServingModel, ratings_per_movie: IntArray) -> None:
        super().__init__(name="evaluation")
        self._serving = serving
        self._popularity = saved_variable(ratings_per_movie.astype(np.int64), "popularity")

    def evaluate(self, examples: tf.Tensor) -> Answer:
        """Scores the (user, movie) of each serialized tf.Example; missing features are unknown.

        Args:
          examples: `[batch]` serialized tf.Examples with features of `schema.features`.

        Returns:
          `predicted_rating` `[batch]` stars, and `untimed_rating`: the same asked after the
          training's end. Ranks of the movie, `[batch]` int64, from 1 on: `rank_all` among
          all movies, where those in the user's training history come last (the seen-item
          mask), `rank_plain` without that; `rank_unseen` among the movies not in the training
          history, `rank_untimed` the same without the times of the history, and
          `rank_popularity` by number of training ratings, to compare with. Ties count
          against the movie. A movie that is not in the catalogue has rank -1. `user_key` is
          the same for all rows of a user.
        """
        serving = self._serving
        user_id, query, movie_row = serving.queries_of(examples)
        # A batch has many rows of few users: what follows from histories is made once each.
        users, user = tf.unique(query.user_row)
        bounds = serving.history.bounds(users)
        events = serving.history.events(bounds)
        seen = tf.gather(serving.marks(events.pairs, tf.size(users)), user)
        user_state = serving.user_state(query.user_row)
        long_term = serving.retrieval.long_term_scores(user_state, query.profile)
        latest = serving.latest(query, tf.gather(bounds, user))
        scores = serving.retrieval.scores(long_term, user_state, query.profile, latest)
        return {
            USER_KEY: tf.strings.to_hash_bucket_fast(user_id, 1 << 62),
            **self._ratings(query, movie_row),
            **self._ranks(movie_row, seen, scores, long_term),
        }

    def _ratings(self, query: Query, movie_row: tf.Tensor) -> Answer:
        untimed = query._replace(
            context={
                **query.context,
                out.TIME_BUCKET: tf.fill(tf.shape(movie_row), UNKNOWN_TIME),
            },
            timestamp=tf.fill(
                tf.shape(movie_row), np.int64(self._serving.history.last_time + _LONG)
            ),
        )
        movies = movie_row[:, tf.newaxis]
        return {
            PREDICTED_RATING: self._serving.stars(query, movies)[:, 0],
            UNTIMED_RATING: self._serving.stars(untimed, movies)[:, 0],
        }

    def _ranks(
        self, movie_row: tf.Tensor, seen: tf.Tensor, scores: tf.Tensor, long_term: tf.Tensor
    ) -> Answer:
        """Ranks the movies of the rows, given `[batch, movies]` masks and scores."""
        movies = self._serving.movies.count
        known, column = movie_row < movies, tf.minimum(movie_row, movies - 1)
        others_seen = seen & ~tf.one_hot(column, movies, True, False)
        own_seen = tf.gather(seen, column, batch_dims=1)[:, tf.newaxis]
        not_below = _not_below(scores, column)
        popular = _not_below(self._popularity[tf.newaxis], column)
        return {
            # The movie's own place decides whether seen movies come before it or not.
            RANK_ALL: _count(tf.where(own_seen, ~seen | not_below, ~seen & not_below), known),
            RANK_PLAIN: _count(not_below, known),
            RANK_UNSEEN: _count(not_below & ~others_seen, known),
            RANK_UNTIMED: _count(_not_below(long_term, column) & ~others_seen, known),
            RANK_POPULARITY: _count(popular & ~others_seen, known),
        }


def _not_below(scores: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
    """Returns `[batch, movies]` bool: which movies are not below the one in the column.

    `~(scores < own)` rather than `scores >= own`, so that NaN ranks last.
    """
    rows = tf.shape(column)[0]
    own = tf.gather(tf.broadcast_to(scores, [rows, tf.shape(scores)[1]]), column, batch_dims=1)
    return ~(scores < own[:, tf.newaxis])


def _count(marks: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
    total = tf.reduce_sum(tf.cast(marks, tf.int64), axis=1)
    return tf.where(known, total, tf.cast(UNKNOWN_RANK, tf.int64))
