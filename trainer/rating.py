"""The rating model: biases, and a deep & cross network for what they do not explain."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_recommenders as tfrs

from trainer.config import ModelConfig
from trainer.data import Interactions
from trainer.towers import FeatureSum, embedding_table
from transform import outputs as out

USER_SHRINKAGE, MOVIE_SHRINKAGE = 10.0, 5.0
"""Ratings' worth of doubt in the biases of users and movies."""

_SIDE_FEATURES: tuple[out.Output, ...] = (
    out.AGE_BUCKET,
    out.GENDER,
    out.OCCUPATION,
    out.RELEASE_YEAR,
    out.TIME_BUCKET,
    out.HOUR_OF_DAY,
    out.DAY_OF_WEEK,
)
_MOVIE_LISTS: tuple[out.Output, ...] = (out.GENRES, out.DIRECTOR, out.STAR)


def baseline_biases(
    user_index: npt.NDArray[np.int64],
    movie_index: npt.NDArray[np.int64],
    rating: npt.NDArray[np.float32],
    users: int,
    movies: int,
    sweeps: int = 10,
) -> tuple[float, npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Fits rating ≈ mean + user's bias + movie's bias by alternating least squares.

    Koren, Bell: Advances in Collaborative Filtering (2015), section 3.2.1, with the
    shrinkage given above.

    Args:
      user_index: `[ratings]`, below `users`.
      movie_index: `[ratings]`, below `movies`.
      rating: `[ratings]` stars.
      users: number of user indices; those without ratings get 0.
      movies: number of movie indices; those without ratings get 0.
      sweeps: alternations.

    Returns:
      The mean, biases `[users]` and biases `[movies]`, in stars.
    """
    mean = float(rating.mean())
    user_bias, movie_bias = np.zeros(users), np.zeros(movies)
    user_count = np.bincount(user_index, minlength=users) + USER_SHRINKAGE
    movie_count = np.bincount(movie_index, minlength=movies) + MOVIE_SHRINKAGE
    for _ in range(sweeps):
        rest = rating - mean - user_bias[user_index]
        movie_bias = np.bincount(movie_index, rest, movies) / movie_count
        rest = rating - mean - movie_bias[movie_index]
        user_bias = np.bincount(user_index, rest, users) / user_count
    return mean, user_bias.astype(np.float32), movie_bias.astype(np.float32)


class RatingModel(tf.Module):
    """Stars = mean + user's bias + movie's bias + range · tanh(deep & cross network).

    The network's input holds the embeddings of user and movie, their product, and those
    of the other features; `tfrs.layers.dcn.Cross` learns which of them matter together.

    Args:
      sizes: number of indices of each feature, by name.
      interactions: the training ratings, to fit the initial biases.
      user_index: `[ratings]` transformed user id of each.
      movie_index: `[ratings]` transformed movie id of each.
      config: widths and dropout.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        interactions: Interactions,
        user_index: npt.NDArray[np.int64],
        movie_index: npt.NDArray[np.int64],
        config: ModelConfig,
    ) -> None:
        super().__init__(name="rating_model")
        users, movies = sizes[out.USER_ID.name], sizes[out.MOVIE_ID.name]
        mean, user_bias, movie_bias = baseline_biases(
            user_index, movie_index, interactions.rating, users, movies
        )
        self.config = config
        self.mean = tf.constant(mean, tf.float32)
        self.user_bias = tf.Variable(user_bias[:, np.newaxis], name="user_bias")
        self.movie_bias = tf.Variable(movie_bias[:, np.newaxis], name="movie_bias")
        self.users = _ids_without_history("rating_user", user_index, users, config.rating_dim)
        self.movies = _ids_without_history("rating_movie", movie_index, movies, config.rating_dim)
        self.sides = [
            FeatureSum((feature,), sizes, config.feature_dim, f"rating_{feature.name}")
            for feature in (*_SIDE_FEATURES, *_MOVIE_LISTS)
        ]
        self.cross = tfrs.layers.dcn.Cross(projection_dim=config.cross_projection)
        self.hidden = tf.keras.layers.Dense(config.hidden_units, activation="relu")
        self.head = tf.keras.layers.Dense(1)

    def __call__(
        self,
        user_features: Mapping[str, tf.Tensor],
        movie_features: Mapping[str, tf.Tensor | tf.RaggedTensor],
        *,
        training: bool,
    ) -> tf.Tensor:
        """Returns predicted stars `[batch]`, not clipped to the scale.

        Args:
          user_features: transformed features of user and context, `[batch]` each.
          movie_features: transformed features of the movie, `[batch]` or ragged.
          training: whether dropout applies.
        """
        drop_user, drop_movie, drop_hidden = self.config.rating_dropout if training else (0, 0, 0)
        user_id = user_features[out.USER_ID.name]
        movie_id = movie_features[out.MOVIE_ID.name]
        user = tf.gather(self.users, user_id)
        movie = tf.gather(self.movies, movie_id)
        values = {**user_features, **movie_features}
        inputs = tf.concat(
            [
                tf.nn.dropout(user, drop_user),
                tf.nn.dropout(movie, drop_movie),
                user * movie,
                *(side(values) for side in self.sides),
            ],
            axis=1,
        )
        hidden = tf.nn.dropout(self.hidden(self.cross(inputs)), drop_hidden)
        bias = tf.gather(self.user_bias, user_id) + tf.gather(self.movie_bias, movie_id)
        correction = self.config.rating_range * tf.tanh(self.head(hidden))
        return tf.squeeze(self.mean + bias + correction, axis=1)

    def l2(self) -> tf.Tensor:
        """Returns half the sum of squares of the embedding tables."""
        tables = [self.users, self.movies]
        for side in self.sides:
            tables.extend(side.tables.values())
        return tf.add_n([tf.nn.l2_loss(table) for table in tables])


def _ids_without_history(
    name: str, used: npt.NDArray[np.int64], rows: int, width: int
) -> tf.Variable:
    """An embedding table whose rows without a training rating are zero: they say nothing."""
    table = embedding_table(name, rows, width)
    seen = np.bincount(used, minlength=rows) > 0
    table.assign(table * seen[:, np.newaxis].astype(np.float32))
    return table
