"""Principal components of users and movies: a truncated SVD of the 0/1 interactions."""

from __future__ import annotations

import contextlib
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.sparse
import scipy.sparse.linalg

_NO_VALUE = 1e-6
"""Singular values up to it are 0 but for rounding: the largest is 1."""

_DENSE = 500
"""Up to as many users or movies the components are found by a dense decomposition."""

Vectors: TypeAlias = tuple[
    npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]
]
"""`[rows, count]` left singular vectors, `[count]` values, `[count, columns]` right vectors."""


def principal_components(
    user_index: npt.NDArray[np.int64],
    movie_index: npt.NDArray[np.int64],
    users: int,
    movies: int,
    count: int,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Returns the principal components of users and of movies.

    The leading singular vectors of the 0/1 matrix of training interactions, each pair
    weighted by 1 / sqrt(ratings of the user x ratings of the movie) so that the first
    ones are not activity and popularity alone; scaled to unit variance.

    Args:
      user_index: `[ratings]`, below `users`.
      movie_index: `[ratings]`, below `movies`.
      users: number of user indices; those without ratings get zeros.
      movies: number of movie indices; those without ratings get zeros.
      count: how many components; fewer come out of smaller matrices, padded with zeros.

    Returns:
      `[users, count]` and `[movies, count]`.
    """
    matrix = scipy.sparse.csr_matrix(
        (np.ones(len(user_index)), (user_index, movie_index)), (users, movies)
    )
    matrix.data[:] = 1.0
    by_user = 1.0 / np.sqrt(np.maximum(matrix.sum(axis=1).A1, 1.0))
    by_movie = 1.0 / np.sqrt(np.maximum(matrix.sum(axis=0).A1, 1.0))
    matrix = scipy.sparse.diags(by_user) @ matrix @ scipy.sparse.diags(by_movie)
    possible = min(count, min(matrix.shape) - 1)
    if possible < 1:
        return np.zeros([users, count], np.float32), np.zeros([movies, count], np.float32)
    left, values, right = _leading_vectors(matrix, possible)
    # Vectors of values near 0 are arbitrary: noise, also for users and movies without ratings.
    order = np.argsort(-values)
    real = (values > _NO_VALUE)[order]
    pads = ((0, 0), (0, count - possible))
    return (
        np.pad(_unit_variance(left[:, order] * real), pads),
        np.pad(_unit_variance(right[order].T * real), pads),
    )


def _leading_vectors(matrix: scipy.sparse.spmatrix, count: int) -> Vectors:
    """Returns the leading singular vectors of a matrix that is not all zeros.

    Where singular values are equal, as those of users with one rating each, any rotation of
    their vectors will do. ARPACK then gives up, or draws other ones on every call.
    """
    if matrix.shape[0] > matrix.shape[1]:
        left, values, right = _leading_vectors(matrix.T.tocsr(), count)
        return right.T, values, left.T
    if matrix.shape[0] <= _DENSE:
        return _dense_vectors(matrix, count)
    start = np.random.default_rng(0).standard_normal(matrix.shape[0])
    with contextlib.suppress(scipy.sparse.linalg.ArpackError):
        left, values, right = scipy.sparse.linalg.svds(matrix, k=count, v0=start)
        if np.isfinite(values).all() and (count < 2 or np.diff(np.sort(values)).min() > 1e-9):
            return left, values, right
    return _subspace_iteration(matrix, count)


def _dense_vectors(matrix: scipy.sparse.spmatrix, count: int) -> Vectors:
    """The same, by the eigenvectors of M · Mᵀ; right vectors of values near 0 are 0."""
    squares, vectors = np.linalg.eigh((matrix @ matrix.T).toarray())
    values = np.sqrt(np.maximum(squares[-count:], 0.0))
    left = vectors[:, -count:]
    scale = np.where(values > _NO_VALUE, 1.0 / np.maximum(values, _NO_VALUE), 0.0)
    return left, values, (matrix.T @ left * scale).T


def _subspace_iteration(matrix: scipy.sparse.spmatrix, count: int, rounds: int = 10) -> Vectors:
    """The same, less exactly, for any matrix (Halko, Martinsson & Tropp 2011, algorithm 4.4)."""
    width = min(count + 10, matrix.shape[0])
    start = np.random.default_rng(0).standard_normal((matrix.shape[1], width))
    basis, _ = np.linalg.qr(matrix @ start)
    for _ in range(rounds):
        other, _ = np.linalg.qr(matrix.T @ basis)
        basis, _ = np.linalg.qr(matrix @ other)
    left, values, right = np.linalg.svd((matrix.T @ basis).T, full_matrices=False)
    return (basis @ left)[:, :count], values[:count], right[:count]


def _unit_variance(columns: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    scale = np.sqrt(np.mean(columns**2, axis=0))
    return (columns / np.maximum(scale, 1e-12)).astype(np.float32)
