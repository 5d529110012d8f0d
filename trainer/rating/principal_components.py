"""What users and movies are like by who watched what: a truncated SVD of the interactions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse
import scipy.sparse.linalg


def principal_components(
    user_index: npt.NDArray[np.int64],
    movie_index: npt.NDArray[np.int64],
    users: int,
    movies: int,
    count: int,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Returns what users and movies are like by who watched what, whatever the stars.

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
    start = np.random.default_rng(0).standard_normal(min(matrix.shape))
    left, values, right = scipy.sparse.linalg.svds(matrix, k=possible, v0=start)
    # The largest singular value is 1. Vectors of those near 0 are arbitrary: noise, also for
    # users and movies without ratings.
    order = np.argsort(-values)
    real = (values > 1e-6)[order]
    pads = ((0, 0), (0, count - possible))
    return (
        np.pad(_unit_variance(left[:, order] * real), pads),
        np.pad(_unit_variance(right[order].T * real), pads),
    )


def _unit_variance(columns: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    scale = np.sqrt(np.mean(columns**2, axis=0))
    return (columns / np.maximum(scale, 1e-12)).astype(np.float32)
