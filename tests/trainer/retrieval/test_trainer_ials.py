"""iALS: its half-steps and user states against the direct solve of the normal equations."""

import dataclasses
import types

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf
from hypothesis import given
from hypothesis_profiles import examples

from trainer.config import LongTermConfig
from trainer.data.training_data import Interactions
from trainer.retrieval import ials
from trainer.retrieval.events import Events, History
from trainer.retrieval.ials import Ials, Objective, ials_movies

USERS, MOVIES, WIDTH = 9, 12, 4
CONFIG = LongTermConfig(
    ials_dim=WIDTH, ials_unobserved=0.3, ials_penalty=0.2, ials_exponent=0.6, ials_iterations=4
)
OBJECTIVE = Objective(0.3, 0.2, 0.6)

histories = arrays.arrays(np.bool_, (USERS, MOVIES))


def interactions_of(seen):
    user_row, movie_row = np.nonzero(seen)
    return Interactions(
        user_row=user_row,
        movie_row=movie_row,
        rating=np.ones(len(user_row), np.float32),
        timestamp=np.zeros(len(user_row), np.int64),
        context={},
        offsets=np.searchsorted(user_row, np.arange(len(seen) + 1)),
    )


def data_of(seen):
    return types.SimpleNamespace(
        interactions=interactions_of(seen), catalogue=types.SimpleNamespace(ids=range(MOVIES))
    )


@pytest.fixture(scope="module")
def seen():
    return np.random.default_rng(1).random((USERS, MOVIES)) < 0.4


@pytest.fixture(scope="module")
def fitted(seen):
    model = Ials(CONFIG, seed=5)
    model.fit(data_of(seen))
    return model


def matrix_and_right(history, vectors):
    """The user's normal equations, from the objective: gradient zero in the user's vector."""
    ridge = 0.2 * (len(history) + 0.3 * MOVIES) ** 0.6
    matrix = ridge * np.eye(WIDTH)
    for movie in range(MOVIES):
        weight = 0.3 + (movie in history)
        matrix += weight * np.outer(vectors[movie], vectors[movie])
    right = sum((vectors[movie] for movie in history), np.zeros(WIDTH))
    return matrix, right


def states_of(model, seen):
    rows, movies = np.nonzero(seen)
    order = np.random.default_rng(0).permutation(len(rows))
    pairs = np.stack([rows, movies], axis=1)[order]
    events = Events(tf.constant(pairs, tf.int64, [len(pairs), 2]), tf.zeros([len(pairs)]))
    return model.user_state(events, tf.constant(len(seen), tf.int64)).numpy()


def assert_solved(model, seen):
    vectors = model.movies.numpy().astype(np.float64)
    for history, found in zip(seen, states_of(model, seen), strict=True):
        matrix, right = matrix_and_right(np.flatnonzero(history), vectors)
        np.testing.assert_allclose(found, np.linalg.solve(matrix, right), atol=1e-4)


@examples(20)
@given(seen=histories)
def test_a_users_vector_solves_the_normal_equations(fitted, seen):
    assert_solved(fitted, seen)


@pytest.mark.parametrize("events_at_once", [10_000, 0])
def test_so_does_that_of_a_user_of_a_large_catalogue(fitted, seen, monkeypatch, events_at_once):
    monkeypatch.setattr(ials, "_SMALL_CATALOGUE", MOVIES - 1)
    monkeypatch.setattr(ials, "_EVENTS_AT_ONCE", events_at_once)
    assert_solved(fitted, seen)


@examples(10)
@given(seen=arrays.arrays(np.bool_, (1, MOVIES)))
def test_so_does_that_of_one_user(fitted, seen):
    """Few events take another way through the graph than many."""
    assert_solved(fitted, seen)


def test_the_matrix_of_the_system_is_diagonal_but_for_the_history(fitted):
    gram = fitted.movies.numpy().T @ fitted.movies.numpy()
    np.testing.assert_allclose(0.3 * gram, np.diag(fitted.curvature.numpy()), atol=1e-5)


def loss_of(seen, vectors):
    """The objective, in loops, with each user's vector at its best."""
    users = []
    for history in seen:
        matrix, right = matrix_and_right(np.flatnonzero(history), vectors)
        users.append(np.linalg.solve(matrix, right))
    total = 0.0
    for user in range(USERS):
        for movie in range(MOVIES):
            score = users[user] @ vectors[movie]
            total += 0.3 * score**2 + seen[user, movie] * (1 - score) ** 2
    for vector, history in zip(users, seen, strict=True):
        total += 0.2 * (history.sum() + 0.3 * MOVIES) ** 0.6 * vector @ vector
    for movie in range(MOVIES):
        ridge = 0.2 * (seen[:, movie].sum() + 0.3 * USERS) ** 0.6
        total += ridge * vectors[movie] @ vectors[movie]
    return total


@examples(20)
@given(seen=histories)
def test_no_iteration_makes_the_objective_larger(seen):
    held = scipy.sparse.csr_matrix(seen.astype(np.float32))
    losses = [
        loss_of(seen, ials_movies(held, WIDTH, OBJECTIVE, iterations, seed=3).astype(np.float64))
        for iterations in (1, 2, 5)
    ]
    assert losses[1] <= losses[0] * (1 + 1e-4) + 1e-6
    assert losses[2] <= losses[1] * (1 + 1e-4) + 1e-6


def test_many_iterations_end_where_the_objective_is_flat(seen):
    """A step in any direction of the movies' vectors changes it by less than its square."""
    held = scipy.sparse.csr_matrix(seen.astype(np.float32))
    vectors = ials_movies(held, WIDTH, OBJECTIVE, 300, seed=3).astype(np.float64)
    least = loss_of(seen, vectors)
    rng = np.random.default_rng(2)
    for _ in range(10):
        step = rng.normal(size=vectors.shape)
        ahead, back = loss_of(seen, vectors + 1e-3 * step), loss_of(seen, vectors - 1e-3 * step)
        assert abs(ahead - back) / 2e-3 < 1e-2
        assert min(ahead, back) > least - 1e-6


def test_an_empty_history_has_no_vector(fitted):
    assert not states_of(fitted, np.zeros((3, MOVIES), np.bool_)).any()


def padded(seen):
    """The histories of all users as `History`, without ratings and times."""
    longest = seen.sum(axis=1).max()
    movies = np.zeros((USERS, longest), np.int32)
    present = np.arange(longest) < seen.sum(axis=1)[:, np.newaxis]
    movies[present] = np.nonzero(seen)[1]
    nothing = tf.zeros(present.shape)
    return History(tf.constant(movies), nothing, nothing, nothing > 0, tf.constant(present))


def test_what_the_events_add_is_the_score_above_its_mean(fitted, seen):
    history = padded(seen)
    movies = np.tile(np.arange(MOVIES, dtype=np.int32), [USERS, 1])
    added = fitted.contributions(history, tf.constant(movies)).numpy()
    scores = fitted.scores(tf.constant(states_of(fitted, seen))).numpy()
    expected = scores - scores.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(added.sum(axis=2), expected, atol=1e-4)
    present = history.present.numpy()[:, np.newaxis]
    assert not added[~np.broadcast_to(present, added.shape)].any()


def test_the_seed_is_that_of_the_vectors(seen):
    one, same, other = (Ials(CONFIG, seed) for seed in (1, 1, 2))
    for model in (one, same, other):
        model.fit(data_of(seen))
    np.testing.assert_array_equal(one.movies, same.movies)
    assert not np.allclose(one.movies, other.movies)


def test_more_steps_change_nothing(fitted, seen):
    longer = Ials(dataclasses.replace(CONFIG, ials_state_steps=40), seed=5)
    longer.fit(data_of(seen))
    np.testing.assert_allclose(states_of(longer, seen), states_of(fitted, seen), atol=1e-4)
