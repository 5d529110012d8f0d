"""EASE: the best linear item-to-item model, in closed form.

Steck, Embarrassingly Shallow Autoencoders for Sparse Data, 2019, with the penalty of EDLAE
(Steck, Autoencoders that don't overfit towards the Identity, 2020).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse
import tensorflow as tf

from trainer.config import LongTermConfig
from trainer.data.training_data import Floats, Interactions, TrainingData
from trainer.lookups import rows_of, saved_variable, weighted_rows
from trainer.retrieval.events import Events, History
from trainer.retrieval.standalone import StandaloneModel

_ROWS_AT_ONCE = 1_024
"""Movies whose products with all others are computed in one go."""


class Ease(tf.Module):
    """EASE as a standalone model: the user state is the scores themselves.

    Args:
      config: penalties and weights.
      dtype: of the weights as they are saved; sums over histories are in 32 bits with both.
    """

    def __init__(self, config: LongTermConfig, dtype: type[np.floating[Any]] = np.float32) -> None:
        super().__init__(name="ease")
        self._config, self._dtype = config, dtype

    def fit(self, data: TrainingData) -> None:
        """Solves for the weights, `[movies, movies]`."""
        config, movies = self._config, len(data.catalogue.ids)
        weights = ease_weights(
            data.interactions,
            movies,
            config.ease_penalty,
            config.ease_popularity_penalty,
            config.ease_user_exponent,
        )
        self.weights = saved_variable(weights.astype(self._dtype), "ease")

    def event_weights(self, residuals: tf.Tensor) -> tf.Tensor:
        """Returns how much each event counts, given its rating residual in stars."""
        config = self._config
        return config.ease_weight * (1.0 + config.ease_rating_weight * residuals)

    def user_state(self, events: Events, users: tf.Tensor) -> tf.Tensor:
        """Returns `[users, movies]` weighted sums of the weights' rows over histories."""
        weights = self.event_weights(events.residuals)
        if self.weights.dtype == tf.float32:
            return weighted_rows(events.pairs, weights, users, self.weights)
        user, movie = tf.unstack(events.pairs, num=2, axis=1)

        def of_user(number: tf.Tensor) -> tf.Tensor:
            own = tf.where(user == number)[:, 0]
            rows = rows_of(self.weights, tf.gather(movie, own))
            return tf.linalg.matvec(
                tf.cast(rows, tf.float32), tf.gather(weights, own), transpose_a=True
            )

        # User by user: 32 bits of the rows of all histories would not fit in memory.
        signature = tf.TensorSpec(self.weights.shape[1:])
        numbers = tf.range(users)
        return tf.map_fn(of_user, numbers, parallel_iterations=1, fn_output_signature=signature)

    def scores(self, user_state: tf.Tensor) -> tf.Tensor:
        """Returns the user states: they are the scores."""
        return user_state

    def contributions(self, history: History, movies: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns what events add to scores.

        Args:
          history: everything the users have rated.
          movies: `[users, n]` rows of the catalogue.

        Returns:
          `[users, n, events]` what each event adds to the score of each movie, and `[users,
          events]` the mean of that over the catalogue.
        """
        table = tf.convert_to_tensor(self.weights)
        weights = self.event_weights(history.residuals)
        rows = tf.broadcast_to(
            history.movies[:, tf.newaxis],
            tf.concat([tf.shape(movies), tf.shape(history.movies)[1:]], axis=0),
        )
        pairs = tf.stack([rows, tf.zeros_like(rows) + movies[:, :, tf.newaxis]], axis=-1)
        means = tf.reduce_mean(tf.cast(tf.gather(table, history.movies), tf.float32), axis=2)
        found = tf.cast(tf.gather_nd(table, pairs), tf.float32)
        return weights[:, tf.newaxis] * found, weights * means

    def export(self) -> Mapping[str, tf.Variable]:
        """Returns the weights."""
        return {"ease": self.weights}


if TYPE_CHECKING:
    _: type[StandaloneModel] = Ease


def ease_dtype(movies: int, megabytes: float) -> type[np.floating[Any]] | None:
    """Returns in which precision the weights of so many movies fit; None if in neither.

    Args:
      movies: number of movies in the catalogue.
      megabytes: how large the weights may be.
    """
    fitting = (
        dtype
        for dtype in (np.float32, np.float16)
        if movies**2 * np.dtype(dtype).itemsize <= megabytes * 1e6
    )
    return next(fitting, None)


def ease_weights(
    interactions: Interactions,
    movies: int,
    penalty: float,
    popularity_penalty: float,
    user_exponent: float,
) -> Floats:
    """Returns EASE's item-to-item weights `[movies, movies]`, with a zero diagonal.

    B = I - P · diag(1 / diag(P)) with P = (G + Λ)⁻¹ (Steck 2019, equation 8): a user's score of
    movie j is the sum of B[i, j] over the movies i of the history. G = XᵀWX with a diagonal W of
    weights of users, n^-a over their mean for n ratings: the regression of a movie on all others
    weighs each user's error so. Λ = λ + c · diag(G) grows with a movie's ratings as dropout on the
    histories would have it (Steck 2020: c is p / (1 - p) for a dropout of p).

    Args:
      interactions: the training ratings; their stars do not count.
      movies: number of movies in the catalogue.
      penalty: λ, above 0.
      popularity_penalty: c, at least 0.
      user_exponent: a, at least 0; at 0 all users weigh the same.
    """
    lengths = np.diff(interactions.offsets)
    of_users = np.maximum(lengths, 1.0) ** -user_exponent * (lengths > 0)
    of_users *= (lengths > 0).sum() / of_users.sum()
    seen = scipy.sparse.csr_matrix(
        (np.ones(len(interactions)), interactions.movie_row, interactions.offsets),
        shape=(len(lengths), movies),
    )
    weighted, gram = (scipy.sparse.diags(of_users) @ seen).tocsr(), np.empty([movies, movies])
    columns = seen.T.tocsr()
    # Some rows at a time: the whole product as a sparse matrix would take more than the dense one.
    for start in range(0, movies, _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        gram[rows] = (columns[rows] @ weighted).toarray()
    gram[np.diag_indices(movies)] += penalty + popularity_penalty * np.diag(gram)
    inverse = _inverse(gram)
    inverse /= -np.diag(inverse)
    inverse[np.diag_indices(movies)] = 0.0
    return inverse.astype(np.float32)


def _inverse(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns the inverse of a symmetric positive definite matrix, in the same memory.

    By Cholesky's factors: half the operations of a general inverse, and no copy.
    """
    # Fortran's order of a symmetric matrix is its own: nothing is copied.
    factor, failed = scipy.linalg.lapack.dpotrf(matrix.T, lower=1, overwrite_a=1)
    inverse, singular = scipy.linalg.lapack.dpotri(factor, lower=1, overwrite_c=1)
    if failed or singular:
        raise np.linalg.LinAlgError("EASE's matrix is not positive definite: raise its penalty")
    for row in range(1, len(inverse)):
        inverse[:row, row] = inverse[row, :row]
    found: npt.NDArray[np.float64] = inverse
    return found
