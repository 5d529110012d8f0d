"""Kernel ridge regression over users: scores are mixtures of the histories of similar users.

Its arc-cosine kernel of order 0 is that of one infinitely wide layer of step functions (Cho & Saul,
Kernel methods for deep learning, 2009); Sachdeva et al. (Infinite recommendation networks, 2022)
use such a regression for recommendations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg
import scipy.sparse
import tensorflow as tf

from trainer.config import LongTermConfig
from trainer.data.training_data import Floats, TrainingData, rating_residuals
from trainer.lookups import rows_of, saved_variable, weighted_rows
from trainer.retrieval.events import Events, History
from trainer.retrieval.standalone import StandaloneModel


class KernelRegression(tf.Module):
    """The regression as a standalone model: the user state is the kernel with each fitted user.

    A user's scores are k (K + λI)⁻¹ X: X holds the histories of the fitted users, K compares these
    with each other and k the user's history with them. The kernel of two histories is 1 - θ/π, with
    θ the angle between them; a movie of a history counts more per star above the user's mean.

    Args:
      config: penalty and rating weight.
    """

    def __init__(self, config: LongTermConfig) -> None:
        super().__init__(name="kernel_regression")
        self._config = config

    def fit(self, data: TrainingData) -> None:
        """Solves for the weights, `[fitted users, movies]`; users without events are left out."""
        interactions, config = data.interactions, self._config
        lengths = np.diff(interactions.offsets)
        offsets = np.append(0, np.cumsum(lengths[lengths > 0]))
        shape = len(offsets) - 1, len(data.catalogue.ids)
        weights = 1.0 + config.kernel_rating_weight * rating_residuals(interactions)
        weights = weights.astype(np.float64)
        seen, histories = (
            scipy.sparse.csr_matrix((values, interactions.movie_row, offsets), shape)
            for values in (np.ones(len(weights)), weights)
        )
        norms = np.sqrt(np.asarray(histories.multiply(histories).sum(axis=1)))
        histories = histories.multiply(1.0 / np.maximum(norms, _SMALLEST)).tocsr()
        kernel = _arc_cosine((histories @ histories.T).toarray())
        kernel[np.diag_indices_from(kernel)] += config.kernel_penalty
        found = scipy.linalg.solve(kernel, seen.toarray(), assume_a="pos", overwrite_a=True)
        columns = histories.T.toarray().astype(np.float32)
        self.histories = saved_variable(columns, "kernel_histories")
        self.weights = saved_variable(found.astype(np.float32), "kernel_weights")

    def _event_weights(self, residuals: tf.Tensor) -> tf.Tensor:
        return 1.0 + self._config.kernel_rating_weight * residuals

    def user_state(self, events: Events, users: tf.Tensor) -> tf.Tensor:
        """Returns `[users, fitted users]` the kernel; 0 of an empty history."""
        weights = self._event_weights(events.residuals)
        products = weighted_rows(events.pairs, weights, users, self.histories)
        squares = tf.math.unsorted_segment_sum(tf.square(weights), events.pairs[:, 0], users)
        cosine = products * tf.math.rsqrt(tf.maximum(squares, _SMALLEST))[:, tf.newaxis]
        # Near 1 the angle would make much of a cosine's rounding in 32 bits.
        cosine = tf.where(cosine > 1.0 - _ROUNDING, 1.0, tf.maximum(cosine, -1.0))
        kernel = 1.0 - tf.acos(cosine) / math.pi
        return tf.where(squares[:, tf.newaxis] > 0.0, kernel, 0.0)

    def scores(self, user_state: tf.Tensor) -> tf.Tensor:
        """Returns `[users, movies]` scores."""
        return tf.matmul(user_state, self.weights)

    def contributions(
        self, user_state: tf.Tensor, history: History, movies: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns what events add to scores.

        What the kernel with a fitted user is above 1/2, that of histories without a common movie,
        is shared among the events as they share the cosine. The sum over the events is the score
        above that of such a history.

        Args:
          user_state: `[users, fitted users]`, of `user_state`.
          history: everything the users have rated.
          movies: `[users, n]` rows of the catalogue.

        Returns:
          `[users, n, events]` what each event adds to the score of each movie, and `[users,
          events]` the mean of that over the catalogue.
        """
        above = user_state - 0.5
        cosine = tf.sin(math.pi * above)
        near = tf.abs(cosine) < 1e-4
        slope = tf.where(near, 1.0 / math.pi, above / tf.where(near, 1.0, cosine))
        weights = tf.where(history.present, self._event_weights(history.residuals), 0.0)
        squares = tf.reduce_sum(tf.square(weights), axis=1, keepdims=True)
        weights *= tf.math.rsqrt(tf.maximum(squares, _SMALLEST))
        shares = rows_of(self.histories, history.movies) * weights[:, :, tf.newaxis]
        shares *= slope[:, tf.newaxis]
        table = tf.convert_to_tensor(self.weights)
        added = tf.einsum("beu,ubn->bne", shares, tf.gather(table, movies, axis=1))
        return added, tf.linalg.matvec(shares, tf.reduce_mean(table, axis=1))

    def export(self) -> Mapping[str, tf.Variable]:
        """Returns the tables that are served, by name."""
        return {"kernel_histories": self.histories, "kernel_weights": self.weights}


if TYPE_CHECKING:
    _: type[StandaloneModel] = KernelRegression

_ROUNDING = 1e-6
"""A cosine this close to 1 is that of a fitted user's own history."""

_SMALLEST = 1e-12
"""Least square of a history's length, so that nothing is divided by 0."""


def _arc_cosine(cosine: Floats) -> Floats:
    """Returns 1 - θ/π for `[rows, columns]` cosines of the angles θ."""
    return 1.0 - np.arccos(cosine.clip(-1.0, 1.0)) / np.pi


def fits(users: int, movies: int, megabytes: float) -> bool:
    """Returns whether the regression is fitted: users do not outnumber movies, and it is small.

    Args:
      users: fitted users.
      movies: number of movies in the catalogue.
      megabytes: how large its two tables `[users, movies]` may be in 32 bits.
    """
    return users <= movies and table_megabytes(users, movies) <= megabytes


def table_megabytes(users: int, movies: int) -> float:
    """Returns how large the regression's two tables `[users, movies]` are in 32 bits, in MB."""
    return 8e-6 * users * movies
