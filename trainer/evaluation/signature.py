"""The evaluation's signature: serialized tf.Examples to predicted ratings and ranks.

It is a function of an exported model of its own, which knows what its parts were fitted to. The
model that is served has the same parts, and neither this function nor its table.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from schema.predictions import (
    CATALOGUE_SIZE,
    KNOWN_USER,
    LIST_LENGTH,
    MOVIE_POPULARITY,
    NO_ITEM,
    POPULARITY_RANK,
    UNKNOWN_RANK,
    USER_KEY,
    items_of,
    items_popularity_of,
    rank_of,
    rating_of,
)
from schema.scenarios import IN_SESSION, NEXT_VISIT
from trainer.data.training_data import IntArray
from trainer.lookups import saved_variable
from trainer.serving.module import Answer, ServingModel
from trainer.serving.queries import Query

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

    @property
    def serving(self) -> ServingModel:
        """The model that is evaluated."""
        return self._serving

    def evaluate(self, examples: tf.Tensor) -> Answer:
        """Scores the (user, movie) of each serialized tf.Example; missing features are unknown.

        Args:
          examples: `[batch]` serialized tf.Examples with features of `schema.features`.

        Returns:
          `schema.predictions.OUTPUTS`, per scenario of `schema.scenarios`: `<scenario>_rank`
          `[batch]` int64, the movie's rank from 1 on among the movies that are not in the
          user's training history (ties count against the movie; a movie that is not in the
          catalogue has rank -1), `<scenario>_rating` `[batch]` stars, and `<scenario>_items`
          `[batch, 10]` int64, the first rows of that list (-1 where it is shorter).
          `user_key` is the same for all rows of a user, `known_user` `[batch]` bool whether the
          user has a history.
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
        ratings = {NEXT_VISIT: self._after_training(query), IN_SESSION: query}
        answer = {
            USER_KEY: tf.strings.to_hash_bucket_fast(user_id, 1 << 62),
            KNOWN_USER: tf.gather(bounds[:, 1] > bounds[:, 0], user),
            **self._popularity_of(movie_row, seen),
        }
        for scenario, in_scenario in ((NEXT_VISIT, long_term), (IN_SESSION, scores)):
            items = self._items(in_scenario, seen)
            answer |= {
                rank_of(scenario): self._ranks(in_scenario, movie_row, seen),
                rating_of(scenario): serving.stars(ratings[scenario], movie_row[:, tf.newaxis])[
                    :, 0
                ],
                items_of(scenario): items,
                items_popularity_of(scenario): self._mean_popularity(items),
            }
        return answer

    def _after_training(self, query: Query) -> Query:
        """Returns the queries at one and the same time, long after the training."""
        time = tf.fill(tf.shape(query.timestamp), np.int64(self._serving.history.last_time + _LONG))
        return query._replace(context=self._serving.context_after_training(time), timestamp=time)

    def _ranks(self, scores: tf.Tensor, movie_row: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
        """Returns `[batch]` ranks of the rows' movies by `[batch, movies]` scores.

        Movies marked in `seen` are no part of the list; the row's own always is.
        """
        movies = self._serving.movies.count
        known, column = movie_row < movies, tf.minimum(movie_row, movies - 1)
        own = tf.gather(scores, column, batch_dims=1)[:, tf.newaxis]
        removed = seen & ~tf.one_hot(column, movies, True, False)
        # `~(scores < own)` rather than `scores >= own`, so that NaN ranks last.
        total = tf.reduce_sum(tf.cast(~(scores < own) & ~removed, tf.int64), axis=1)
        return tf.where(known, total, tf.cast(UNKNOWN_RANK, tf.int64))

    def _items(self, scores: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, LIST_LENGTH]` int64: the best rows of the catalogue but the seen."""
        worst = scores.dtype.min
        allowed = tf.where(seen | tf.math.is_nan(scores), worst, scores)
        length = min(LIST_LENGTH, self._serving.movies.count)
        best = tf.math.top_k(allowed, length)
        items = tf.where(best.values > worst, tf.cast(best.indices, tf.int64), NO_ITEM)
        return tf.pad(items, [[0, 0], [0, LIST_LENGTH - length]], constant_values=NO_ITEM)

    def _mean_popularity(self, items: tf.Tensor) -> tf.Tensor:
        """Returns `[batch]` float32: the mean training ratings of the items; 0 of none."""
        real = items != NO_ITEM
        counts = tf.gather(self._popularity, tf.maximum(items, 0))
        total = tf.reduce_sum(tf.where(real, counts, tf.zeros_like(counts)), axis=1)
        number = tf.reduce_sum(tf.cast(real, tf.int64), axis=1)
        return tf.cast(total, tf.float32) / tf.cast(tf.maximum(number, 1), tf.float32)

    def _popularity_of(self, movie_row: tf.Tensor, seen: tf.Tensor) -> Answer:
        movies = self._serving.movies.count
        column = tf.minimum(movie_row, movies - 1)
        counts = tf.gather(self._popularity, column)
        popularity = tf.broadcast_to(self._popularity[tf.newaxis], tf.shape(seen))
        return {
            POPULARITY_RANK: self._ranks(popularity, movie_row, seen),
            MOVIE_POPULARITY: tf.where(movie_row < movies, counts, tf.zeros_like(counts)),
            CATALOGUE_SIZE: tf.fill(tf.shape(movie_row), np.int64(movies)),
        }
