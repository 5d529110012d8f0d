"""Ratings as they are served: two ways to predict stars, blended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from trainer.lookups import first_not_below, rows_of, saved_variable
from trainer.rating import rating_bpmf
from trainer.rating.rating_bpmf import BpmfFit
from trainer.rating.rating_dcn import RatingModel, TowerOutput


class BlendedRating(tf.Module):
    """A weighted mean of the Bayesian factorisation's stars and of the network's.

    Biases are columns of the factors, so one dot product gives mean + biases + user · movie.

    Args:
      network: the trained deep & cross network.
      fitted: the Bayesian factorisation.
      weight: its weight; the network has the rest.
    """

    def __init__(self, network: RatingModel, fitted: BpmfFit, weight: float) -> None:
        super().__init__(name="rating")
        self.network = network
        self.weight = weight
        users, movies = fitted.user_bias[:, np.newaxis], fitted.movie_bias[:, np.newaxis]
        self.user_factors = saved_variable(
            np.hstack([fitted.user_vectors, users + np.float32(fitted.mean), np.ones_like(users)]),
            "user_factors",
        )
        self.movie_factors = saved_variable(
            np.hstack([fitted.movie_vectors, np.ones_like(movies), movies]), "movie_factors"
        )
        self.effects = TimeEffects(fitted.effects, max(len(users), len(movies)))

    def user(self, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns `[batch, width]`: what follows from users' transformed features alone."""
        return tf.concat(self.network.user(features), axis=1)

    def movie(self, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns `[movies, width]`: what follows from movies' transformed features alone."""
        return tf.concat(self.network.movie(features), axis=1)

    def __call__(
        self,
        user_row: tf.Tensor,
        user: tf.Tensor,
        context: Mapping[str, tf.Tensor],
        timestamp: tf.Tensor,
        movie_row: tf.Tensor,
        movie: tf.Tensor,
    ) -> tf.Tensor:
        """Returns `[batch, n]` stars, not clipped.

        Args:
          user_row: `[batch]` rows of the factors; may be that of the unknown user.
          user: `[batch, width]`, what `user` gave.
          context: transformed features of the context, `[batch]` each.
          timestamp: `[batch]` unix seconds.
          movie_row: `[batch, n]` rows of the factors; may be that of the unknown movie.
          movie: `[batch, n, width]`, what `movie` gave.
        """
        factors = tf.gather(self.movie_factors, movie_row)
        own = tf.gather(self.user_factors, user_row)
        stars = tf.squeeze(tf.matmul(factors, own[:, :, tf.newaxis]), axis=2)
        stars += self.effects(user_row, movie_row, timestamp)
        network = self._network(user, context, movie)
        return self.weight * stars + (1.0 - self.weight) * network

    def _network(
        self, user: tf.Tensor, context: Mapping[str, tf.Tensor], movie: tf.Tensor
    ) -> tf.Tensor:
        """Returns the network's `[batch, n]` stars."""
        time = tf.concat(self.network.time_output(context), axis=1)
        batch, n, width = tf.unstack(tf.shape(movie))
        pairs = tf.range(batch * n)
        rows = tf.gather(tf.concat([user, time], axis=1), pairs // tf.maximum(n, 1))
        vectors, bias, time_vectors, time_bias = tf.split(
            rows, [user.shape[1] - 1, 1, time.shape[1] - 1, 1], axis=1
        )
        movie_vectors, movie_bias = tf.split(
            tf.reshape(movie, [-1, width]), [movie.shape[2] - 1, 1], axis=1
        )
        stars = self.network.stars(
            TowerOutput(vectors, bias),
            TowerOutput(movie_vectors, movie_bias),
            TowerOutput(time_vectors, time_bias),
            training=False,
        )
        return tf.reshape(stars, [batch, n])


class TimeEffects(tf.Module):
    """Sums the effects of time on users and movies: all tables in one, one search for all.

    Its keys are (effect · rows + row) · 2^34 + time // seconds.

    Args:
      effects: the tables.
      rows: no row is this large.

    Raises:
      ValueError: there are too many rows for 64 bits.
    """

    def __init__(self, effects: Sequence[rating_bpmf.TimeEffect], rows: int) -> None:
        super().__init__(name="time_effects")
        if len(effects) * rows * rating_bpmf.ROW >= 1 << 63:
            raise ValueError(
                f"expected fewer than 2^29 users and movies times effects of time, received {rows}"
                f" times {len(effects)}"
            )
        starts = np.arange(len(effects), dtype=np.int64) * rows * rating_bpmf.ROW
        of_user = np.array([effect.of_user for effect in effects], bool)
        seconds = np.array([effect.seconds for effect in effects], np.int64)
        self._users = (starts[of_user], seconds[of_user])
        self._movies = (starts[~of_user], seconds[~of_user])
        # The last one is for keys above all others: it equals none.
        last = np.iinfo(np.int64).max
        keys = [effect.keys + start for effect, start in zip(effects, starts, strict=True)]
        self.keys = saved_variable(np.concatenate([*keys, [last]]), "time_keys")
        self.values = saved_variable(
            np.concatenate([*(effect.values for effect in effects), [0]]).astype(np.float32),
            "time_values",
        )

    def __call__(
        self, user_row: tf.Tensor, movie_row: tf.Tensor, timestamp: tf.Tensor
    ) -> tf.Tensor:
        """Returns `[batch, n]` stars, given `[batch]` users and times, `[batch, n]` movies."""
        time = timestamp[:, tf.newaxis]
        users = _keys(user_row[:, tf.newaxis], time, *self._users)
        movies = _keys(movie_row[:, :, tf.newaxis], time[:, :, tf.newaxis], *self._movies)
        of_users, of_movies = tf.size(users), tf.size(movies)
        wanted = tf.concat([tf.reshape(users, [-1]), tf.reshape(movies, [-1])], axis=0)
        place = first_not_below(self.keys, wanted)
        found = tf.equal(rows_of(self.keys, place), wanted)
        stars = tf.where(found, tf.gather(self.values, place), 0.0)
        own, others = tf.split(stars, [of_users, of_movies])
        own = tf.reduce_sum(tf.reshape(own, tf.shape(users)), axis=1, keepdims=True)
        return own + tf.reduce_sum(tf.reshape(others, tf.shape(movies)), axis=2)


def _keys(
    rows: tf.Tensor,
    time: tf.Tensor,
    starts: npt.NDArray[np.int64],
    seconds: npt.NDArray[np.int64],
) -> tf.Tensor:
    return starts + tf.cast(rows, tf.int64) * rating_bpmf.ROW + time // seconds
