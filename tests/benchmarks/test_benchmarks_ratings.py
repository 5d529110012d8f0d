"""The table of the factorisation's parts: what each line changes."""

import dataclasses

import numpy as np
import pytest

from benchmarks import ratings
from sources.errors import InputError
from trainer.config import BpmfConfig
from trainer.data.training_data import Interactions
from trainer.rating.gibbs import ObservedRatings
from trainer.rating.posterior import known_of_users, user_states
from trainer.rating.side_information import UserHistories, fit_history_features

COMPONENTS, USERS, MOVIES = 2, 12, 9
SMALL = BpmfConfig(rank=2, burn_in=3, draws=3, thinning=1, components=COMPONENTS)


@pytest.fixture(scope="module")
def made():
    """Ratings that follow from the users' features, and what computes the side information."""
    rng = np.random.default_rng(5)
    user, movie = np.nonzero(rng.random((USERS, MOVIES)) < 0.7)
    profiles = rng.normal(0, 1, (USERS, 3)).astype(np.float32)
    histories = UserHistories(np.searchsorted(user, np.arange(USERS + 1)), movie)
    features, of_movies = fit_history_features(histories, MOVIES, COMPONENTS)
    known = known_of_users(features, histories, profiles)
    stars = (3.0 + profiles[user, 0]).astype(np.float32)
    traits = rng.normal(0, 1, (MOVIES, 4))
    of_movies = np.concatenate([of_movies, traits], axis=1)
    return ObservedRatings(user, movie, stars, known, of_movies), features


@pytest.mark.parametrize(
    ("left_out", "of_users", "of_movies"),
    [
        ((), "111111", "1111111"),
        (("components",), "001111", "0011111"),
        (("counts",), "110111", "1101111"),
        (("users",), "111000", "1111111"),
        (("movies",), "111111", "1110000"),
        (("components", "counts", "users", "movies"), "000000", "0000000"),
    ],
)
def test_parts_of_the_side_information_are_left_out(made, left_out, of_users, of_movies):
    observed, features = made
    found, kept = ratings.masked(observed, features, left_out)
    assert "".join(str(int(one)) for one in kept) == of_users
    for values, before, columns in (
        (found.user_known, observed.user_known, of_users),
        (found.movie_known, observed.movie_known, of_movies),
    ):
        np.testing.assert_array_equal(values, before * np.array([int(one) for one in columns]))


@pytest.mark.parametrize("left_out", [(), ("users",)])
def test_a_user_without_events_is_known_by_features_that_are_not_left_out(made, left_out):
    observed, features = made
    fit = ratings.chain(observed, features, SMALL, 1, left_out)
    nobody = UserHistories(np.zeros(3, np.int64), np.zeros(0, np.int64))
    profiles = np.array([[2.0, 0, 0], [-2.0, 0, 0]], np.float32)
    states = user_states(fit, nobody, np.zeros(0, np.float32), profiles)
    assert np.allclose(states[0], states[1]) == bool(left_out)


def test_each_line_changes_values_that_there_are():
    changed = [dataclasses.replace(SMALL, **line.values) for line in ratings.LINES.values()]
    assert len(set(changed)) == len(changed) - sum(bool(x.left_out) for x in ratings.LINES.values())


def test_parts_and_sessions_are_what_comes_before_a_row():
    """User 0: 100, 200, 200 and 5,000 s; user 1: 300 s."""
    held = Interactions(
        user_row=np.array([0, 0, 0, 0, 1]),
        movie_row=np.arange(5),
        rating=np.ones(5, np.float32),
        timestamp=np.array([100, 200, 200, 5_000, 300]),
        context={},
        offsets=np.array([0, 4, 5]),
    )
    users, times = np.array([0, 0, 0, 0, 1]), np.array([100, 200, 201, 5_001, 9_000])
    parts = ratings.parts_of(held, users, times)
    assert parts.end[parts.part].tolist() == [0, 1, 3, 4, 5]
    assert parts.owner[parts.part].tolist() == users.tolist()
    places, since = ratings.latest_of(held, parts, times, 3)
    found = [
        [(int(place), int(seconds)) for place, seconds in zip(*row, strict=True) if seconds < 1e9]
        for row in zip(places, since, strict=True)
    ]
    assert found == [[], [(0, 100)], [(2, 1), (1, 1), (0, 101)], [(3, 1)], []]


def test_predictions_are_clipped_before_the_error_is_taken():
    assert ratings.rmse(np.array([7.0, 0.0, 3.0]), np.array([5.0, 1.0, 1.0])) == pytest.approx(
        np.sqrt(4 / 3)
    )


def test_a_text_of_no_line_is_refused():
    with pytest.raises(InputError, match="no line of the table"):
        ratings.main(["--only", "no such line"])
