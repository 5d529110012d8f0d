"""The next visit's list: a weighted sum of the standalone models' standardised scores.

Each model's scores of a user are standardised over the catalogue (mean 0, deviation 1), so that
the weights mean the same for every model, every user and every catalogue.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

_SMALLEST_DEVIATION = 1e-6
"""Scores that are all the same, as those of an empty history, become 0."""


def deviation(scores: tf.Tensor) -> tf.Tensor:
    """Returns `[batch, 1]`: each row's standard deviation, at least a very small number."""
    return tf.maximum(
        tf.math.reduce_std(scores, axis=1, keepdims=True),
        _SMALLEST_DEVIATION,
    )


def standardised(scores: tf.Tensor) -> tf.Tensor:
    """Returns `[batch, movies]` scores with a mean of 0 and a deviation of 1 in each row."""
    return (scores - tf.reduce_mean(scores, axis=1, keepdims=True)) / deviation(scores)


def blended(scores: Sequence[tf.Tensor], weights: Sequence[float]) -> tf.Tensor:
    """Returns the weighted sum of the standardised scores of several models.

    Args:
      scores: `[batch, movies]` of each model.
      weights: of each model.
    """
    parts = zip(scores, weights, strict=True)
    return tf.add_n([weight * standardised(one) for one, weight in parts])
