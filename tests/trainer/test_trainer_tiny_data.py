"""Everything that is fitted, on very few users and movies: finite, and the same every time."""

import dataclasses
import types

import bpmf_oracle
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis_profiles import examples
from tiny_data import tiny_data

from schema.features import MOVIELENS, Owner
from trainer.config import BpmfConfig, LongTermConfig, ModelConfig, TrainConfig
from trainer.data.batches import batch_tensors, user_batches
from trainer.data.training_data import (
    Catalogue,
    Interactions,
    TrainingData,
    Users,
    rating_residuals,
)
from trainer.model import MovieRecommender
from trainer.rating.principal_components import principal_components
from trainer.rating.rating_bpmf import Bpmf
from trainer.rating.rating_dcn import baseline_biases
from trainer.retrieval import user_autoencoder
from trainer.retrieval.ease import ease_weights
from trainer.retrieval.events import Events
from transform import outputs as out

OUTPUTS = out.outputs_of(MOVIELENS)

pytestmark = pytest.mark.xdist_group("trainer")

FEW_SWEEPS = BpmfConfig(rank=3, burn_in=2, draws=3, thinning=1)


class VocabularySizes:
    """A transform output of vocabularies that hold one word each, or none."""

    def __init__(self, users, movies):
        self._sizes = {out.USER_ID_INDEX: users, out.ITEM_ID_INDEX: movies, "director_index": 0}

    def vocabulary_size_by_name(self, name):
        return self._sizes.get(name, 1)


def to_training_data(tiny):
    """What the Trainer reads of the ratings; users without ratings are not in it."""
    users, user_row = np.unique(tiny.user, return_inverse=True)
    order = np.lexsort((tiny.movie, tiny.timestamp, user_row))
    movies = len(tiny.movie_ids)
    catalogue = Catalogue(
        ids=tiny.movie_ids.astype(np.bytes_),
        titles=np.full(movies, b"Movie"),
        features={
            one.name: [np.zeros(row % 2, np.int64) for row in range(movies)]
            if one.multivalued
            else np.arange(movies) * (one.name == out.ITEM_ID_INDEX)
            for one in OUTPUTS.owned_by(Owner.MOVIE)
        },
        years=np.zeros(movies, np.int64),
    )
    known = Users(
        ids=tiny.user_ids[users].astype(np.bytes_),
        features={
            one.name: np.arange(len(users)) * (one.name == out.USER_ID_INDEX)
            for one in OUTPUTS.owned_by(Owner.USER)
        },
    )
    interactions = Interactions(
        user_row=user_row[order],
        movie_row=tiny.movie[order],
        rating=tiny.rating[order],
        timestamp=tiny.timestamp[order],
        context={
            one.name: np.zeros(len(order), np.int64) for one in OUTPUTS.owned_by(Owner.CONTEXT)
        },
        offsets=np.searchsorted(user_row[order], np.arange(len(users) + 1)),
    )
    return TrainingData(
        catalogue, known, interactions, VocabularySizes(len(users), movies), MOVIELENS
    )


def assert_finite(*arrays):
    for array in arrays:
        assert np.isfinite(array).all()


@given(tiny=tiny_data())
def test_biases_components_and_ease_are_finite(tiny):
    data = to_training_data(tiny)
    ratings, users, movies = data.interactions, len(data.users.ids), len(data.catalogue.ids)
    index = [ratings.user_row, ratings.movie_row]
    mean, biases = baseline_biases(index, ratings.rating, [users, movies], [10.0, 5.0])
    assert ratings.rating.min() <= mean <= ratings.rating.max()
    assert_finite(*biases)
    if np.ptp(ratings.rating) == 0:
        assert not np.concatenate(biases).any()
        assert not rating_residuals(ratings).any()
    parts = principal_components(*index, users + 1, movies + 1, 20)  # type: ignore[call-arg]
    assert [part.shape for part in parts] == [(users + 1, 20), (movies + 1, 20)]
    assert_finite(*parts)
    ease = ease_weights(ratings, movies, 300.0, 2.0, 0.5)
    assert_finite(ease)
    assert not np.diag(ease).any()


@examples(25)
@given(tiny=tiny_data(), seed=st.integers(0, 2**31))
def test_the_bayesian_factorisation_predicts_within_sight_of_the_ratings(tiny, seed):
    data = to_training_data(tiny)
    ratings = []
    for _ in range(2):
        bpmf = Bpmf(FEW_SWEEPS, seed)
        bpmf.fit(data)
        states = bpmf.user_states(data)
        ratings.append(bpmf.scores(tf.constant(states)).numpy())
        assert ratings[-1].shape == (len(data.users.ids) + 1, len(data.catalogue.ids))
    assert_finite(ratings[0])
    np.testing.assert_array_equal(*ratings)
    users, movies = np.indices(ratings[0].shape).reshape(2, -1)
    expected = bpmf_oracle.predict(bpmf.fitted, states.reshape(len(states), 6, -1), users, movies)
    np.testing.assert_allclose(ratings[0].ravel(), expected, atol=1e-3)
    pairs = bpmf.ratings(tf.constant(states), tf.constant([[0]] * len(states)))
    np.testing.assert_allclose(pairs[:, 0], ratings[0][:, 0], atol=1e-3)


@given(tiny=tiny_data(), batch_size=st.integers(1, 30), seed=st.integers(0, 2**31))
def test_batches_hold_every_rating_once(tiny, batch_size, seed):
    data = to_training_data(tiny)
    batches = list(user_batches(data.interactions, batch_size, np.random.default_rng(seed)))
    covered = np.concatenate([positions for positions, _ in batches])
    assert sorted(covered) == list(range(len(data.interactions)))


@examples(4, shrink=False)
@given(tiny=tiny_data(), full=st.booleans(), seed=st.integers(0, 2**31))
def test_a_step_of_the_towers_and_the_network_is_finite(tiny, full, seed):
    """With a softmax over the catalogue, and with negatives of the batch, which may be none."""
    data = to_training_data(tiny)
    tf.keras.utils.set_random_seed(seed)
    config = ModelConfig(embedding_dim=4, full_softmax_limit=20 if full else 0)
    model = MovieRecommender(data, config, TrainConfig())
    positions, segments = next(
        iter(user_batches(data.interactions, 64, np.random.default_rng(seed)))
    )
    batch = batch_tensors(data.interactions, data.users, positions, segments)
    assert_a_step_is_finite(model, {name: tf.constant(value) for name, value in batch.items()})


@examples(8, shrink=False)
@given(tiny=tiny_data(), seed=st.integers(0, 2**31))
def test_a_step_of_the_autoencoder_is_finite(tiny, seed):
    data = to_training_data(tiny)
    tf.keras.utils.set_random_seed(seed)
    network = user_autoencoder.AutoencoderNetwork(data, LongTermConfig(embedding_dim=4))
    model = user_autoencoder.AutoencoderTraining(network, len(data.interactions))
    rows = np.arange(len(data.users.ids))
    residuals = rating_residuals(data.interactions)
    dense = user_autoencoder._dense(data.interactions, residuals, rows, len(data.catalogue.ids))
    assert_a_step_is_finite(model, {**data.users.features, **dense})
    # So it is where the catalogue was cut and no user of a batch has a movie left.
    nothing = {name: np.zeros_like(values) for name, values in dense.items()}
    assert_a_step_is_finite(model, {**data.users.features, **nothing})


@examples(3, shrink=False)
@given(tiny=tiny_data())
def test_an_autoencoder_trained_after_another_starts_as_the_first_did(tiny):
    """From its own initial values, at the first step's learning rate, without momentum."""
    data, config = to_training_data(tiny), LongTermConfig(embedding_dim=3)
    initial = user_autoencoder.AutoencoderNetwork(data, config)
    training = user_autoencoder.AutoencoderTraining(
        user_autoencoder.AutoencoderNetwork(data, config), len(data.interactions)
    )
    schedule = tf.keras.optimizers.schedules.CosineDecay(0.1, 5)
    training.compile(optimizer=tf.keras.optimizers.Adam(schedule))
    training.optimizer.build(training.trainable_variables)
    begun = [variable.numpy() for variable in training.optimizer.variables]
    training.begin(initial)
    training.fit(user_autoencoder._batches(data, 2, seed=1), steps_per_epoch=3, verbose=0)
    assert int(training.optimizer.iterations) == 3
    training.begin(initial)
    assert int(training.optimizer.iterations) == 0
    for variable, value in zip(training.optimizer.variables, begun, strict=True):
        np.testing.assert_array_equal(variable, value)
    for variable, value in zip(training.network.variables, initial.variables, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_several_autoencoders_are_trained_each_from_its_own_initial_values(monkeypatch):
    made = []
    network_of = user_autoencoder.AutoencoderNetwork

    def recorded(*arguments):
        network = network_of(*arguments)
        made.append((network, network.ids.numpy()))
        return network

    monkeypatch.setattr(user_autoencoder, "AutoencoderNetwork", recorded)
    user, movie = (places.ravel() for places in np.indices([12, 9]))
    kept = np.flatnonzero((user + movie) % 3 > 0)
    tiny = types.SimpleNamespace(
        user_ids=np.arange(12),
        movie_ids=np.arange(9),
        user=user[kept],
        movie=movie[kept],
        rating=np.where(user[kept] % 2 == movie[kept] % 2, 5.0, 2.0).astype(np.float32),
        timestamp=np.arange(len(kept)),
    )
    tf.keras.utils.set_random_seed(1)
    model = user_autoencoder.UserAutoencoder(LongTermConfig(autoencoders=2, epochs=30), seed=1)
    model.fit(to_training_data(tiny))
    first, second = (network.ids.numpy() for network, _ in made[:2])
    for trained, (_, initial) in zip((first, second), made, strict=False):
        assert np.abs(trained - initial).max() > 0.01
    assert np.abs(first - second).max() > 0.01
    width = LongTermConfig().embedding_dim
    np.testing.assert_allclose(model.network.ids, np.hstack([first, second]) / 2, atol=1e-6)
    assert model.network.ids.shape[1] == 2 * width


@examples(4, shrink=False)
@given(tiny=tiny_data(), number=st.integers(1, 3))
def test_joined_autoencoders_score_as_they_do_on_average(tiny, number):
    """All users, with profiles and ratings; each network's numbers are random."""
    data, config = to_training_data(tiny), LongTermConfig(embedding_dim=3)
    networks = [user_autoencoder.AutoencoderNetwork(data, config) for _ in range(number)]
    for network in networks:
        for table in (network.rating_weights, network.start, network.bias):
            table.assign(tf.random.normal(table.shape))
    scores = [scores_of(network, data) for network in networks]
    joined = user_autoencoder.joined(networks, data, config)
    np.testing.assert_allclose(scores_of(joined, data), np.mean(scores, axis=0), atol=1e-5)


def scores_of(network, data):
    model = user_autoencoder.UserAutoencoder(network.network_config, 0)
    model.network, held = network, data.interactions
    events = Events(
        tf.constant(np.stack([held.user_row, held.movie_row], axis=1), tf.int64),
        tf.constant(rating_residuals(held)),
    )
    return model.scores(model.user_state(events, model.profile(data.users.features))).numpy()


def assert_a_step_is_finite(model, batch):
    with tf.GradientTape() as tape:
        loss = model.compute_loss(batch, training=True)
    assert_finite(loss)
    gradients = tape.gradient(loss, model.trainable_variables)
    for gradient in gradients:
        if gradient is not None:
            assert_finite(tf.convert_to_tensor(gradient))
    assert any(gradient is not None for gradient in gradients)


@pytest.mark.parametrize("ratings", [1, 2, 20])
def test_the_number_of_sweeps_is_that_of_the_configuration_on_little_data(ratings):
    config = dataclasses.replace(FEW_SWEEPS, burn_in=20, draws=10, thinning=4)
    assert config.sweeps(ratings) == (20, 10, 4)
