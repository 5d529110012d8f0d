"""The benchmark of the sequence block: who is asked about what, and what is known then."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import sequence
from components.example_gen import splits
from trainer.data.training_data import Interactions


@pytest.mark.parametrize(("test", "fitted", "asked"), [(False, [0], 1), (True, [0, 1], 2)])
def test_each_users_last_rating_but_those_of_the_fit_is_predicted(bench, test, fitted, asked):
    loaded = bench.loaded
    task = sequence.task_of(loaded, test)
    part = splits.assign_splits(
        "leave-one-out",
        loaded.user_ids[loaded.users],
        loaded.movie_ids[loaded.movies],
        loaded.timestamps,
        42,
    )
    assert np.flatnonzero(np.isin(part, fitted)).tolist() == task.fit.tolist()
    assert np.flatnonzero(part == asked).tolist() == task.targets.tolist()
    assert len(set(loaded.users[task.targets])) == len(task.targets)


@given(st.lists(st.integers(0, 2_000), min_size=1, max_size=8), st.integers(1, 5))
def test_the_latest_events_are_known_with_those_of_the_queries_second(gaps, count):
    times = 10_000 + np.cumsum(gaps)
    held = Interactions(
        user_row=np.repeat([0, 1], [2, len(gaps)]),
        movie_row=np.arange(2 + len(gaps)),
        rating=np.ones(2 + len(gaps), np.float32),
        timestamp=np.concatenate([[1, 2], times]),
        context={},
        offsets=np.array([0, 2, 2 + len(gaps)]),
    )
    now = int(times[-1])
    latest = sequence.latest_of(held, np.array([1]), np.array([now]), count)
    number = min(count, len(gaps))
    assert latest.present.numpy()[0].tolist() == [True] * number + [False] * (count - number)
    assert latest.movies.numpy()[0, :number].tolist() == list(
        range(1 + len(gaps), 1 + len(gaps) - number, -1)
    )
    assert latest.seconds.numpy()[0, :number].tolist() == (now - times[::-1][:number]).tolist()
    assert latest.history_length.numpy().tolist() == [len(gaps)]


def test_a_line_has_the_metrics_of_all_users_and_of_each_group():
    queries = sequence.Queries(*(np.zeros(4, int),) * 3, exact=np.array([True, True, True, False]))
    line = sequence.line_of("list", np.array([1, 3, 11, 3]), queries)
    assert line == "| list | 0.7500 / 0.5000 | 0.6667 / 0.5000 | 1.0000 / 0.5000 |"
