"""What the evaluation's signature knows at each row's own time."""

import contextlib

import numpy as np
import pytest
import tensorflow as tf
import trainer_fixtures as fixtures

from trainer.evaluation import signature

pytestmark = pytest.mark.xdist_group("trainer")


@contextlib.contextmanager
def changed(table, first, last, shift):
    """The history with other movies and stars from one place to another."""
    movies, residuals = table.movies.numpy(), table.residuals.numpy()
    others, stars = movies.copy(), residuals.copy()
    others[first:last] = np.roll(movies[first:last], 1)[::-1]
    stars[first:last] = -stars[first:last]
    # Other stars are another mean of the user's, of which all residuals are made.
    stars += shift
    table.movies.assign(others)
    table.residuals.assign(stars)
    try:
        yield
    finally:
        table.movies.assign(movies)
        table.residuals.assign(residuals)


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
    with changed(trained.serving.history, later, end, shift=0.25):
        found = in_session(trained, examples)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-4, err_msg=name)


def test_earlier_events_change_answers_in_session(trained, middle_of_a_history):
    """Shows that what the test before changes is what a leak would make visible."""
    examples, start, later, _ = middle_of_a_history
    expected = in_session(trained, examples)
    with changed(trained.serving.history, start, later, shift=0.0):
        found = in_session(trained, examples)
    assert (found["in_session_items"] != expected["in_session_items"]).any()


@pytest.mark.parametrize("rows", [1, 10])
def test_rows_of_a_large_catalogue_are_answered_some_at_a_time(
    trained, middle_of_a_history, monkeypatch, rows
):
    examples = np.array(middle_of_a_history[0][:rows], object)
    whole = trained.evaluation.evaluate(tf.constant(examples, tf.string))
    monkeypatch.setattr(signature, "_CELLS_AT_ONCE", 4 * len(trained.catalogue.ids))
    for name, values in trained.evaluation.evaluate(tf.constant(examples, tf.string)).items():
        np.testing.assert_allclose(values, whole[name], atol=1e-5, err_msg=name)
