"""What the evaluation's signature knows at each row's own time."""

import contextlib
import types

import numpy as np
import pytest
import tensorflow as tf
import trainer_fixtures as fixtures
from hypothesis import given
from hypothesis import strategies as st
from hypothesis_profiles import examples

from trainer.evaluation import signature
from trainer.serving.signatures import signatures

pytestmark = pytest.mark.xdist_group("trainer")


@contextlib.contextmanager
def changed(serving, first, last, shift):
    """The history with other movies and stars from one place to another."""
    table = serving.history
    held = table.movies, table.residuals, table._means, serving.rating_states
    before = [variable.numpy() for variable in held]
    movies, residuals, means, _ = (values.copy() for values in before)
    movies[first:last] = np.roll(movies[first:last], 1)[::-1]
    residuals[first:last] = -residuals[first:last]
    table.movies.assign(movies)
    # Other stars are another mean of the user's, of which all residuals are made.
    table.residuals.assign(residuals + shift)
    table._means.assign(means - shift)
    users = tf.range(serving.users.count + 1)
    events = serving.rated_events(users, table.bounds(users))
    features = serving.named(serving.users.profiles)
    serving.rating_states.assign(serving.rating.user_state(events, features))
    try:
        yield
    finally:
        for variable, values in zip(held, before, strict=True):
            variable.assign(values)


@pytest.fixture(scope="module")
def middle_of_a_history(trained):
    """A user of many ratings, a time among them, and examples of movies at that time."""
    held = trained.interactions
    user = int(np.argmax(np.bincount(held.user_row)))
    places = np.flatnonzero(held.user_row == user)
    middle = places[len(places) // 2]
    time = int(held.timestamp[middle])
    first_later = places[int(np.searchsorted(held.timestamp[places], time))]
    examples = [
        fixtures.to_example(
            user_id=trained.users.ids[user], movie_id=trained.catalogue.ids[row], timestamp=time
        ).SerializeToString()
        for row in range(0, 60, 6)
    ]
    return examples, int(places[0]), int(first_later), int(places[-1]) + 1


def in_session(trained, examples):
    found = trained.evaluation.evaluate(examples)
    return {name: value.numpy() for name, value in found.items() if name.startswith("in_session_")}


def test_later_events_change_no_answer_in_session(trained, middle_of_a_history):
    """Those of the query's own second are later: it is not known which came first."""
    examples, _, later, end = middle_of_a_history
    expected = in_session(trained, examples)
    with changed(trained.serving, later, end, shift=0.25):
        found = in_session(trained, examples)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-4, err_msg=name)


def test_earlier_events_change_answers_in_session(trained, middle_of_a_history):
    """Shows that what the test before changes is what a leak would make visible."""
    examples, start, later, _ = middle_of_a_history
    expected = in_session(trained, examples)
    with changed(trained.serving, start, later, shift=0.0):
        found = in_session(trained, examples)
    assert (found["in_session_items"] != expected["in_session_items"]).any()
    assert np.abs(found["in_session_rating"] - expected["in_session_rating"]).max() > 0.01


def test_a_request_that_gives_a_sessions_events_gets_the_stars_that_are_evaluated(
    trained, middle_of_a_history
):
    """The model knows the first half of the events; the request gives the others."""
    examples, start, later, _ = middle_of_a_history
    expected = in_session(trained, examples)["in_session_rating"]
    held, ids, serving = trained.interactions, trained.catalogue.ids, trained.serving
    user, half = int(held.user_row[start]), (start + later) // 2
    # Made after the training, at the rows' hour and day of the week.
    delay = 2_000 * 7 * 86_400
    events = [
        (
            int(held.timestamp[place]) + delay,
            ids[held.movie_row[place]].decode(),
            float(held.rating[place]),
        )
        for place in range(half, later)
    ]
    bounds = serving.history._bounds.numpy()
    known = bounds.copy()
    known[user, 1] = half
    serving.history._bounds.assign(known)
    try:
        answer = fixtures.rank(
            types.SimpleNamespace(signatures=signatures(serving)),
            {"user_id": trained.users.ids[user].decode()},
            movies=[ids[:60:6].tolist()],
            timestamp=int(held.timestamp[later]) + delay,
            recent=[events],
        )
    finally:
        serving.history._bounds.assign(bounds)
    assert len(events) >= trained.config.model.recency_events
    np.testing.assert_allclose(answer["predicted_rating"][0], expected, atol=1e-4)


def test_rows_of_one_user_with_other_profiles_have_lists_of_their_own(trained):
    """As a row evaluated alone has: sharing a list would hide a leak of the movie's features."""
    movies = trained.catalogue.ids[:8]
    users = [trained.users.ids[0]] * 6 + [b"nobody"] * 6
    ages = [None, 7.0, 70.0, None, 7.0, None] * 2
    examples = [
        fixtures.to_example(
            user_id=user,
            movie_id=movies[number % len(movies)],
            timestamp=10**9,
            **({} if age is None else {"raw_user_age": age, "user_gender": "F"}),
        ).SerializeToString()
        for number, (user, age) in enumerate(zip(users, ages, strict=True))
    ]
    together = trained.evaluation.evaluate(tf.constant(examples))
    alone = [trained.evaluation.evaluate(tf.constant([one])) for one in examples]
    lists = {name: values.numpy() for name, values in together.items() if "next_visit" in name}
    for name, values in lists.items():
        expected = np.concatenate([one[name].numpy() for one in alone])
        np.testing.assert_allclose(values, expected, atol=1e-5, err_msg=name)
    items = lists["next_visit_items"]
    assert len({tuple(row) for row in items[6:].tolist()}) > 1, "profiles change nobody's list"


@examples(25)
@given(rows=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=12))
def test_each_user_and_profile_is_answered_once(rows):
    users = tf.constant([user for user, _ in rows], tf.int64)
    profile = tf.constant([[0.5, float(value)] for _, value in rows], tf.float32, [len(rows), 2])
    first, number = signature._unique_queries(users, profile)
    assert [rows[place] for place in first.numpy()] == list(dict.fromkeys(rows))
    assert [rows[place] for place in first.numpy()[number.numpy()]] == rows


@pytest.mark.parametrize(("ratings", "draws"), [(1, 10), (400_000, 10), (800_000, 5), (10**8, 2)])
def test_the_more_ratings_the_fewer_draws_predict_from_parts_of_histories(ratings, draws):
    assert signature.draws_of_parts(ratings) == draws


@pytest.mark.parametrize("rows", [1, 10])
def test_rows_of_a_large_catalogue_are_answered_some_at_a_time(
    trained, middle_of_a_history, monkeypatch, rows
):
    examples = np.array(middle_of_a_history[0][:rows], object)
    whole = trained.evaluation.evaluate(tf.constant(examples, tf.string))
    monkeypatch.setattr(signature, "_CELLS_AT_ONCE", 4 * len(trained.catalogue.ids))
    for name, values in trained.evaluation.evaluate(tf.constant(examples, tf.string)).items():
        np.testing.assert_allclose(values, whole[name], atol=1e-5, err_msg=name)
