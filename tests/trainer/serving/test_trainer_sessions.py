"""Sessions: which events of history and request the answer takes as "right now"."""

import numpy as np
import pytest
import tensorflow as tf
import trainer_fixtures as fixtures
from hypothesis import given
from hypothesis import strategies as st
from hypothesis_profiles import examples

from schema.events import SESSION_GAP_SECONDS
from trainer.retrieval.sessions import latest_of_session, session_of

pytestmark = pytest.mark.xdist_group("trainer")

NOW = 4_000_000_000
GAP = SESSION_GAP_SECONDS
STRANGER = {"user_id": "nobody", "user_gender": "F", "raw_user_age": 31.0}

SECONDS = st.lists(
    st.tuples(st.sampled_from([0, 0, 1, 900, GAP - 1, GAP, GAP + 1, 5_000, 10**9]), st.booleans()),
    max_size=12,
)


def walked_back(events, count):
    """Places of the session's events: the definition, event by event.

    Args:
      events: (seconds before the query, whether it is known).
      count: how many of the latest known events are looked at.
    """
    known = [place for place, (_, known) in enumerate(events) if known]
    session, after = set(), 0
    for place in sorted(known, key=lambda place: events[place][0])[:count]:
        if events[place][0] - after > 30 * 60:
            break
        session.add(place)
        after = events[place][0]
    return session


@examples(60)
@given(gaps=SECONDS, data=st.data())
def test_a_session_is_the_chain_of_short_gaps_back_from_the_query(gaps, data):
    total, events = 0, []
    for gap, known in gaps:
        total += gap
        events.append((total, known))
    events = data.draw(st.permutations(events))
    seconds = tf.constant([[seconds for seconds, _ in events]], tf.float32, [1, len(events)])
    known = tf.constant([[known for _, known in events]], tf.bool, [1, len(events)])
    found = session_of(seconds, known).numpy()[0]
    assert set(np.flatnonzero(found)) == walked_back(events, len(events))
    count = data.draw(st.integers(0, 12))
    found = latest_of_session(seconds, known, count).numpy()[0]
    assert set(np.flatnonzero(found)) == walked_back(events, count)


def all_scores(model, trained, profile, timestamp, recent):
    """`[movies]` scores of every movie of the catalogue."""
    answer = fixtures.recommend(
        model, profile, k=10**6, exclude_seen=False, timestamp=timestamp, recent=[recent]
    )
    order = {movie: place for place, movie in enumerate(answer["movie_id"][0].tolist())}
    return answer["score"][0][[order[movie] for movie in trained.catalogue.ids.tolist()]]


def named(trained, events):
    return [(time, trained.catalogue.ids[row].decode(), *rest) for time, row, *rest in events]


@pytest.mark.parametrize("seconds", [0, 1, GAP])
def test_what_was_seen_just_now_begins_a_session(model, oracle, trained, seconds):
    events = [(NOW - seconds, 3), (NOW - seconds, 17)]
    found = all_scores(model, trained, STRANGER, NOW, named(trained, events))
    expected = oracle.scores(b"nobody", STRANGER, NOW, events)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    history = all_scores(model, trained, STRANGER, NOW, named(trained, [(0, 3), (0, 17)]))
    assert np.abs(found - history).max() > 1e-2


@pytest.mark.parametrize("times", [(0, 0), (NOW - GAP - 1, 0), (5, 7), (NOW + 1, NOW + 1)])
def test_events_without_a_time_of_the_session_are_history(model, oracle, trained, times):
    events = list(zip(times, (3, 17), strict=True))
    found = all_scores(model, trained, STRANGER, NOW, named(trained, events))
    np.testing.assert_allclose(found, oracle.long_term(b"nobody", STRANGER, NOW, events), atol=1e-4)


def test_time_zero_of_a_query_is_now_for_its_session_too(model, trained):
    """Events of the last second of 2025 are no session today, those of a minute ago are."""
    now = int(tf.timestamp())
    old = all_scores(model, trained, STRANGER, 0, named(trained, [(1_767_225_599, 3)]))
    new = all_scores(model, trained, STRANGER, 0, named(trained, [(now - 60, 3)]))
    history = all_scores(model, trained, STRANGER, 0, named(trained, [(0, 3)]))
    np.testing.assert_allclose(old, history, atol=1e-5)
    assert np.abs(new - history).max() > 1e-2


def test_a_rating_counts_as_its_difference_to_the_mean(model, oracle, trained, profiles):
    for user in (b"nobody", trained.users.ids[4]):
        row = next(row for row in range(60) if row not in {row for _, row in oracle.history(user)})
        profile = {**STRANGER, "user_id": user.decode()}
        by_stars = {
            stars: all_scores(model, trained, profile, NOW, named(trained, [(0, row, stars)]))
            for stars in (0.0, 1.0, 5.0, 9.0)
        }
        nan = all_scores(model, trained, profile, NOW, named(trained, [(0, row, float("nan"))]))
        np.testing.assert_array_equal(nan, by_stars[0.0])
        features = profile if user == b"nobody" else {**profiles[user], **profile}
        for stars in (0.0, 1.0, 5.0):
            expected = oracle.scores(user, features, NOW, [(0, row, stars)])
            np.testing.assert_allclose(by_stars[stars], expected, atol=1e-4)
        assert np.abs(by_stars[1.0] - by_stars[5.0]).max() > 1e-3
        np.testing.assert_allclose(by_stars[9.0], by_stars[5.0], atol=1e-5)


@pytest.mark.parametrize("seconds", [None, 5])
def test_what_somebody_new_dislikes_is_hidden_and_raises_no_similar_movie(model, trained, seconds):
    """1 or 2 stars of 5: the list is that of somebody without the event; the stars know of it."""
    time = 0 if seconds is None else NOW - seconds
    disliked = named(trained, [(time, 3, 1.0), (time, 5, 2.0)])
    liked = named(trained, [(time, 17, 4.0), (time, 9, 3.0), (time, 12)])
    for events in ([], liked):
        without = all_scores(model, trained, STRANGER, NOW, events)
        found = all_scores(model, trained, STRANGER, NOW, [*disliked, *events])
        np.testing.assert_allclose(found, without, atol=1e-5)
    answer = fixtures.recommend(model, STRANGER, k=10**6, timestamp=NOW, recent=[disliked])
    hidden = set(trained.catalogue.ids.tolist()) - set(answer["movie_id"][0].tolist())
    assert hidden == {movie.encode() for _, movie, _ in disliked}
    movies = [trained.catalogue.ids[20:40].tolist()] * 2
    stars = fixtures.rank(
        model, STRANGER, STRANGER, movies=movies, timestamp=NOW, recent=[disliked, []]
    )["predicted_rating"]
    assert stars[0].mean() < stars[1].mean() - 0.05


BEFORE = st.sampled_from([-60, 0, 1, 40, GAP - 1, GAP, GAP + 1, 2 * GAP, 10**6, None])
EVENTS = st.lists(
    st.tuples(BEFORE, st.integers(0, 59), st.sampled_from([0.0, 1.0, 4.0])), max_size=20
)


@examples(40)
@given(
    events=EVENTS, number=st.sampled_from([None, 2, 6]), place=st.floats(0, 1), later=st.booleans()
)
def test_scores_are_those_of_the_definition(
    model, oracle, trained, profiles, events, number, place, later
):
    """Of users who are known or not, after their history or in the middle of it."""
    user = b"nobody" if number is None else trained.users.ids[number]
    history = oracle.history(user)
    at = NOW
    if history and not later:
        at = history[int(place * (len(history) - 1))][0] + 30
    recent = [(0 if ago is None else at - ago, row, stars) for ago, row, stars in events]
    profile = {"user_id": user.decode()} if number is not None else STRANGER
    full = profile if number is None else profiles[user]
    found = all_scores(model, trained, profile, at, named(trained, recent))
    np.testing.assert_allclose(found, oracle.scores(user, full, at, recent), atol=1e-3)
