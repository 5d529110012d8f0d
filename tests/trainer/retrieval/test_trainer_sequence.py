"""The causal sequence block: what a position may see, and that it answers as it was trained."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import sequence_oracle
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis_profiles import examples

from trainer.config import SequenceConfig
from trainer.data.training_data import Interactions
from trainer.retrieval import sequence
from trainer.retrieval.events import Latest

MOVIES = 30
CONFIG = SequenceConfig(width=8, hidden_units=6, recency_events=4, batch_rows=40, softmax_rows=16)


def interactions_of(histories, gaps=None):
    """Ratings of users, given the movies of each and the seconds before each of their events."""
    gaps = gaps or [[7 * (place % 3) for place in range(len(each))] for each in histories]
    lengths = [len(each) for each in histories]
    users = np.repeat(np.arange(len(histories)), lengths)
    return Interactions(
        user_row=users,
        movie_row=np.concatenate([np.array(each, np.int64) for each in histories]),
        rating=np.ones(len(users), np.float32),
        timestamp=np.concatenate([1_000 + np.cumsum(each) for each in gaps]),
        context={},
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
    )


def batch_of(interactions, rows=CONFIG.batch_rows):
    every = np.arange(len(interactions))
    return sequence.batch_of(interactions, MOVIES, every, interactions.user_row, rows)


@pytest.fixture(scope="module")
def block():
    """An untrained block, none of whose values is zero."""
    return sequence_oracle.random_block(sequence.SequenceBlock(CONFIG, np.arange(MOVIES), seed=3))


@pytest.mark.parametrize(
    ("ratings", "weight"), [(1, 0.8 / 101), (50, 0.8 / 3), (100, 0.4), (300, 0.6), (10**9, 0.8)]
)
def test_the_more_ratings_the_more_the_block_counts_beside_the_towers(ratings, weight):
    config = SequenceConfig(weight=0.8, half_weight_ratings=100)
    assert config.weight_of(ratings) == pytest.approx(weight, rel=1e-5)


def test_a_block_takes_its_weight_from_the_training_ratings():
    config = SequenceConfig(weight=1.0, half_weight_ratings=30, width=4, hidden_units=4)
    assert sequence.SequenceBlock(config, np.array([4, 0, 6]), seed=1).weight == 0.25


@st.composite
def histories(draw):
    count = draw(st.integers(1, 3))
    order = st.permutations(range(MOVIES))
    return [draw(order)[: draw(st.integers(1, 12))] for _ in range(count)]


def latest_of(interactions, row, query_time, columns=CONFIG.recency_events):
    """The latest events up to a row, as the exported model has them."""
    first = interactions.offsets[interactions.user_row[row]]
    places = row - np.arange(columns)
    present = places >= first
    places = np.maximum(places, 0)
    seconds = query_time - interactions.timestamp[places]
    return Latest(
        tf.constant(interactions.movie_row[places][np.newaxis], tf.int32),
        tf.constant(seconds[np.newaxis], tf.float32),
        tf.constant(interactions.rating[places][np.newaxis], tf.float32),
        tf.constant(present[np.newaxis]),
        tf.constant(present[np.newaxis]),
        tf.constant([row - first + 1]),
    )


@pytest.mark.slow
@examples(10)
@given(histories())
def test_states_in_training_and_served_scores_follow_the_definition(block, drawn):
    held = interactions_of(drawn)
    batch = batch_of(held)
    states = block.states(batch).numpy()
    assert np.isfinite(states).all()
    for row in range(len(held)):
        query_time = int(batch.query_times[row])
        latest = latest_of(held, row, query_time)
        present = latest.present.numpy()[0]
        expected = sequence_oracle.state(
            block,
            latest.movies.numpy()[0][present],
            latest.seconds.numpy()[0][present],
            int(latest.history_length[0]),
        )
        np.testing.assert_allclose(states[row], expected, atol=1e-4)
        np.testing.assert_allclose(
            block.scores(latest).numpy()[0],
            block.movies.numpy() @ expected + block.bias.numpy(),
            atol=1e-4,
        )


@examples(10)
@given(histories(), st.data())
def test_a_later_event_moves_no_earlier_state(block, drawn, data):
    held = interactions_of(drawn)
    row = data.draw(st.integers(0, len(held) - 1))
    movies = held.movie_row.copy()
    movies[row] = (movies[row] + 1) % MOVIES
    changed = dataclasses.replace(held, movie_row=movies)
    one, other = (block.states(batch_of(each)).numpy() for each in (held, changed))
    np.testing.assert_array_equal(one[:row], other[:row])
    others = held.user_row != held.user_row[row]
    np.testing.assert_array_equal(one[: len(held)][others], other[: len(held)][others])


def test_neither_padding_nor_other_users_move_a_state(block):
    own = [3, 1, 4, 15, 9, 2, 6]
    alone = block.states(batch_of(interactions_of([own]), rows=8)).numpy()[: len(own)]
    beside = block.states(batch_of(interactions_of([[5, 8, 7], own]))).numpy()
    np.testing.assert_allclose(beside[3 : 3 + len(own)], alone, atol=1e-5)
    held = interactions_of([own])
    latest = latest_of(held, 6, 2_000)
    padded = latest_of(held, 6, 2_000, columns=CONFIG.recency_events + 3)
    np.testing.assert_allclose(block.scores(padded), block.scores(latest), atol=1e-5)


def test_the_loss_is_the_cross_entropy_among_movies_not_rated_before(block):
    held = interactions_of([[3, 1, 4, 15, 9], [2, 6, 5]])
    batch = batch_of(held)
    states = tf.random.stateless_normal([CONFIG.batch_rows, CONFIG.width], [1, 2])
    table, bias = tf.constant(block.movies), tf.constant(block.bias)

    def by_definition():
        found = []
        for row in range(len(held) - 1):
            if held.user_row[row] != held.user_row[row + 1]:
                continue
            rated = held.movie_row[held.offsets[held.user_row[row]] : row + 1]
            left = np.setdiff1d(np.arange(MOVIES), rated)
            logits = tf.linalg.matvec(tf.gather(table, left), states[row]) + tf.gather(bias, left)
            own = int(np.flatnonzero(left == held.movie_row[row + 1])[0])
            found.append(tf.reduce_logsumexp(logits) - logits[own])
        return tf.add_n(found) / len(found)

    def loss_and_gradients(function):
        with tf.GradientTape() as tape:
            tape.watch([states, table, bias])
            loss = function()
        gradients = tape.gradient(loss, [states, table, bias])
        return [tf.convert_to_tensor(each).numpy() for each in (loss, *gradients)]

    ours = loss_and_gradients(
        lambda: sequence.softmax_loss(states, table, bias, batch, CONFIG.softmax_rows)
    )
    for one, other in zip(ours, loss_and_gradients(by_definition), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_what_an_event_contributes_is_what_hiding_it_takes(block):
    held = interactions_of([[3, 1, 4, 15, 9]])
    latest = latest_of(held, 4, 2_000)
    wanted = tf.constant([[7, 20]])
    found = block.contributions(latest, wanted).numpy()[0]
    scores = block.scores(latest).numpy()[0, [7, 20]]
    for event in (1, 2, 3):
        present = latest.present.numpy().copy()
        present[0, event] = False
        without = block.scores(latest._replace(present=tf.constant(present))).numpy()[0, [7, 20]]
        np.testing.assert_allclose(found[:, event], scores - without, atol=1e-4)
    assert (np.abs(found[:, 0]) > 1e-3).all()


def fit(seed=1, epochs=30, **changes):
    """Trains on users who go round the movies in order, each from another one on."""
    held = interactions_of(
        [[(user + step) % MOVIES for step in range(9)] for user in range(MOVIES)]
    )
    data = SimpleNamespace(
        interactions=held,
        catalogue=SimpleNamespace(ids=np.arange(MOVIES)),
        ratings_per_movie=np.bincount(held.movie_row, minlength=MOVIES),
    )
    config = dataclasses.replace(
        CONFIG,
        **{
            "epochs": epochs,
            "learning_rate": 0.03,
            "batch_rows": 80,
            "softmax_rows": 80,
            **changes,
        },
    )
    return held, *sequence.fit_sequence(config, data, seed, lambda epoch, epochs, loss: None)


@pytest.mark.exhaustive
def test_it_learns_what_comes_next():
    held, block, losses = fit()
    assert len(losses) == 30
    assert losses[-1] < 0.5 * losses[0]
    row = 8
    next_time = int(held.timestamp[row]) + 7
    best = np.argsort(-block.scores(latest_of(held, row, next_time)).numpy()[0])
    assert 9 in best[:2]


@pytest.mark.slow
def test_a_training_follows_from_its_seed_alone():
    tf.random.set_seed(1)
    first, losses = fit(epochs=2)[1:]
    tf.random.set_seed(2)
    before = tf.random.uniform([])
    tf.random.set_seed(2)
    second, again = fit(epochs=2)[1:]
    # What is trained after the block is what it would be without.
    assert tf.random.uniform([]) == before
    assert losses == again
    np.testing.assert_array_equal(first.movies.numpy(), second.movies.numpy())
    other = sequence.SequenceBlock(CONFIG, np.arange(MOVIES), seed=2)
    assert (other.movies.numpy() != first.movies.numpy()).any()


@pytest.mark.exhaustive
def test_a_loss_that_is_no_number_ends_the_training():
    with pytest.raises(ValueError, match="lower its learning rate"):
        fit(epochs=3, learning_rate=1e30)
