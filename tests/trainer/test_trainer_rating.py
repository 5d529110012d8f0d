"""The biases of users and movies against their closed form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.rating import MOVIE_SHRINKAGE, USER_SHRINKAGE, baseline_biases


def least_squares(user, movie, rating, users, movies):
    """Minimises Σ(rating - mean - b_user - b_movie)² + shrinkage·Σb², in one linear system."""
    design = np.zeros([len(rating), users + movies])
    design[np.arange(len(rating)), user] = 1
    design[np.arange(len(rating)), users + movie] = 1
    penalty = np.diag([USER_SHRINKAGE] * users + [MOVIE_SHRINKAGE] * movies)
    solution = np.linalg.solve(
        design.T @ design + penalty, design.T @ (rating - rating.mean(dtype=np.float64))
    )
    return solution[:users], solution[users:]


@settings(max_examples=30, deadline=None)
@given(
    users=st.integers(1, 6),
    movies=st.integers(1, 6),
    ratings=st.integers(1, 80),
    seed=st.integers(0, 2**32 - 1),
)
def test_biases_converge_to_the_least_squares_solution(users, movies, ratings, seed):
    rng = np.random.default_rng(seed)
    user, movie = rng.integers(0, users, ratings), rng.integers(0, movies, ratings)
    rating = rng.integers(1, 6, ratings).astype(np.float32)
    mean, user_bias, movie_bias = baseline_biases(user, movie, rating, users, movies, sweeps=500)
    expected_user, expected_movie = least_squares(user, movie, rating, users, movies)
    assert mean == pytest.approx(rating.mean(dtype=np.float64), rel=1e-6)
    np.testing.assert_allclose(user_bias, expected_user, atol=1e-4)
    np.testing.assert_allclose(movie_bias, expected_movie, atol=1e-4)


def test_the_default_number_of_sweeps_is_close_to_the_solution():
    rng = np.random.default_rng(3)
    user, movie = rng.integers(0, 100, 4_000), rng.integers(0, 150, 4_000)
    taste = 3.5 + rng.normal(0, 0.5, 100)[user] + rng.normal(0, 0.6, 150)[movie]
    rating = np.clip(np.round(taste + rng.normal(0, 0.7, 4_000)), 1, 5).astype(np.float32)
    _, user_bias, movie_bias = baseline_biases(user, movie, rating, 100, 150)
    expected_user, expected_movie = least_squares(user, movie, rating, 100, 150)
    np.testing.assert_allclose(user_bias, expected_user, atol=0.01)
    np.testing.assert_allclose(movie_bias, expected_movie, atol=0.01)


def test_users_and_movies_without_ratings_have_no_bias():
    rating = np.array([5, 1, 4], np.float32)
    _, user_bias, movie_bias = baseline_biases(
        np.array([0, 2, 2]), np.array([1, 1, 3]), rating, users=4, movies=5
    )
    assert user_bias[[1, 3]].tolist() == [0, 0]
    assert movie_bias[[0, 2, 4]].tolist() == [0, 0, 0]
    assert (user_bias[[0, 2]] != 0).all()
    assert (movie_bias[[1, 3]] != 0).all()


def test_one_rating_moves_a_bias_less_than_many():
    rating = np.array([5, *[5] * 20, *[1] * 21], np.float32)
    user = np.array([0, *[1] * 20, *[2] * 21])
    _, user_bias, _ = baseline_biases(user, np.arange(42), rating, users=3, movies=42)
    assert 0 < user_bias[0] < user_bias[1]
