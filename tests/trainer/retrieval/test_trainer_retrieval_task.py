"""The retrieval loss: the full softmax, and the sampled one in the limit."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis_profiles import examples

from trainer.retrieval.task import CatalogueRetrieval

FULL, SAMPLED = 10**6, 0


def loss_of(queries, candidates, movie_row, segments, probabilities, limit):
    task = CatalogueRetrieval(tf.constant(probabilities, tf.float32), limit)
    answer = task(
        tf.constant(queries, tf.float32),
        tf.constant(candidates, tf.float32),
        tf.constant(movie_row, tf.int64),
        tf.constant(segments, tf.int64),
    )
    return float(answer)


def softmax_loss(queries, candidates, movie_row):
    """-log p(movie) under a softmax over all candidates, row by row."""
    losses = []
    for query, row in zip(queries, movie_row, strict=True):
        scores = [float(np.dot(query, candidate)) for candidate in candidates]
        losses.append(np.log(sum(np.exp(scores))) - scores[row])
    return np.mean(losses)


@examples(25)
@given(movies=st.integers(1, 12), batch=st.integers(1, 20), seed=st.integers(0, 2**32 - 1))
def test_full_softmax_equals_its_formula(movies, batch, seed):
    rng = np.random.default_rng(seed)
    queries, candidates = rng.normal(size=[batch, 3]), rng.normal(size=[movies, 3])
    movie_row = rng.integers(0, movies, batch)
    uniform = np.full(movies, 1 / movies)
    found = loss_of(queries, candidates, movie_row, np.zeros(batch), uniform, FULL)
    # A loss is a difference of scores, which are sums of three products in single precision.
    largest = np.max(np.abs(queries) @ np.abs(candidates).T)
    rounding = 16 * float(np.finfo(np.float32).eps) * max(1.0, float(largest))
    expected = softmax_loss(queries, candidates, movie_row)
    assert found == pytest.approx(expected, rel=1e-5, abs=rounding)


@examples(25)
@given(movies=st.integers(1, 12), batch=st.integers(1, 20), seed=st.integers(0, 2**32 - 1))
def test_gradients_of_the_full_softmax_are_the_softmax_minus_the_answers(movies, batch, seed):
    rng = np.random.default_rng(seed)
    queries, candidates = 3 * rng.normal(size=[batch, 3]), 3 * rng.normal(size=[movies, 3])
    movie_row, upstream = rng.integers(0, movies, batch), float(rng.normal())
    task = CatalogueRetrieval(tf.fill([movies], 1 / movies), FULL)
    inputs = [tf.constant(values, tf.float32) for values in (queries, candidates)]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = upstream * task(*inputs, tf.constant(movie_row), tf.zeros([batch], tf.int64))
    logits = queries @ candidates.T
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    softmax[np.arange(batch), movie_row] -= 1.0
    of_logits = upstream * softmax / batch
    of_queries, of_candidates = tape.gradient(loss, inputs)
    np.testing.assert_allclose(of_queries, of_logits @ candidates, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(of_candidates, of_logits.T @ queries, rtol=1e-4, atol=1e-5)


def test_the_full_softmax_is_finite_where_an_answer_is_almost_impossible():
    queries, candidates = tf.constant([[1e4]]), tf.constant([[1.0], [-1.0]])
    task = CatalogueRetrieval(tf.constant([0.5, 0.5]), FULL)
    with tf.GradientTape() as tape:
        tape.watch(queries)
        loss = task(queries, candidates, tf.constant([1], tf.int64), tf.constant([0], tf.int64))
    assert float(loss) == pytest.approx(2e4)
    assert tape.gradient(loss, queries).numpy().item() == pytest.approx(2.0)


def test_sampled_softmax_approaches_the_full_one_as_the_batch_grows():
    rng = np.random.default_rng(5)
    popularity = 1.0 / np.arange(1, 31)
    # Each user has three different movies; a batch holds whole users.
    owned = np.stack(
        [rng.choice(30, 3, replace=False, p=popularity / popularity.sum()) for _ in range(3_000)]
    )
    probabilities = np.bincount(owned.ravel(), minlength=30) / owned.size
    candidates = rng.normal(size=[30, 4])

    def mean_difference(users, batches):
        differences = []
        for _ in range(batches):
            movie_row = owned[rng.choice(len(owned), users, replace=False)].ravel()
            segments = np.repeat(np.arange(users), 3)
            queries = rng.normal(size=[3 * users, 4])
            found = loss_of(queries, candidates, movie_row, segments, probabilities, SAMPLED)
            differences.append(found - softmax_loss(queries, candidates, movie_row))
        return abs(np.mean(differences))

    small, large = mean_difference(users=3, batches=40), mean_difference(users=600, batches=4)
    assert large < 0.02
    assert large < small / 3


def test_sampled_sums_equal_the_full_ones_on_average_whatever_a_movies_popularity():
    """The sum under the softmax, of one user with two movies, over many small batches."""
    rng = np.random.default_rng(6)
    popularity = np.array([0.4, 0.3, 0.15, 0.1, 0.04, 0.01])
    candidates = rng.normal(size=[6, 3])
    query = rng.normal(size=3)
    own = [5, 0]  # the rarest and the most popular one
    sums = []
    for _ in range(200):
        others = rng.choice(6, 12, p=popularity)
        movie_row = np.concatenate([own, others])
        batch = np.concatenate([[0, 0], np.arange(1, 13)])
        task = CatalogueRetrieval(tf.constant(popularity, tf.float32), SAMPLED)
        logits = candidates[movie_row] @ query
        corrected = task._corrected(
            tf.constant(np.tile(logits, [14, 1]), tf.float32),
            tf.constant(movie_row, tf.int64),
            tf.constant(batch, tf.int64),
        )
        sums.append(np.exp(corrected.numpy()[0].astype(np.float64)).sum())
    error = np.std(sums) / np.sqrt(len(sums))
    assert np.mean(sums) == pytest.approx(np.exp(candidates @ query).sum(), abs=4 * error)


def test_draws_count_by_the_inverse_of_their_expected_number():
    rng = np.random.default_rng(7)
    queries, candidates = rng.normal(size=[9, 3]), rng.normal(size=[9, 3])
    rows = rng.permutation(9)
    uniform = np.full(9, 1 / 9)
    # One movie per user: 8 draws of the 8 others, each expected 8/9 of a time.
    found = loss_of(queries, candidates, rows, np.arange(9), uniform, SAMPLED)
    expected = 0.0
    for query, row in zip(queries, rows, strict=True):
        scores = np.exp(candidates @ query)
        others = scores.sum() - scores[row]
        expected += np.log(scores[row] + others * 9 / 8) - np.log(scores[row])
    assert found == pytest.approx(expected / 9, rel=1e-5)


def test_movies_of_one_user_are_not_drawn_and_not_corrected():
    rng = np.random.default_rng(8)
    queries, candidates = rng.normal(size=[9, 3]), rng.normal(size=[9, 3])
    rows, uniform = rng.permutation(9), np.full(9, 1 / 9)
    alone = loss_of(queries, candidates, rows, np.zeros(9), uniform, SAMPLED)
    assert alone == pytest.approx(softmax_loss(queries, candidates, rows), rel=1e-5)


def test_another_users_rating_of_the_answer_is_no_negative():
    candidates = np.eye(3)
    queries = np.array([[1.0, 0, 0], [1.0, 0, 0]])
    both_the_same = loss_of(queries, candidates, [0, 0], [0, 1], np.full(3, 1 / 3), SAMPLED)
    assert both_the_same == pytest.approx(0.0, abs=1e-6)


def test_one_row_has_a_finite_loss_and_gradient():
    candidates = tf.Variable(np.eye(2), dtype=tf.float32)
    task = CatalogueRetrieval(tf.constant([0.5, 0.5]), SAMPLED)
    with tf.GradientTape() as tape:
        loss = task(tf.ones([1, 2]), candidates, tf.constant([1], tf.int64), tf.zeros(1, tf.int64))
    gradient = tf.convert_to_tensor(tape.gradient(loss, candidates))
    assert np.isfinite(float(loss))
    assert np.isfinite(gradient.numpy()).all()


@pytest.mark.parametrize(("movies", "full"), [(4, True), (5, False)])
def test_catalogues_above_the_limit_are_sampled(movies, full):
    candidates = np.diag(np.arange(movies, dtype=np.float64))
    queries, rows = np.ones([2, movies]), [0, 1]
    found = loss_of(queries, candidates, rows, [0, 1], np.full(movies, 1 / movies), 4)
    is_full = found == pytest.approx(softmax_loss(queries, candidates, rows), rel=1e-4)
    assert is_full == full
