"""Predicted ratings of users who are their events: those of the histories and of the request."""

import numpy as np
import pytest
import trainer_fixtures as fixtures

pytestmark = pytest.mark.xdist_group("trainer")

NOW = 1_800_000_000
STRANGER = {"user_id": "nobody", "user_gender": "F", "raw_user_age": 31.0}


def events_and_rows(trained, oracle, events):
    """The request's events by id, and the oracle's by row."""
    ids = trained.catalogue.ids
    named = [(time, ids[place].decode(), stars) for time, place, stars in events]
    return named, [(time, oracle.movies[movie.encode()], stars) for time, movie, stars in named]


def test_stars_follow_the_requests_events(model, oracle, trained, profiles):
    user = trained.users.ids[1]
    known = {movie for _, movie in oracle.history(user)}
    new = [place for place in range(len(trained.catalogue.ids)) if place not in known][:4]
    events = [(0, new[0], 5.0), (NOW - 60, new[1], 1.0), (0, new[2], 0.0), (0, min(known), 1.0)]
    named, rows = events_and_rows(trained, oracle, events)
    movies = trained.catalogue.ids[[new[3], *list(known)[:2]]].tolist()
    profile = {"user_id": user.decode()}
    answer = fixtures.rank(
        model,
        profile,
        STRANGER,
        STRANGER,
        profile,
        movies=[movies] * 4,
        timestamp=NOW,
        recent=[named, named, [], []],
    )["predicted_rating"]
    for place, (whose, of_request) in enumerate(
        [(profiles[user], rows), (STRANGER, rows), (STRANGER, []), (profiles[user], [])]
    ):
        expected = [oracle.stars(whose, NOW, oracle.movies[each], of_request) for each in movies]
        np.testing.assert_allclose(answer[place], expected, atol=2e-4)
    assert not np.allclose(answer[1], answer[2], atol=1e-2)


def test_recommended_movies_have_the_same_stars_as_ranked_ones(model, oracle, trained):
    named, _ = events_and_rows(trained, oracle, [(0, 3, 5.0), (0, 8, 1.0)])
    found = fixtures.recommend(model, STRANGER, timestamp=NOW, recent=[named], k=5)
    again = fixtures.rank(
        model, STRANGER, movies=found["movie_id"].tolist(), timestamp=NOW, recent=[named]
    )
    np.testing.assert_allclose(found["predicted_rating"], again["predicted_rating"], atol=1e-5)
