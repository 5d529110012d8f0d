"""iALS: matrix factorisation of who rated what, by alternating least squares.

The objective is that of Rendle, Krichene, Zhang and Koren, Revisiting the Performance of iALS on
Item Recommendation Benchmarks, 2022 (equations 1 to 3), from Hu, Koren and Volinsky, Collaborative
Filtering for Implicit Feedback Datasets, 2008, with the frequency-scaled regularisation of the
first:

    Σ over ratings (u, i) of (1 - w_u · h_i)²  +  α₀ Σ over all pairs of (w_u · h_i)²
    + λ Σ over users of (n_u + α₀ · movies)^ν |w_u|²
    + λ Σ over movies of (n_i + α₀ · users)^ν |h_i|²

with n the number of ratings. Given the movies' vectors, a user's is the solution of

    (Σ over the history of h hᵀ + α₀ HᵀH + λ (n_u + α₀ · movies)^ν I) w_u = Σ over the history of h

So the vector of any user follows from their events by one regularised solve.

All solves are by conjugate gradients in the basis of the eigenvectors of HᵀH, where everything but
the first sum is diagonal, which is also the preconditioner: a few steps are enough, each two
products with the history's vectors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import scipy.sparse
import tensorflow as tf
import threadpoolctl

from trainer.config import LongTermConfig
from trainer.data.training_data import Floats, IntArray, TrainingData
from trainer.lookups import rows_of, saved_variable, weighted_rows
from trainer.retrieval.events import Events, History
from trainer.retrieval.standalone import StandaloneModel

Numbers = TypeVar("Numbers", Floats, tf.Tensor)

_INITIAL_DEVIATION = 0.1
"""Standard deviation of the length of a new vector (Rendle et al. 2022, σ*)."""

_NUMBERS_AT_ONCE = 2**20
"""Histories are solved in pieces of as many numbers, which fit in a processor's cache."""

_SMALL_CATALOGUE = 20_000
"""Movies up to which long histories are solved by marks of the whole catalogue."""

_EVENTS_AT_ONCE = 2**18
"""Events beyond which they are as well: the vectors of so many take 256 MiB."""

_SMALLEST = 1e-30
"""Keeps divisions defined where a residual is 0."""


@dataclasses.dataclass(frozen=True)
class Objective:
    """The constants of the objective; names as in the paper.

    Attributes:
      unobserved: α₀, weight of a pair without a rating.
      penalty: λ.
      exponent: ν, how the penalty grows with the number of ratings.
    """

    unobserved: float
    penalty: float
    exponent: float

    def ridge(self, lengths: Floats, others: int) -> Floats:
        """Returns `[rows]` λ (n + α₀ · others)^ν for `[rows]` numbers of ratings n."""
        scaled = (lengths + self.unobserved * others) ** self.exponent
        return (self.penalty * scaled).astype(np.float32)


class Ials(tf.Module):
    """iALS as a standalone model: the user state is the user's vector, in the eigenbasis.

    Args:
      config: width, constants of the objective, and iterations.
      seed: seed of the initial vectors.
    """

    def __init__(self, config: LongTermConfig, seed: int) -> None:
        super().__init__(name="ials")
        self._config = config
        self._seed = seed
        self._objective = Objective(
            config.ials_unobserved, config.ials_penalty, config.ials_exponent
        )

    def fit(self, data: TrainingData) -> None:
        """Fits the movies' vectors, `[movies, width]`."""
        interactions, movies = data.interactions, len(data.catalogue.ids)
        seen = scipy.sparse.csr_matrix(
            (
                np.ones(len(interactions), np.float32),
                interactions.movie_row,
                interactions.offsets,
            ),
            shape=(len(interactions.offsets) - 1, movies),
        )
        config = self._config
        vectors = ials_movies(
            seen, config.ials_dim, self._objective, config.ials_iterations, self._seed
        )
        values, basis = _eigenbasis(vectors)
        self.movies = saved_variable(vectors @ basis, "ials")
        self.curvature = saved_variable(self._objective.unobserved * values, "ials_curvature")

    def user_state(self, events: Events, users: tf.Tensor) -> tf.Tensor:
        """Solves for the users' vectors, `[users, width]`; 0 for an empty history."""
        lengths = _lengths(events, users)
        longest = tf.reduce_max(tf.concat([[np.int64(0)], lengths], axis=0))
        table = tf.convert_to_tensor(self.movies)
        diagonal = self.diagonal(tf.cast(lengths, tf.float32))[:, tf.newaxis]

        def from_histories() -> tf.Tensor:
            vectors = _padded_vectors(events, users, lengths, longest, table)
            return self._solve(
                diagonal,
                lambda x: tf.matmul(tf.matmul(x, vectors, transpose_b=True), vectors),
                tf.reduce_sum(vectors, axis=1, keepdims=True),
            )

        def from_marks() -> tf.Tensor:
            shape = tf.stack([users, tf.cast(self.movies.shape[0], tf.int64)])
            marks = tf.scatter_nd(events.pairs, tf.ones_like(events.residuals), shape)
            marks = marks[:, tf.newaxis]
            return self._solve(
                diagonal,
                lambda x: tf.tensordot(marks * tf.tensordot(x, table, [[2], [1]]), table, 1),
                tf.tensordot(marks, table, 1),
            )

        def from_events() -> tf.Tensor:
            owners, movies = tf.unstack(events.pairs, num=2, axis=1)
            vectors, ones = tf.gather(table, movies), tf.ones_like(events.residuals)

            def applied(x: tf.Tensor) -> tf.Tensor:
                products = tf.reduce_sum(tf.gather(x[:, 0], owners) * vectors, axis=1)
                return weighted_rows(events.pairs, products, users, table)[:, tf.newaxis]

            right = weighted_rows(events.pairs, ones, users, table)
            return self._solve(diagonal, applied, right[:, tf.newaxis])

        def otherwise() -> tf.Tensor:
            # Of a large catalogue, marks of all of it take longer than many events.
            if self.movies.shape[0] <= _SMALL_CATALOGUE:
                return from_marks()
            few_events = tf.size(events.residuals) <= _EVENTS_AT_ONCE
            return tf.cond(few_events, from_events, from_marks)

        # Padded to the longest history, a batch of long ones takes more than the catalogue.
        few = users * longest <= 2 * self.movies.shape[0]
        return tf.cond(few, from_histories, otherwise)[:, 0]

    def diagonal(self, lengths: tf.Tensor) -> tf.Tensor:
        """Returns `[users, width]`: the system's matrix without its sum over the history.

        Args:
          lengths: `[users]` float32 lengths of the histories.
        """
        objective = self._objective
        scaled = lengths + objective.unobserved * self.movies.shape[0]
        ridge = objective.penalty * tf.pow(scaled, objective.exponent)
        return ridge[:, tf.newaxis] + self.curvature

    def _solve(
        self, diagonal: tf.Tensor, apply: Callable[[tf.Tensor], tf.Tensor], right: tf.Tensor
    ) -> tf.Tensor:
        """Solves (diag + Σ h hᵀ) x = right for each user and each right-hand side.

        Args:
          diagonal: `[users, 1, width]`.
          apply: multiplies `[users, n, width]` vectors by Σ h hᵀ of the history.
          right: `[users, n, width]`.
        """
        return conjugate_gradients(
            lambda x: diagonal * x + apply(x),
            diagonal,
            right,
            tf.zeros_like(right),
            tf.ones([self.movies.shape[1], 1]),
            self._config.ials_state_steps,
        )

    def scores(self, user_state: tf.Tensor) -> tf.Tensor:
        """Returns `[users, movies]` dot products."""
        return tf.matmul(user_state, self.movies, transpose_b=True)

    def contributions(self, history: History, movies: tf.Tensor) -> tf.Tensor:
        """Returns `[users, n, events]`: what events add to scores above their catalogue's mean.

        The sum over the history is the score minus its mean over the catalogue: the score is a sum
        of h_i · A⁻¹ h_e over events e, where A is the matrix of the user's system (Hu et al. 2008,
        section 5).

        Args:
          history: everything the users have rated.
          movies: `[users, n]` rows of the catalogue.
        """
        present = tf.cast(history.present, tf.float32)
        vectors = rows_of(self.movies, history.movies) * present[:, :, tf.newaxis]
        diagonal = self.diagonal(tf.reduce_sum(present, axis=1))[:, tf.newaxis]
        above_mean = rows_of(self.movies, movies) - tf.reduce_mean(self.movies, axis=0)
        solved = self._solve(
            diagonal,
            lambda x: tf.matmul(tf.matmul(x, vectors, transpose_b=True), vectors),
            above_mean,
        )
        return tf.matmul(solved, vectors, transpose_b=True)

    def export(self) -> Mapping[str, tf.Variable]:
        """Returns the movies' vectors and α₀ times the eigenvalues of HᵀH."""
        return {"ials": self.movies, "ials_curvature": self.curvature}


if TYPE_CHECKING:
    _: type[StandaloneModel] = Ials


def _lengths(events: Events, users: tf.Tensor) -> tf.Tensor:
    owners = events.pairs[:, 0]
    return tf.math.unsorted_segment_sum(tf.ones_like(owners), owners, users)


def _padded_vectors(
    events: Events, users: tf.Tensor, lengths: tf.Tensor, longest: tf.Tensor, table: tf.Tensor
) -> tf.Tensor:
    """Returns `[users, longest, width]`: the vectors of each history, then zeros."""
    order = tf.argsort(events.pairs[:, 0], stable=True)
    owners, movies = tf.unstack(tf.gather(events.pairs, order), num=2, axis=1)
    place = tf.range(tf.size(owners, tf.int64)) - tf.gather(
        tf.cumsum(lengths, exclusive=True), owners
    )
    shape = tf.stack([users, longest, tf.cast(table.shape[1], tf.int64)])
    return tf.scatter_nd(tf.stack([owners, place], axis=1), tf.gather(table, movies), shape)


def conjugate_gradients(
    apply: Callable[[Numbers], Numbers],
    diagonal: Numbers,
    right: Numbers,
    start: Numbers,
    ones: Numbers,
    steps: int,
) -> Numbers:
    """Solves symmetric systems by conjugate gradients, preconditioned by a diagonal.

    For NumPy's arrays while fitting and for tensors when queries are answered.

    Args:
      apply: multiplies `[rows, n, width]` vectors by the systems' matrices.
      diagonal: `[rows, 1, width]` what the preconditioner divides by.
      right: `[rows, n, width]` right-hand sides.
      start: where to start from, of the same shape.
      ones: `[width, 1]`.
      steps: how many.

    Returns:
      `[rows, n, width]` the solutions so far.
    """
    found, residual = start, right - apply(start)
    direction = preconditioned = residual / diagonal
    size = (residual * preconditioned) @ ones
    for _ in range(steps):
        applied = apply(direction)
        step = size / ((direction * applied) @ ones + _SMALLEST)
        found = found + step * direction
        residual = residual - step * applied
        preconditioned = residual / diagonal
        next_size = (residual * preconditioned) @ ones
        direction = preconditioned + next_size / (size + _SMALLEST) * direction
        size = next_size
    return found


# The products are too small to share: threads would only wait for each other.
@threadpoolctl.threadpool_limits.wrap(limits=1, user_api="blas")
def ials_movies(
    seen: scipy.sparse.csr_matrix, width: int, objective: Objective, iterations: int, seed: int
) -> Floats:
    """Returns the movies' vectors `[movies, width]` that alternating least squares finds.

    Args:
      seen: `[users, movies]` 1 where there is a rating.
      width: of the vectors.
      objective: its constants.
      iterations: how often users and movies are solved for.
      seed: seed of the initial vectors.
    """
    users, movies = seen.shape
    columns = seen.T.tocsr()
    deviation = _INITIAL_DEVIATION / np.sqrt(width)
    initial = np.random.default_rng(seed).normal(scale=deviation, size=[movies, width])
    of_movies: Floats = initial.astype(np.float32)
    of_users: Floats = np.zeros([users, width], np.float32)
    for _ in range(iterations):
        of_users = _half_step(seen, of_movies, of_users, objective)
        of_movies = _half_step(columns, of_users, of_movies, objective)
    return of_movies


_FIT_STEPS = 3
"""Steps of conjugate gradients per half-step: each starts from the last solution."""


def _half_step(
    rated: scipy.sparse.csr_matrix, others: Floats, start: Floats, objective: Objective
) -> Floats:
    """Returns `[rows, width]` vectors of one side, given those of the other side's columns."""
    values, basis = _eigenbasis(others)
    lengths = np.diff(rated.indptr)
    ridge = objective.ridge(lengths.astype(np.float32), len(others))
    diagonal = ridge[:, np.newaxis] + objective.unobserved * values
    padding = np.zeros([1, others.shape[1]], np.float32)
    rotated: Floats = np.concatenate([others @ basis, padding])
    found: Floats = start @ basis
    for rows in _pieces(lengths, others.shape[1]):
        history = rotated[_padded(rated, rows, lengths[rows])]
        found[rows] = _improved(found[rows], history, diagonal[rows])
    return found @ basis.T


def _eigenbasis(vectors: Floats) -> tuple[Floats, Floats]:
    """Returns eigenvalues `[width]` of VᵀV, none below 0, and eigenvectors `[width, width]`."""
    values, basis = np.linalg.eigh((vectors.T @ vectors).astype(np.float64))
    return np.maximum(values, 0.0).astype(np.float32), basis.astype(np.float32)


def _pieces(lengths: IntArray, width: int) -> Iterator[IntArray]:
    """Yields rows of about the same length, so many that they fit in the cache together."""
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = np.maximum(lengths[order[start:]], 1)
        numbers = np.arange(1, len(longest) + 1) * longest * width
        end = start + max(1, int(np.searchsorted(numbers, _NUMBERS_AT_ONCE, side="right")))
        yield order[start:end]
        start = end


def _padded(rated: scipy.sparse.csr_matrix, rows: IntArray, lengths: IntArray) -> IntArray:
    """Returns `[rows, longest]` columns of each row; of padding, the one after the last."""
    padded = np.full([len(rows), lengths.max()], rated.shape[1])
    starts = rated.indptr[rows]
    ranges = [rated.indices[a:b] for a, b in zip(starts, starts + lengths, strict=True)]
    padded[np.arange(padded.shape[1]) < lengths[:, np.newaxis]] = np.concatenate(ranges)
    return padded


def _improved(start: Floats, history: Floats, diagonal: Floats) -> Floats:
    """Returns `[rows, width]`: some steps of conjugate gradients further than `start`."""
    transposed = np.swapaxes(history, 1, 2)
    curvature = diagonal[:, np.newaxis]

    def apply(x: Floats) -> Floats:
        applied: Floats = curvature * x + (x @ transposed) @ history
        return applied

    right: Floats = history.sum(axis=1, keepdims=True)
    ones = np.ones([history.shape[2], 1], np.float32)
    return conjugate_gradients(apply, curvature, right, start[:, np.newaxis], ones, _FIT_STEPS)[
        :, 0
    ]
