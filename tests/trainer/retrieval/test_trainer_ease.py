"""EASE against the regressions it stands for, and the rating residuals that enter it."""

import types

import numpy as np
import pytest
import tensorflow as tf

from trainer.config import LongTermConfig
from trainer.data.training_data import Interactions, rating_residuals
from trainer.retrieval.ease import Ease, ease_weights
from trainer.retrieval.events import Events

USERS, MOVIES = 14, 6


@pytest.fixture
def seen():
    """`[users, movies]` 0 or 1, with users of one rating and movies of none."""
    found = np.random.default_rng(3).integers(0, 2, [USERS, MOVIES])
    found[:, 0] = 1
    found[0, 1:] = 0
    found[:, -1] = 0
    return found


def interactions_of(seen, stars=None):
    user_row, movie_row = np.nonzero(seen)
    return Interactions(
        user_row=user_row,
        movie_row=movie_row,
        rating=(seen if stars is None else stars)[user_row, movie_row].astype(np.float32),
        timestamp=np.zeros(len(user_row), np.int64),
        context={},
        offsets=np.searchsorted(user_row, np.arange(len(seen) + 1)),
    )


@pytest.mark.parametrize("user_exponent", [0.0, 0.5])
@pytest.mark.parametrize("popularity_penalty", [0.0, 2.0])
def test_ease_weights_are_those_of_a_ridge_regression_per_movie(
    seen, popularity_penalty, user_exponent
):
    """Each movie from all others, by least squares with the penalty's rows appended."""
    found = ease_weights(interactions_of(seen), MOVIES, 5.0, popularity_penalty, user_exponent)
    lengths = seen.sum(axis=1)
    of_users = 1.0 / lengths**user_exponent
    of_users /= of_users.mean()
    penalty = 5.0 + popularity_penalty * (of_users @ seen)
    rows = np.sqrt(of_users)[:, np.newaxis] * seen
    for movie in range(MOVIES):
        others = np.delete(np.arange(MOVIES), movie)
        inputs = np.vstack([rows[:, others], np.diag(np.sqrt(penalty[others]))])
        answers = np.append(rows[:, movie], np.zeros(MOVIES - 1))
        expected = np.linalg.lstsq(inputs, answers, rcond=None)[0]
        np.testing.assert_allclose(found[others, movie], expected, atol=1e-5)
    assert not found[np.diag_indices(MOVIES)].any()


def test_rating_residuals_are_stars_above_the_users_own_mean(seen):
    stars = np.random.default_rng(4).integers(1, 6, seen.shape) * seen
    found = rating_residuals(interactions_of(seen, stars))
    means = stars.sum(axis=1) / seen.sum(axis=1)
    np.testing.assert_allclose(found, (stars - means[:, np.newaxis])[seen > 0], atol=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float16, 2e-4)])
def test_scores_are_weighted_sums_of_rows_in_either_precision(seen, dtype, tolerance):
    interactions = interactions_of(seen)
    ease = Ease(LongTermConfig(), dtype)
    ease.fit(
        types.SimpleNamespace(
            interactions=interactions, catalogue=types.SimpleNamespace(ids=np.arange(MOVIES))
        )
    )
    assert ease.weights.dtype == dtype
    pairs = np.stack([interactions.user_row, interactions.movie_row], axis=1)
    residuals = np.random.default_rng(5).normal(size=len(pairs)).astype(np.float32)
    users = tf.constant(USERS + 1, tf.int64)  # the last one has no events
    found = ease.scores(ease.user_state(Events(tf.constant(pairs), tf.constant(residuals)), users))
    marks = np.zeros([USERS + 1, MOVIES])
    marks[tuple(pairs.T)] = 6.0 * (1.0 + 0.2 * residuals)
    exact = ease_weights(interactions, MOVIES, 300.0, 2.0, 0.25)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, marks @ exact, atol=tolerance)
