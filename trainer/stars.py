"""Ratings as they are served: two ways to predict stars, blended."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from trainer import bayes
from trainer.bayes import BayesFit
from trainer.config import BayesConfig
from trainer.data import Catalogue, Interactions, Users
from trainer.rating import RatingModel, principal_components
from transform import outputs as out

_USER_KNOWN = (out.AGE_BUCKET, out.GENDER, out.OCCUPATION)
_MOVIE_KNOWN = (out.GENRES, out.RELEASE_YEAR)


def fit_bayes(
    interactions: Interactions,
    users: Users,
    catalogue: Catalogue,
    sizes: Mapping[str, int],
    config: BayesConfig,
    seed: int,
    on_sweep: Callable[[int, int], None],
) -> BayesFit:
    """Fits the Bayesian factorisation to the training ratings.

    Rows are those of `users` and `catalogue`, and one more each for the unknown ones.

    Args:
      interactions: the training ratings.
      users: their users.
      catalogue: every movie.
      sizes: number of indices of each transformed feature, by name.
      config: rank, samples, priors.
      seed: of all randomness.
      on_sweep: called after each sweep with its number and the number of sweeps.
    """
    user_parts, movie_parts = principal_components(
        interactions.user_row,
        interactions.movie_row,
        len(users.ids) + 1,
        len(catalogue.ids) + 1,
        config.components,
    )
    user_known = [_one_hot(users.features[one.name], sizes[one.name]) for one in _USER_KNOWN]
    movie_known = [_one_hot(catalogue.features[one.name], sizes[one.name]) for one in _MOVIE_KNOWN]
    return bayes.fit(
        interactions.user_row,
        interactions.movie_row,
        interactions.rating,
        interactions.timestamp,
        np.concatenate([user_parts, *user_known], axis=1),
        np.concatenate([movie_parts, *movie_known], axis=1),
        config,
        seed,
        on_sweep,
    )


def _one_hot(
    values: npt.NDArray[np.int64] | list[npt.NDArray[np.int64]], size: int
) -> npt.NDArray[np.float32]:
    """Returns `[rows + 1, size]`; of the last row, the unknown one, nothing is known."""
    marks = np.zeros([len(values) + 1, size], np.float32)
    for row, value in enumerate(values):
        marks[row, value] = 1.0
    return marks


class BlendedRating(tf.Module):
    """A weighted mean of the Bayesian factorisation's stars and of the network's.

    Args:
      network: the trained deep & cross network.
      fitted: the Bayesian factorisation.
      weight: its weight; the network has the rest.
    """

    def __init__(self, network: RatingModel, fitted: BayesFit, weight: float) -> None:
        super().__init__(name="rating")
        self.network = network
        self.weight = weight
        self.mean = tf.constant(fitted.mean, tf.float32)
        self.user_bias = _table(fitted.user_bias, "bayes_user_bias")
        self.movie_bias = _table(fitted.movie_bias, "bayes_movie_bias")
        self.user_vectors = _table(fitted.user_vectors, "bayes_user_vectors")
        self.movie_vectors = _table(fitted.movie_vectors, "bayes_movie_vectors")
        self._effects = [(effect.of_user, effect.seconds) for effect in fitted.effects]
        self.effect_keys = [_table(effect.keys, "bayes_keys") for effect in fitted.effects]
        self.effect_values = [_table(effect.values, "bayes_values") for effect in fitted.effects]

    def __call__(
        self,
        user_row: tf.Tensor,
        features: Mapping[str, tf.Tensor],
        movie_row: tf.Tensor,
        movie_features: Mapping[str, tf.Tensor],
        timestamp: tf.Tensor,
    ) -> tf.Tensor:
        """Returns `[batch]` stars, not clipped; the rows may be those of unknown ones."""
        stars = self.mean + tf.gather(self.user_bias, user_row)
        stars += tf.gather(self.movie_bias, movie_row)
        products = tf.gather(self.user_vectors, user_row)
        products *= tf.gather(self.movie_vectors, movie_row)
        stars += tf.reduce_sum(products, axis=1)
        for (of_user, seconds), keys, values in zip(
            self._effects, self.effect_keys, self.effect_values, strict=True
        ):
            rows = user_row if of_user else movie_row
            stars += _looked_up(rows, timestamp, seconds, keys, values)
        network = self.network(features, movie_features, training=False)
        return self.weight * stars + (1.0 - self.weight) * network


def _looked_up(
    rows: tf.Tensor, timestamp: tf.Tensor, seconds: int, keys: tf.Tensor, values: tf.Tensor
) -> tf.Tensor:
    """Returns the effects `[batch]` of rows in slices of time, 0 where there is none."""
    wanted = tf.cast(rows, tf.int64) * bayes.ROW + timestamp // seconds
    place = tf.minimum(tf.searchsorted(keys, wanted), tf.size(keys) - 1)
    found = tf.equal(tf.gather(keys, place), wanted)
    return tf.where(found, tf.gather(values, place), 0.0)


def _table(values: npt.NDArray[np.float32] | npt.NDArray[np.int64], name: str) -> tf.Variable:
    return tf.Variable(values, trainable=False, name=name)
