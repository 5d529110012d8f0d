"""The Bayesian factorisation: what it finds in ratings of known making, and who a user is to it."""

import dataclasses

import bpmf_oracle
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from trainer.config import BpmfConfig, sweep_cost
from trainer.rating import gibbs, posterior, rating_bpmf
from trainer.rating.side_information import (
    CountScale,
    UserHistories,
    fit_history_features,
)

CONFIG = BpmfConfig(rank=3, burn_in=15, draws=10, thinning=3, components=2, prior_variance=0.1)
USERS, MOVIES, RANK = 60, 50, 2


@dataclasses.dataclass(frozen=True)
class Made:
    """Ratings made from factors, user by user; the last user and the last movie have none."""

    user: np.ndarray
    movie: np.ndarray
    rating: np.ndarray
    expected: np.ndarray
    profiles: np.ndarray
    traits: np.ndarray

    def histories(self, rows):
        offsets = np.searchsorted(self.user[rows], np.arange(USERS + 1))
        return UserHistories(offsets, self.movie[rows])


def make(seed=3, noise=0.3, sides=False):
    rng = np.random.default_rng(seed)
    user, movie = np.nonzero(rng.random((USERS - 1, MOVIES - 1)) < 0.6)
    traits = rng.normal(0, 1, (MOVIES, 1)) * sides
    profiles = rng.normal(0, 1, (USERS, 1)) * sides
    left, right = rng.normal(0, 0.6, (USERS, RANK)), rng.normal(0, 0.6, (MOVIES, RANK))
    biases = rng.normal(0, 0.3, USERS), rng.normal(0, 0.3, MOVIES)
    if sides:
        biases = 0.8 * profiles[:, 0], 0.8 * traits[:, 0]
    expected = 3.2 + biases[0][user] + biases[1][movie] + (left[user] * right[movie]).sum(1)
    rating = (expected + rng.normal(0, noise, len(user))).astype(np.float32)
    return Made(user, movie, rating, expected, profiles, traits)


def fitted(made, rows, config=CONFIG, seed=1):
    histories = made.histories(rows)
    features, movie_known = fit_history_features(histories, MOVIES, config.components)
    observed = gibbs.ObservedRatings(
        made.user[rows],
        made.movie[rows],
        made.rating[rows],
        posterior.known_of_users(features, histories, made.profiles),
        np.concatenate([movie_known, made.traits], axis=1),
    )
    sampler = gibbs.GibbsSampler(observed, config, seed)
    return posterior.BpmfFit(sampler.mean, sampler.draw(), features)


def states(made, fit, rows):
    return posterior.user_states(fit, made.histories(rows), made.rating[rows], made.profiles)


def error(made, fit, known, rows):
    found = bpmf_oracle.predict(fit, states(made, fit, known), made.user[rows], made.movie[rows])
    return np.sqrt(np.mean((found - made.expected[rows]) ** 2))


def halves(made):
    held_out = np.random.default_rng(0).random(len(made.user)) < 0.2
    return np.nonzero(~held_out)[0], np.nonzero(held_out)[0]


def everything(made):
    return np.arange(len(made.user))


def test_factors_of_held_out_ratings_are_found():
    made = make()
    train, test = halves(made)
    spread = np.std(made.expected[test])
    assert error(made, fitted(made, train), train, test) < 0.35 * spread


def test_it_beats_biases_alone():
    made = make()
    train, test = halves(made)
    flat = dataclasses.replace(CONFIG, rank=1, prior_variance=1e-9)
    assert error(made, fitted(made, train), train, test) < 0.6 * error(
        made, fitted(made, train, flat), train, test
    )


def test_a_movie_without_ratings_is_judged_by_what_is_known_of_it():
    made = make(sides=True)
    fit = fitted(made, np.nonzero(made.movie != 7)[0])
    bias = fit.draws.movies[:, :, 0].mean(axis=0)
    rated = np.setdiff1d(np.arange(MOVIES - 1), [7])
    slope, start = np.polyfit(made.traits[rated, 0], bias[rated], 1)
    assert bias[7] == pytest.approx(start + slope * made.traits[7, 0], abs=0.3)


def test_a_user_without_events_is_judged_by_the_profile():
    made = make(sides=True)
    fit = fitted(made, everything(made))
    nobody = UserHistories(np.zeros(4, np.int64), np.zeros(0, np.int64))
    profiles = np.array([[-1.0], [0.0], [1.0]])
    found = posterior.user_states(fit, nobody, np.zeros(0, np.float32), profiles)
    low, middle, high = found[:, :, 0].mean(axis=1)
    assert high - middle == pytest.approx(0.8, abs=0.2)
    assert middle - low == pytest.approx(0.8, abs=0.2)


def test_a_user_is_their_events_and_profile_wherever_they_come_from():
    made = make(sides=True)
    rows = everything(made)
    fit = fitted(made, rows)
    known = states(made, fit, rows)
    own = rows[made.user == 5]
    stranger = UserHistories(np.array([0, len(own)]), made.movie[own])
    found = posterior.user_states(fit, stranger, made.rating[own], made.profiles[5:6])
    np.testing.assert_allclose(found[0], known[5], atol=1e-5)


@pytest.mark.parametrize(
    "ends", [[0], [1], [0, 3, 4, 5, 11, 20], [2, 8, 12, 20], list(range(21))], ids=str
)
def test_the_state_after_the_first_events_is_that_of_a_user_who_has_only_these(monkeypatch, ends):
    monkeypatch.setattr(rating_bpmf, "_EVENTS_AT_ONCE", 4)
    made = make()
    made = dataclasses.replace(made, profiles=np.ones((USERS, 1)))
    model = rating_bpmf.Bpmf(CONFIG, seed=1)
    model._make_tables(fitted(made, everything(made)), {"made": 1})
    user = np.bincount(made.user).argmax()
    movies, stars = made.movie[made.user == user][:20], made.rating[made.user == user][:20]
    events = rating_bpmf.RatedEvents(
        tf.stack([tf.zeros(20, tf.int64), movies], axis=1),
        tf.constant(stars),
        tf.ones(20, tf.bool),
    )
    found = model.states_of_parts(
        events, tf.constant(ends, tf.int64), model.profile({"made": tf.zeros(1, tf.int64)})
    )
    expected = [
        posterior.user_states(
            model.fitted,
            UserHistories(np.array([0, end]), movies[:end]),
            stars[:end],
            np.ones((1, 1)),
        ).reshape(-1)
        for end in ends
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_thinned_draws_are_evenly_spaced():
    draws = fitted(make(), np.arange(200)).draws
    for count, kept in ((20, range(10)), (5, range(0, 10, 2)), (3, range(0, 10, 3))):
        np.testing.assert_array_equal(draws.thinned(count).movies, draws.movies[list(kept)])


def test_states_are_the_posterior_means_of_a_linear_regression():
    made = make(sides=True)
    rows = everything(made)
    fit = fitted(made, rows)
    found = states(made, fit, rows)
    draws = fit.draws
    for user in (0, 17, USERS - 1):
        own = rows[made.user == user]
        known = posterior.known_of_users(fit.history_features, made.histories(rows), made.profiles)
        for draw in range(len(draws.movies)):
            prior_mean = np.append(1.0, known[user]) @ draws.user_weights[draw]
            prior_precision = draws.user_precision[draw].astype(np.float64)
            design = draws.movies[draw, made.movie[own]].astype(np.float64)
            target = made.rating[own] - fit.mean - design[:, 0]
            design = np.concatenate([np.ones((len(own), 1)), design[:, 1:]], axis=1)
            # As pseudo-observations: the prior is a regression of its own.
            root = np.linalg.cholesky(prior_precision).T
            noise = np.sqrt(draws.noise_precision[draw, made.movie[own], np.newaxis])
            stacked = np.concatenate([noise * design, root])
            aim = np.concatenate([noise[:, 0] * target, root @ prior_mean])
            expected = np.linalg.lstsq(stacked, aim, rcond=None)[0]
            np.testing.assert_allclose(found[user, draw], expected, atol=2e-3)


def test_draws_of_a_user_have_the_posterior_mean_and_covariance():
    rng = np.random.default_rng(4)
    movie = np.arange(12)
    observed = gibbs.ObservedRatings(
        np.zeros(12, np.int64),
        movie,
        rng.normal(3, 1, 12).astype(np.float32),
        np.zeros((1, 0)),
        np.zeros((12, 0)),
    )
    sampler = gibbs.GibbsSampler(observed, dataclasses.replace(CONFIG, rank=2), 3)
    users, movies = sampler._users, sampler._movies
    movies.values[:] = rng.normal(0, 1, movies.values.shape)
    users._prior[:] = [0.3, -0.2, 0.5]
    users.precision = np.array([[2.0, 0.3, 0.0], [0.3, 1.5, 0.2], [0.0, 0.2, 1.0]])
    own, other = np.array([1.7]), rng.uniform(0.5, 2.0, 12)
    target = rng.normal(0, 1, 12)
    found = []
    for _ in range(6_000):
        users.sample_values(target, movies, own, other)
        found.append(users.values[0].copy())
    design = np.concatenate([np.ones((12, 1)), movies.values[:, 1:]], axis=1)
    weights = np.diag(own[0] * other)
    precision = design.T @ weights @ design + users.precision
    mean = np.linalg.solve(
        precision, design.T @ weights @ target + users.precision @ users._prior[0]
    )
    np.testing.assert_allclose(np.mean(found, axis=0), mean, atol=0.03)
    np.testing.assert_allclose(np.cov(np.transpose(found)), np.linalg.inv(precision), atol=0.02)


def test_the_seed_decides_everything():
    made = make()
    one, same, other = (fitted(made, everything(made), seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.draws.movies, same.draws.movies)
    np.testing.assert_array_equal(one.draws.noise_precision, same.draws.noise_precision)
    assert not np.array_equal(one.draws.movies, other.draws.movies)


def test_the_noise_is_found():
    made = make(noise=0.5)
    found = fitted(made, everything(made)).draws.noise_precision
    assert np.mean(found**-0.5) == pytest.approx(0.5, abs=0.15)


def test_the_components_of_a_history_are_those_of_the_fit():
    made = make()
    rows = everything(made)
    histories = made.histories(rows)
    features, of_movies = fit_history_features(histories, MOVIES, 3)
    found = features(histories)
    assert found.shape == (USERS, 4)
    assert of_movies.shape == (MOVIES, 4)
    # Left singular vectors of the normalised 0/1 matrix, of unit variance, but for the sign.
    seen = np.zeros((USERS, MOVIES))
    seen[made.user, made.movie] = 1.0
    scale = np.sqrt(np.maximum(seen.sum(1), 1))[:, None] * np.sqrt(np.maximum(seen.sum(0), 1))
    left = np.linalg.svd(seen / scale)[0][:, :3] * np.sqrt(USERS)
    np.testing.assert_allclose(np.abs(found[:, :3]), np.abs(left), atol=1e-3)


@given(st.lists(st.integers(0, 9), min_size=1), st.integers(1, 20))
def test_blocks_hold_every_entity_once_and_not_too_many_ratings(counts, limit):
    blocks = gibbs._blocks(np.array(counts), limit)
    rows = [row for first, last in blocks for row in range(first, last)]
    assert rows == list(range(len(counts)))
    for first, last in blocks:
        assert last - first == 1 or sum(counts[first:last]) <= max(limit, max(counts[first:last]))


@given(st.lists(st.integers(1, 10_000), min_size=1), st.integers(0, 10**6))
def test_counts_are_standardised_and_never_extrapolated(counts, other):
    counts = np.array(counts)
    scale = CountScale.of(counts)
    found = scale(counts)
    assert np.isfinite(found).all()
    assert found.mean() == pytest.approx(0.0, abs=1e-6)
    assert found.min() - 1e-9 <= scale(np.array(other)) <= found.max() + 1e-9


def test_draws_of_chains_are_joined_and_predictions_are_their_mean():
    made = make()
    train, test = halves(made)
    one, other = (fitted(made, train, seed=seed) for seed in (1, 2))
    both = dataclasses.replace(one, draws=posterior.joined([one.draws, other.draws]))
    parts = [
        bpmf_oracle.predict(fit, states(made, fit, train), made.user[test], made.movie[test])
        for fit in (one, other, both)
    ]
    np.testing.assert_allclose(parts[2], (parts[0] + parts[1]) / 2, atol=1e-5)


def test_large_data_get_fewer_sweeps_and_one_chain():
    config = BpmfConfig(burn_in=20, draws=20, thinning=5, full_ratings=1_000, chains=3)
    assert [config.chains_of(ratings) for ratings in (1, 1_000, 1_001)] == [3, 3, 1]
    assert config.sweeps(1_000) == (20, 20, 5)
    assert config.sweeps(2_000) == (10, 20, 2)
    assert config.sweeps(10**9) == (10, 10, 1)


@pytest.mark.parametrize(
    ("ratings", "users", "movies", "all_of_them"),
    [
        (100_000, 943, 1_682, True),
        (100_836, 610, 9_742, True),
        (500_000, 10_000, 50_000, False),
        (100_000, 10_000, 50_000, False),
    ],
    ids=["100k", "latest-small", "large", "a large catalogue of few ratings"],
)
def test_a_large_catalogue_of_few_ratings_counts_as_more(ratings, users, movies, all_of_them):
    cost = sweep_cost(ratings, users + movies)
    assert (BpmfConfig().sweeps(cost) == BpmfConfig().sweeps(1)) == all_of_them
    # On MovieLens-1M and larger releases ratings cost more.
    assert sweep_cost(1_000_209, 6_040 + 3_706) == 1_000_209
    assert sweep_cost(25_000_095, 162_541 + 59_047) == 25_000_095
