"""Pooled history and recency against loops over the formula, row by row."""

import math

import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis_profiles import examples
from trainer_fixtures import slow_recency

from trainer.config import ModelConfig
from trainer.model import draw_truncations
from trainer.retrieval.history import (
    NEVER,
    events_before,
    mean_history,
    pooled_history,
    recency_of_batch,
    recency_of_events,
    rows_before,
    seconds_since,
    truncated_history,
)

DECAYS = (30.0, 4_000.0)
INDICES, DIM = 12, 3
TABLE = np.random.default_rng(1).normal(size=[INDICES, DIM]).astype(np.float32)
MIXTURE = np.random.default_rng(2).normal(size=[len(DECAYS), DIM]).astype(np.float32)

# A user is a list of (seconds since the rating before, movie, kept); 0 seconds is a tie.
RATINGS = st.tuples(
    st.sampled_from([0, 0, 1, 7, 60, 1_750, 1_800, 1_801, 10**7]),
    st.integers(0, INDICES - 1),
    st.booleans(),
)
USERS = st.lists(st.lists(RATINGS, min_size=1, max_size=13), min_size=1, max_size=5)
EVENTS = st.integers(1, 20)
SLOW = examples(40)

EPSILON = float(np.finfo(np.float32).eps)


def rounding(rows):
    """The largest error of a sum over so many rows of the tables, in single precision.

    n·ε·Σ|x| (Higham 2002, 4.2); weights and their root are below 1 and 4 times as inexact.
    """
    largest = np.abs(TABLE).max() * max(1.0, np.abs(MIXTURE).max())
    return (rows + 4) * EPSILON * rows * float(largest)


def columns(users, start=880_000_000):
    """(movies, segments, timestamps, kept) of a batch of whole users, by time."""
    rows = []
    for number, user in enumerate(users):
        time = start
        for gap, movie, kept in user:
            time += gap
            rows.append((movie, number, time, float(kept)))
    movies, segments, times, kept = zip(*rows, strict=True)
    return np.array(movies), np.array(segments), np.array(times), np.float32(kept)


def ties_of(segments, times):
    """How many rows before each are of the same user and second."""
    return [
        sum(segments[other] == segments[row] and times[other] == times[row] for other in range(row))
        for row in range(len(times))
    ]


def batch_recency(movies, segments, times, events, hidden=None, max_truncation=0, ties=None):
    """(session component, seconds since the latest event) of a batch."""
    ties = ties_of(segments, times) if ties is None else ties
    answer = recency_of_batch(
        tf.constant(movies, tf.int64),
        tf.constant(segments, tf.int64),
        tf.constant(times, tf.int64),
        tf.constant(ties, tf.int64),
        tf.zeros([len(movies)], tf.int32) if hidden is None else tf.constant(hidden, tf.int32),
        max_truncation,
        tf.constant(TABLE),
        tf.constant(MIXTURE),
        DECAYS,
        events,
    )
    return answer[0].numpy(), answer[1].numpy()


def session_of(window):
    """The (seconds before the query, movie) of its session: back to a gap of over 30 minutes."""
    kept, after = [], 0
    for seconds, movie in sorted(window, key=lambda event: event[0]):
        if seconds - after > 30 * 60:
            break
        kept.append((seconds, movie))
        after = seconds
    return kept


def draw_hidden(data, segments, max_truncation):
    """How many ratings are hidden from each row: at most those that its user has before it."""
    before = [list(segments[:row]).count(segments[row]) for row in range(len(segments))]
    return [data.draw(st.integers(0, min(limit, max_truncation))) for limit in before]


# --- pooled history


@SLOW
@given(users=USERS)
def test_history_is_every_kept_rating_of_the_user_but_the_rows_own(users):
    movies, segments, _, kept = columns(users)
    found = pooled_history(
        tf.constant(movies, tf.int64),
        tf.constant(segments, tf.int64),
        tf.constant(kept),
        tf.constant(TABLE),
    )
    for row in range(len(movies)):
        others = [
            TABLE[movies[other]]
            for other in range(len(movies))
            if other != row and segments[other] == segments[row] and kept[other]
        ]
        expected = sum(others, np.zeros(DIM)) / math.sqrt(len(others) + 1)
        np.testing.assert_allclose(found[row], expected, atol=rounding(len(movies)))


@SLOW
@given(users=USERS, other=st.integers(0, INDICES - 1))
def test_a_rows_own_movie_does_not_change_its_history(users, other):
    movies, segments, _, kept = columns(users)
    for row in (0, len(movies) - 1):
        changed = movies.copy()
        changed[row] = other
        first, second = (
            pooled_history(
                tf.constant(ids, tf.int64),
                tf.constant(segments, tf.int64),
                tf.constant(kept),
                tf.constant(TABLE),
            )[row]
            for ids in (movies, changed)
        )
        np.testing.assert_allclose(first, second, atol=rounding(len(movies)))


def test_training_and_serving_pool_the_same_history_alike():
    """A row's history without its movie equals that of a user who never rated it."""
    movies = np.array([3, 5, 7, 9])
    table = tf.constant(TABLE)
    trained = pooled_history(
        tf.constant(movies, tf.int64), tf.zeros(4, tf.int64), tf.ones(4), table
    )
    served = mean_history(tf.constant(TABLE[[3, 5, 9]].sum(0, keepdims=True)), tf.constant([3.0]))
    np.testing.assert_allclose(trained[2], served[0], atol=1e-6)


def test_an_empty_history_is_zero():
    assert not mean_history(tf.zeros([1, DIM]), tf.zeros([1])).numpy().any()


# --- recency


@SLOW
@given(users=USERS, events=EVENTS)
def test_recency_equals_its_formula_over_the_sessions_strictly_earlier_rows(users, events):
    movies, segments, times, _ = columns(users)
    found, _ = batch_recency(movies, segments, times, events)
    for row in range(len(movies)):
        window = [
            (int(times[row] - times[back]), movies[back])
            for back in range(max(0, row - events), row)
            if segments[back] == segments[row] and times[back] < times[row]
        ]
        expected = slow_recency(session_of(window), TABLE, MIXTURE, DECAYS)
        np.testing.assert_allclose(found[row], expected, atol=rounding(len(movies)))


@SLOW
@given(users=USERS, events=EVENTS)
def test_events_of_one_second_are_earlier_where_the_file_orders_them(users, events):
    movies, segments, times, _ = columns(users)
    ties = np.zeros(len(movies), int)
    found, elapsed = batch_recency(movies, segments, times, events, ties=ties)
    for row in range(len(movies)):
        window = [
            (int(times[row] - times[back]), movies[back])
            for back in range(max(0, row - events), row)
            if segments[back] == segments[row]
        ]
        # The latest first: of one second, those that come later in the file.
        session = session_of(window[::-1])
        expected = slow_recency(session, TABLE, MIXTURE, DECAYS)
        np.testing.assert_allclose(found[row], expected, atol=rounding(len(movies)))
        since_last = min((seconds for seconds, _ in session), default=NEVER)
        np.testing.assert_allclose(elapsed[row], since_last, rtol=1e-6)


@SLOW
@given(users=USERS, events=EVENTS, data=st.data())
def test_recency_sees_neither_its_own_movie_nor_ties_nor_the_future(users, events, data):
    movies, segments, times, _ = columns(users)
    row = data.draw(st.integers(0, len(movies) - 1))
    changed = movies.copy()
    changed[(segments == segments[row]) & (times >= times[row])] = data.draw(
        st.integers(0, INDICES - 1)
    )
    np.testing.assert_array_equal(
        batch_recency(movies, segments, times, events)[0][row],
        batch_recency(changed, segments, times, events)[0][row],
    )


@SLOW
@given(users=USERS, events=EVENTS, data=st.data())
def test_recency_of_a_user_does_not_depend_on_the_others_in_the_batch(users, events, data):
    number = data.draw(st.integers(0, len(users) - 1))
    movies, segments, times, _ = columns(users)
    alone = columns([users[number]])
    np.testing.assert_allclose(
        batch_recency(movies, segments, times, events)[0][segments == number],
        batch_recency(*alone[:3], events)[0],  # type: ignore[call-arg]
        atol=rounding(events),
    )


def served_recency(movies, times, now, events):
    """The session component as the exported model calls it: the session's latest events."""
    earlier = [(now - time, movie) for movie, time in zip(movies, times, strict=True) if time < now]
    latest = session_of(earlier[::-1][:events])
    padding = events - len(latest)
    ids = [movie for _, movie in latest] + [0] * padding
    seconds = [float(seconds) for seconds, _ in latest] + [0.0] * padding
    present = [True] * len(latest) + [False] * padding
    answer = recency_of_events(
        tf.constant([ids], tf.int64),
        tf.constant([seconds]),
        tf.constant([present]),
        tf.constant(TABLE),
        tf.constant(MIXTURE),
        DECAYS,
    )
    return answer.numpy()[0]


@SLOW
@given(
    waits=st.lists(st.integers(1, 2_500), min_size=1, max_size=30), events=EVENTS, data=st.data()
)
def test_serving_agrees_with_training_for_a_user_without_ties(waits, events, data):
    """Also for histories longer than the window: both look at the latest `events` ratings."""
    movies = np.array(data.draw(st.lists(
        st.integers(0, INDICES - 1), min_size=len(waits), max_size=len(waits)
    )))  # fmt: skip
    times = np.cumsum(waits)
    trained, _ = batch_recency(movies, np.zeros_like(movies), times, events)
    for row in range(len(movies)):
        served = served_recency(movies, times, times[row], events)
        np.testing.assert_allclose(trained[row], served, atol=rounding(len(movies)))


@SLOW
@given(users=st.lists(st.lists(RATINGS, min_size=1, max_size=13), min_size=1, max_size=1))
def test_serving_agrees_with_training_for_ties_within_the_window(users):
    movies, segments, times, _ = columns(users)
    events = len(movies)
    trained, _ = batch_recency(movies, segments, times, events)
    for row in range(len(movies)):
        served = served_recency(movies, times, times[row], events)
        np.testing.assert_allclose(trained[row], served, atol=rounding(len(movies)))


def test_ties_take_places_in_the_training_window_alone():
    """The one difference between the two: of two earlier ratings, training saw one less."""
    movies, times = np.array([1, 2, 3, 4]), np.array([10, 20, 30, 30])
    trained = batch_recency(movies, np.zeros_like(movies), times, events=2)[0][3]
    np.testing.assert_allclose(trained, slow_recency([(10, 2)], TABLE, MIXTURE, DECAYS), atol=1e-5)
    served = served_recency(movies, times, 30, events=2)
    both = slow_recency([(10, 2), (20, 1)], TABLE, MIXTURE, DECAYS)
    np.testing.assert_allclose(served, both, atol=1e-5)


def test_a_user_without_earlier_events_has_zero_recency():
    assert not served_recency([], [], 100, events=4).any()
    block, since_last = batch_recency(np.array([1]), np.array([0]), np.array([5]), 4)
    assert not block.any()
    assert since_last == [np.float32(NEVER)]


def test_an_event_long_ago_weighs_nothing_and_overflows_nothing():
    recency, _ = batch_recency(np.array([1, 2]), np.array([0, 0]), np.array([0, 2**40]), 4)
    assert np.isfinite(recency).all()
    np.testing.assert_allclose(recency[1], 0.0)


# --- history truncation


@SLOW
@given(users=USERS, events=EVENTS, max_truncation=st.integers(0, 9), data=st.data())
def test_recency_after_truncation_equals_its_formula_over_the_rows_that_are_left(
    users, events, max_truncation, data
):
    movies, segments, times, _ = columns(users)
    hidden = draw_hidden(data, segments, max_truncation)
    blocks, elapsed = batch_recency(movies, segments, times, events, hidden, max_truncation)
    for row, cut in enumerate(hidden):
        window = [
            (int(times[row] - times[back]), movies[back])
            for back in range(max(0, row - cut - events), row - cut)
            if segments[back] == segments[row] and times[back] < times[row]
        ]
        expected = slow_recency(session_of(window), TABLE, MIXTURE, DECAYS)
        np.testing.assert_allclose(blocks[row], expected, atol=rounding(events))
        since_last = min((seconds for seconds, _ in session_of(window)), default=NEVER)
        np.testing.assert_allclose(elapsed[row], since_last, rtol=1e-6)


@SLOW
@given(users=USERS, data=st.data())
def test_truncated_history_is_what_was_kept_before_the_hidden_ratings(users, data):
    movies, segments, _, kept = columns(users)
    hidden = draw_hidden(data, segments, len(movies))
    found = truncated_history(
        tf.constant(movies, tf.int64),
        tf.constant(segments, tf.int64),
        tf.constant(kept),
        tf.constant(hidden, tf.int32),
        tf.constant(TABLE),
    )
    for row, cut in enumerate(hidden):
        known = [
            TABLE[movies[other]]
            for other in range(row - cut)
            if segments[other] == segments[row] and kept[other]
        ]
        expected = sum(known, np.zeros(DIM)) / math.sqrt(len(known) + 1)
        np.testing.assert_allclose(found[row], expected, atol=rounding(len(movies)))


@SLOW
@given(users=USERS)
def test_rows_before_counts_the_rows_of_the_same_user(users):
    _, segments, _, _ = columns(users)
    expected = [place for user in users for place in range(len(user))]
    assert rows_before(tf.constant(segments, tf.int64)).numpy().tolist() == expected


@SLOW
@given(users=USERS, data=st.data())
def test_events_before_counts_strictly_earlier_ones_that_are_not_hidden(users, data):
    _, segments, times, _ = columns(users)
    hidden = draw_hidden(data, segments, len(segments))
    place = [place for user in users for place in range(len(user))]
    ties, expected = ties_of(segments, times), []
    for row, cut in enumerate(hidden):
        before = [other for other in range(row) if segments[other] == segments[row]]
        expected.append(sum(other < row - cut and times[other] < times[row] for other in before))
    found = events_before(
        tf.constant(place, tf.int64), tf.constant(ties, tf.int64), tf.constant(hidden, tf.int32)
    )
    assert found.numpy().tolist() == expected


def test_truncations_are_drawn_for_the_share_of_rows_and_within_both_limits():
    config = ModelConfig(truncated_share=0.3, truncation_share=0.5, max_truncation=20)
    segments = np.repeat(np.arange(40), 100)
    tf.random.set_seed(3)
    truncated, hidden = (drawn.numpy() for drawn in draw_truncations(tf.constant(segments), config))
    place = np.tile(np.arange(100), 40)
    assert abs(truncated.mean() - 0.3) < 0.03
    assert not hidden[~truncated].any()
    assert (hidden <= np.minimum(0.5 * place + 0.5, 20)).all()
    # More is hidden from late rows than from early ones, up to the bound.
    assert hidden[truncated & (place == 2)].max(initial=0) <= 1
    assert hidden[truncated & (place > 60)].max() == 20


def test_seconds_since_looks_at_the_events_that_count_alone():
    seconds = tf.constant([[5.0, 70.0, 900.0], [5.0, 70.0, 900.0]])
    counts = tf.constant([[False, True, True], [False, False, False]])
    found = seconds_since(seconds, counts).numpy()
    np.testing.assert_allclose(found, [70.0, NEVER])
