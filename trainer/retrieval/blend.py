"""The next visit's list: a weighted sum of standardised scores.

Each model's scores of a user are standardised over the catalogue (mean 0, deviation 1), so that
the weights mean the same for every model, every user and every catalogue. The standardised log
popularity is a prior beside them: the fewer events are known, the more it weighs.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from trainer.config import LongTermConfig
from trainer.data.training_data import IntArray
from trainer.lookups import saved_variable

AUTOENCODER, EASE, IALS = "autoencoder", "ease", "ials"
"""Names of the models that are blended, in the order of `next_visit_weights`."""

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
    """

    def __init__(self, config: LongTermConfig, ratings_per_movie: IntArray) -> None:
        super().__init__(name="blend")
        self.weights = dict(zip((AUTOENCODER, EASE, IALS), config.next_visit_weights, strict=True))
        self._lengths = np.array(config.popularity_lengths, np.float32)
        self._prior = np.array(config.popularity_weights, np.float32)
        popularity = np.log1p(ratings_per_movie).astype(np.float32)
        self._popularity = saved_variable(standardised(popularity[np.newaxis]), "popularity_prior")

    def __call__(self, scores: Mapping[str, tf.Tensor], length: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, movies]` the weighted sum of the standardised scores.

        Args:
          scores: `[batch, movies]` of each model, by name; a model that was left out has none.
          length: `[batch]` float32, how many events are known of each user.
        """
        parts = [self.weights[name] * standardised(one) for name, one in scores.items()]
        return tf.add_n(parts) + self.prior_weight(length)[:, tf.newaxis] * self._popularity

    def prior_weight(self, length: tf.Tensor) -> tf.Tensor:
        """Returns `[batch]` the weight of popularity, by linear interpolation in the length."""
        steps = np.diff(self._lengths)
        into = tf.clip_by_value(length[:, tf.newaxis] - self._lengths[:-1], 0.0, steps)
        return self._prior[0] + tf.linalg.matvec(into, np.diff(self._prior) / steps)
