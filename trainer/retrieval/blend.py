"""The next visit's list: a weighted sum of standardised scores.

Each model's scores of a user are standardised over the catalogue (mean 0, deviation 1), so that
the weights mean the same for every model, every user and every catalogue. The standardised log
popularity is a prior beside them, whose weight falls with the number of known events. With a
profile and no events, only the autoencoder has scores; with few events it weighs less beside the
others than with many. Where there is kernel regression, it takes EASE's place for all but short
histories, of which EASE finds more beside the prior. Where validation chose a strongly penalised
EASE (`trainer.retrieval.strong_ease`), it and popularity take the place of everything for these.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import tensorflow as tf

from trainer.config import LongTermConfig
from trainer.data.training_data import Floats, IntArray
from trainer.lookups import saved_variable

AUTOENCODER, EASE, IALS, KERNEL = "autoencoder", "ease", "ials", "kernel"
STRONG_EASE = "strong_ease"
"""Names of the models that are blended."""

_SMALLEST_DEVIATION = 1e-6
"""Scores that are all the same, as those of an empty history, become 0."""


def deviation(scores: tf.Tensor) -> tf.Tensor:
    """Returns `[batch, 1]`: each row's standard deviation, at least a very small number."""
    return tf.maximum(tf.math.reduce_std(scores, axis=1, keepdims=True), _SMALLEST_DEVIATION)


def standardised(scores: tf.Tensor) -> tf.Tensor:
    """Returns `[batch, movies]` scores with a mean of 0 and a deviation of 1 in each row."""
    return (scores - tf.reduce_mean(scores, axis=1, keepdims=True)) / deviation(scores)


class Blend(tf.Module):
    """Joins the scores of the standalone models.

    Args:
      config: the weights.
      ratings_per_movie: `[movies]` training ratings of each.
      strong_popularity: weight of popularity beside the strongly penalised EASE, if there is one.
    """

    def __init__(
        self,
        config: LongTermConfig,
        ratings_per_movie: IntArray,
        strong_popularity: float = 0.0,
    ) -> None:
        super().__init__(name="blend")
        self._lengths = np.array(config.blend_lengths, np.float32)
        self._prior = np.array(config.popularity_weights, np.float32)
        self._autoencoder = np.array(config.autoencoder_weights, np.float32)
        self._kernel = np.array(config.kernel_shares, np.float32)
        self._ials = config.ials_share
        self._strong_popularity = strong_popularity
        popularity = np.log1p(ratings_per_movie).astype(np.float32)
        self._popularity = saved_variable(standardised(popularity[np.newaxis]), "popularity_prior")

    def __call__(self, scores: Mapping[str, tf.Tensor], length: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, movies]` the weighted sum of the standardised scores.

        Args:
          scores: `[batch, movies]` of each model, by name; a model that was left out has none.
          length: `[batch]` float32, how many events are known of each user.
        """
        weights = self.weights(length, scores)
        parts = [weights[name] * standardised(one) for name, one in scores.items()]
        strong = weights[STRONG_EASE]
        prior = (1.0 - strong) * self._interpolated(length, self._prior)
        return tf.add_n(parts) + (prior + strong * self._strong_popularity) * self._popularity

    def weights(self, length: tf.Tensor, models: Collection[str]) -> dict[str, tf.Tensor]:
        """Returns `[batch, 1]` the weight of each model's standardised scores.

        Args:
          length: `[batch]` float32, how many events are known of each user.
          models: names of the models that there are.
        """
        ones = tf.ones_like(length)[:, tf.newaxis]
        of_long = self._interpolated(length, self._kernel)
        of_kernel = of_long if KERNEL in models else 0.0 * ones
        strong = of_long if STRONG_EASE in models else 0.0 * ones
        usual = {
            AUTOENCODER: self._interpolated(length, self._autoencoder),
            EASE: ones - of_kernel,
            IALS: self._ials * ones,
            KERNEL: of_kernel,
        }
        weights = {name: (1.0 - strong) * weight for name, weight in usual.items()}
        return {**weights, STRONG_EASE: strong}

    def _interpolated(self, length: tf.Tensor, values: Floats) -> tf.Tensor:
        """Returns `[batch, 1]` values, linear in the length between those that are given."""
        steps = np.diff(self._lengths)
        into = tf.clip_by_value(length[:, tf.newaxis] - self._lengths[:-1], 0.0, steps)
        return values[0] + tf.matmul(into, (np.diff(values) / steps)[:, np.newaxis])
