"""The choice of the strongly penalised EASE on validation, and the list it then makes."""

import dataclasses
import types

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import trainer_fixtures as fixtures
from scipy.stats import zscore

from schema import features as raw
from trainer.config import LongTermConfig
from trainer.data import reading
from trainer.data.training_data import Interactions, rating_residuals
from trainer.retrieval import long_term, strong_ease
from trainer.retrieval.combination import HistoryRetrieval
from trainer.retrieval.events import Events, History
from trainer.retrieval.strong_ease import StrongEase, choose

pytestmark = pytest.mark.xdist_group("trainer")

USERS, MOVIES, GROUPS = 60, 120, 4
CONFIG = LongTermConfig(ease_penalty=1.0, strong_penalties=(10.0,))


def data_of(later):
    """Users of four groups have seen movies of their group; `later` gives those of validation."""
    rng = np.random.default_rng(7)
    rows = []
    for user in range(USERS):
        own = rng.permutation(np.arange(user % GROUPS, MOVIES, GROUPS))
        rows += [(user, movie, False) for movie in own[:12]]
        rows += [(user, movie, True) for movie in later(user, own[12:], rng)]
    user_row, movie_row, validation = np.array(sorted(rows)).T
    interactions = Interactions(
        user_row=user_row,
        movie_row=movie_row,
        rating=np.full(len(rows), 3.0, np.float32),
        timestamp=np.zeros(len(rows), np.int64),
        context={},
        offsets=np.searchsorted(user_row, np.arange(USERS + 1)),
        validation=validation.astype(bool),
    )
    catalogue = types.SimpleNamespace(ids=np.arange(MOVIES))
    return types.SimpleNamespace(interactions=interactions, catalogue=catalogue)


def of_the_same_group(user, unseen, rng):
    return unseen[:5]


def of_other_groups(user, unseen, rng):
    """What nobody of the group has seen: the usual EASE puts it last."""
    return rng.permutation(np.arange((user + 1) % GROUPS, MOVIES, GROUPS))[:5]


def test_the_usual_list_stays_where_it_finds_what_comes_next():
    assert choose(CONFIG, data_of(of_the_same_group)) is None


def test_a_strong_penalty_is_chosen_where_users_change():
    config = dataclasses.replace(CONFIG, strong_popularity_weights=(0.0, 50.0))
    assert choose(config, data_of(of_other_groups)) == StrongEase(10.0, 50.0)


def test_nothing_is_concluded_without_validation_or_from_few_users(monkeypatch):
    assert choose(CONFIG, data_of(lambda *_: ())) is None
    data = data_of(lambda user, *rest: of_other_groups(user, *rest) if user < 29 else ())
    monkeypatch.setattr(strong_ease, "_gain", lambda found, usual: (1.0, 0.0))
    assert choose(CONFIG, data) is None
    assert choose(CONFIG, data_of(of_other_groups)) is not None


@pytest.fixture(scope="module")
def data(world):
    """Ratings of train and validation, the latter marked."""
    return reading.load_training_data(
        world.event_files["train"] + world.event_files["validation"],
        world.user_files,
        world.movie_files,
        tft.TFTransformOutput(world.transform_graph),
        raw.MOVIELENS,
        world.event_files["validation"],
    )


def test_the_ratings_of_validation_are_marked(world, data):
    marked = data.interactions.where(data.interactions.validation)
    found = zip(data.users.ids[marked.user_row], data.catalogue.ids[marked.movie_row], strict=True)
    expected = [
        (fixtures.value(example, raw.USER_ID), fixtures.value(example, raw.MOVIE_ID))
        for example in fixtures.read_examples(world.rating_files["validation"])
    ]
    assert sorted(found) == sorted(expected)
    assert not marked.validation.any()


@pytest.fixture(scope="module")
def fitted(data):
    config = dataclasses.replace(fixtures.SMALL.long_term, blend_lengths=(0.0, 1.0, 2.0))
    for name in ("popularity_weights", "autoencoder_weights"):
        config = dataclasses.replace(config, **{name: (3.0, 2.0, 1.0)})
    config = dataclasses.replace(config, kernel_shares=(0.0, 0.5, 1.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_term, "choose", lambda config, data: StrongEase(5.0, 0.25))
        models = long_term.fit_long_term(config, data, 1, lambda line: None)
    assert models.kernel is None
    return models


def test_long_histories_have_the_list_of_the_strong_ease_and_popularity(data, fitted):
    held, users = data.interactions, tf.constant(len(data.users.ids), tf.int64)
    residuals = rating_residuals(held)
    pairs = np.stack([held.user_row, held.movie_row], axis=1)
    events = Events(tf.constant(pairs, tf.int64), tf.constant(residuals))
    features = {name: tf.constant(values) for name, values in data.users.features.items()}
    retrieval = HistoryRetrieval(None, fitted, data.catalogue, data.ratings_per_movie)
    state, profile = retrieval.user_state(events, users), retrieval.profile(features)
    found = retrieval.long_term_scores(state, profile).numpy()
    gram = np.zeros([len(data.users.ids), len(data.catalogue.ids)])
    gram[held.user_row, held.movie_row] = (
        1.0 + residuals * fitted.autoencoder.config.ease_rating_weight
    )
    weights = fitted.strong_ease.weights.numpy()
    expected = zscore(gram @ weights, axis=1) + 0.25 * zscore(np.log1p(data.ratings_per_movie))
    long = np.diff(held.offsets) >= 2
    assert long.any()
    np.testing.assert_allclose(found[long], expected[long], atol=1e-3)


def test_events_of_a_long_history_add_up_to_the_strong_ease(data, fitted):
    held = data.interactions
    user = int(np.argmax(np.diff(held.offsets)))
    own = slice(held.offsets[user], held.offsets[user + 1])
    movies, residuals = held.movie_row[own], rating_residuals(held)[own]
    pairs = np.stack([np.zeros(len(movies)), movies], axis=1)
    events = Events(tf.constant(pairs, tf.int64), tf.constant(residuals))
    retrieval = HistoryRetrieval(None, fitted, data.catalogue, data.ratings_per_movie)
    state = retrieval.user_state(events, tf.constant(1, tf.int64))
    features = {name: tf.constant(v[user : user + 1]) for name, v in data.users.features.items()}
    profile = retrieval.profile(features)
    present = np.ones([1, len(movies)], bool)
    history = History(
        movies=tf.constant(movies[np.newaxis].astype(np.int32)),
        residuals=tf.constant(residuals[np.newaxis]),
        seconds=tf.zeros([1, len(movies)]),
        has_time=tf.constant(present),
        present=tf.constant(present),
    )
    everything = tf.range(len(data.catalogue.ids))[tf.newaxis]
    added = tf.reduce_sum(retrieval.contributions(state, profile, history, everything), axis=2)
    popularity = 0.25 * zscore(np.log1p(data.ratings_per_movie))
    found = retrieval.long_term_scores(state, profile)
    np.testing.assert_allclose(added[0], found[0] - popularity, atol=1e-3)
