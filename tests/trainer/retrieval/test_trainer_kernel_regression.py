"""Kernel regression over users against its definition."""

import types

import numpy as np
import pytest
import tensorflow as tf

from trainer.config import LongTermConfig
from trainer.data.training_data import Interactions
from trainer.retrieval.events import Events, History
from trainer.retrieval.kernel_regression import KernelRegression, fits

MOVIES = 7
HISTORIES = [[0, 1, 2], [], [1, 3], [0, 4, 5, 2], [5], [6, 3, 1]]
STARS = [[5, 3, 1], [], [4, 4], [2, 5, 3, 3], [4], [1, 2, 5]]
NEW = ([0, 3], [1.0, -0.5]), ([], []), ([2], [0.0])
CONFIG = LongTermConfig(kernel_penalty=0.7, kernel_rating_weight=0.3)


def vector(movies, residuals):
    found = np.zeros(MOVIES)
    found[movies] = 1.0 + 0.3 * np.array(residuals)
    return found


def kernel(one, other):
    """An arc-cosine kernel of order 0: how often two half-spaces of random normals agree."""
    lengths = np.linalg.norm(one) * np.linalg.norm(other)
    return 1.0 - np.arccos(np.clip(one @ other / lengths, -1, 1)) / np.pi


def own_vectors():
    return [
        vector(movies, np.array(stars) - np.mean(stars))
        for movies, stars in zip(HISTORIES, STARS, strict=True)
        if movies
    ]


@pytest.fixture(scope="module")
def model():
    movie_row = np.concatenate(HISTORIES).astype(np.int64)
    lengths = [len(history) for history in HISTORIES]
    interactions = Interactions(
        user_row=np.repeat(np.arange(len(HISTORIES)), lengths),
        movie_row=movie_row,
        rating=np.concatenate(STARS).astype(np.float32),
        timestamp=np.zeros(len(movie_row), np.int64),
        context={},
        offsets=np.append(0, np.cumsum(lengths)),
    )
    made = KernelRegression(CONFIG)
    catalogue = types.SimpleNamespace(ids=np.arange(MOVIES))
    made.fit(types.SimpleNamespace(interactions=interactions, catalogue=catalogue))
    return made


@pytest.fixture(scope="module")
def states(model):
    pairs = [(user, movie) for user, (movies, _) in enumerate(NEW) for movie in movies]
    residuals = np.concatenate([values for _, values in NEW]).astype(np.float32)
    events = Events(tf.constant(pairs, tf.int64), tf.constant(residuals))
    return model.user_state(events, tf.constant(len(NEW), tf.int64))


def test_scores_are_those_of_ridge_regression_in_the_kernels_space(model, states):
    known = own_vectors()
    grams = np.array([[kernel(one, other) for other in known] for one in known])
    seen = np.array(known) != 0
    found = model.scores(states).numpy()
    for user, (movies, residuals) in enumerate(NEW):
        if not movies:
            assert not found[user].any()
            continue
        own = np.array([kernel(vector(movies, residuals), other) for other in known])
        expected = own @ np.linalg.inv(grams + 0.7 * np.eye(len(known))) @ seen
        np.testing.assert_allclose(found[user], expected, atol=1e-5)


def test_events_add_what_the_score_is_above_that_of_a_history_without_common_movies(model, states):
    rows, values = np.zeros([3, 2], np.int32), np.zeros([3, 2], np.float32)
    present = np.zeros([3, 2], bool)
    for user, (movies, residuals) in enumerate(NEW):
        rows[user, : len(movies)], values[user, : len(movies)] = movies, residuals
        present[user, : len(movies)] = True
    history = History(*map(tf.constant, (rows, values, values, present, present)))
    movies = tf.tile(tf.range(MOVIES)[tf.newaxis], [3, 1])
    added, means = model.contributions(states, history, movies)
    above = model.scores(states) - 0.5 * tf.reduce_sum(model.weights, axis=0)
    for user in (0, 2):
        np.testing.assert_allclose(tf.reduce_sum(added[user], axis=1), above[user], atol=1e-5)
    assert not added[1].numpy().any()
    np.testing.assert_allclose(means, tf.reduce_mean(added, axis=1), atol=1e-6)


@pytest.mark.parametrize(
    ("users", "movies", "megabytes", "expected"),
    [(943, 1_682, 300, True), (5, 5, 300, True), (6, 5, 300, False), (100, 1_000, 0.79, False)],
)
def test_it_is_fitted_where_users_do_not_outnumber_movies_and_it_is_small(
    users, movies, megabytes, expected
):
    assert fits(users, movies, megabytes) == expected
