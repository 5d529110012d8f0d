"""The Bayesian factorisation: what it finds in ratings of known making."""

import dataclasses

import numpy as np
import pytest

from trainer.config import BpmfConfig
from trainer.rating import gibbs, rating_bpmf

CONFIG = BpmfConfig(rank=3, served_rank=8, burn_in=15, samples=30)
USERS, MOVIES, RANK = 60, 50, 2
DAY = 86_400


@dataclasses.dataclass(frozen=True)
class Made:
    """Ratings made from factors; the last user and the last movie have none."""

    user: np.ndarray
    movie: np.ndarray
    timestamp: np.ndarray
    rating: np.ndarray
    expected: np.ndarray
    known: tuple[np.ndarray, np.ndarray]

    def part(self, rows):
        return self.user[rows], self.movie[rows], self.rating[rows], self.timestamp[rows]


def make(seed=3, noise=0.3, mood=0.0, sides=False):
    rng = np.random.default_rng(seed)
    user, movie = np.nonzero(rng.random((USERS - 1, MOVIES - 1)) < 0.6)
    traits = rng.normal(0, 1, USERS), rng.normal(0, 1, MOVIES)
    left, right = rng.normal(0, 0.6, (USERS, RANK)), rng.normal(0, 0.6, (MOVIES, RANK))
    biases = rng.normal(0, 0.3, USERS), rng.normal(0, 0.3, MOVIES)
    day = rng.integers(0, 4, len(user))
    moods = rng.normal(0, mood, (USERS, 4)) if mood else np.zeros((USERS, 4))
    bias = 0.8 * traits[1] if sides else biases[1]
    expected = 3.2 + biases[0][user] + bias[movie] + (left[user] * right[movie]).sum(1)
    expected = expected + moods[user, day]
    known = (np.zeros((USERS, 1)), traits[1][:, None] if sides else np.zeros((MOVIES, 1)))
    rating = (expected + rng.normal(0, noise, len(user))).astype(np.float32)
    return Made(user, movie, (day * DAY + 500).astype(np.int64), rating, expected, known)


def fitted(made, rows, config=CONFIG, seed=1):
    observed = gibbs.ObservedRatings(*made.part(rows), *made.known)
    return gibbs.GibbsSampler(observed, config, seed).fit()


def error(made, fit, rows, timed=True):
    user, movie, _, timestamp = made.part(rows)
    found = rating_bpmf.predict(fit, user, movie, timestamp if timed else None)
    return np.sqrt(np.mean((found - made.expected[rows]) ** 2))


def halves(made):
    held_out = np.random.default_rng(0).random(len(made.user)) < 0.2
    return np.nonzero(~held_out)[0], np.nonzero(held_out)[0]


def test_factors_of_held_out_ratings_are_found():
    made = make()
    train, test = halves(made)
    spread = np.std(made.expected[test])
    assert error(made, fitted(made, train), test) < 0.35 * spread


def test_it_beats_biases_alone():
    made = make()
    train, test = halves(made)
    flat = dataclasses.replace(CONFIG, rank=1, prior_variance=1e-9)
    assert error(made, fitted(made, train), test) < 0.6 * error(
        made, fitted(made, train, flat), test
    )


def test_moods_of_a_day_are_found_and_left_out_when_no_time_is_given():
    made = make(mood=0.7)
    train, test = halves(made)
    fit = fitted(made, train)
    assert error(made, fit, test) < 0.75 * error(made, fit, test, timed=False)


def test_a_time_outside_of_the_training_has_no_effect():
    made = make(mood=0.7)
    fit = fitted(made, np.arange(len(made.user)))
    user, movie = made.user[:50], made.movie[:50]
    later = np.full(50, 10_000 * DAY)
    np.testing.assert_allclose(
        rating_bpmf.predict(fit, user, movie, later), rating_bpmf.predict(fit, user, movie, None)
    )


def test_a_movie_without_ratings_is_judged_by_what_is_known_of_it():
    made = make(sides=True)
    train = np.nonzero(made.movie != 7)[0]
    fit = fitted(made, train)
    rated = np.setdiff1d(np.arange(MOVIES - 1), [7])
    traits = made.known[1][:, 0]
    slope, start = np.polyfit(traits[rated], fit.movie_bias[rated], 1)
    assert fit.movie_bias[7] == pytest.approx(start + slope * traits[7], abs=0.25)


def test_unknown_users_and_movies_get_the_average():
    made = make()
    fit = fitted(made, np.arange(len(made.user)))
    nobody, nothing = np.array([USERS - 1]), np.array([MOVIES - 1])
    found = rating_bpmf.predict(fit, nobody, nothing, None)[0]
    assert found == pytest.approx(fit.mean, abs=0.4)


def test_the_seed_decides_everything():
    made = make()
    rows = np.arange(len(made.user))
    one, same, other = (fitted(made, rows, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.user_vectors, same.user_vectors)
    assert one.noise == same.noise
    assert not np.array_equal(one.user_bias, other.user_bias)


def test_the_noise_is_found():
    made = make(noise=0.5)
    assert fitted(made, np.arange(len(made.user))).noise == pytest.approx(0.5, abs=0.15)


def test_predictions_are_the_means_over_samples():
    rng = np.random.default_rng(5)
    samples = [
        (rng.normal(size=(9, 2)).astype(np.float32), rng.normal(size=(7, 2)).astype(np.float32))
        for _ in range(3)
    ]
    expected = np.mean([left @ right.T for left, right in samples], axis=0)
    left, right = gibbs.mean_product(samples, 64)
    np.testing.assert_allclose(left @ right.T, expected, atol=1e-5)
    left, right = gibbs.mean_product(samples, 1)
    assert left.shape == (9, 1)
    values = np.linalg.svd(expected, compute_uv=False)
    lost = np.linalg.norm(left @ right.T - expected)
    assert lost == pytest.approx(np.sqrt((values[1:] ** 2).sum()), rel=1e-4)


def test_large_data_get_fewer_sweeps():
    config = BpmfConfig(burn_in=20, samples=100, full_ratings=1_000)
    assert config.sweeps(1_000) == (20, 100)
    assert config.sweeps(2_000) == (10, 50)
    assert config.sweeps(10**9) == (5, 10)
