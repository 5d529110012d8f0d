"""The metrics of the next visit's parts: on which lines, and that no test is read."""

import types

import numpy as np
import pytest

from benchmarks import next_visit
from components.example_gen import splits


@pytest.mark.parametrize("method", ["random", "temporal"])
def test_train_is_fitted_and_validation_evaluated(bench, method):
    loaded = bench.loaded
    task = next_visit.task_of(loaded, method)
    part = splits.assign_splits(
        method,
        loaded.user_ids[loaded.users],
        loaded.movie_ids[loaded.movies],
        loaded.timestamps,
        42,
    )
    assert (part[task.fit] == 0).all()
    assert (part[task.targets] == 1).all()
    assert len(task.fit) + len(task.targets) == (part < 2).sum()


def test_rows_are_those_of_the_ids():
    assert next_visit.rows_of([b"1", b"10", b"2"], [2, 10, 7]) == [2, 1, -1]


def test_the_mean_of_several_scores_is_that_of_the_first():
    scores = [np.array([[float(value)]]) for value in (3, 5, 1, 7)]
    found = {count: mean.item() for count, mean in next_visit.means(iter(scores), [4, 1, 2])}
    assert found == {1: 3.0, 2: 4.0, 4: 4.0}


def test_metrics_are_those_of_a_list_without_what_was_learned_from(bench):
    """The best scores are those of what was learned from, then those of what is wanted."""
    loaded = bench.loaded
    task = next_visit.task_of(loaded, "random")
    user_ids, movie_ids = (
        np.sort(ids.astype(np.bytes_)) for ids in (loaded.user_ids, loaded.movie_ids)
    )
    users = np.searchsorted(user_ids, loaded.user_ids.astype(np.bytes_))[loaded.users]
    movies = np.searchsorted(movie_ids, loaded.movie_ids.astype(np.bytes_))[loaded.movies]
    fitted = types.SimpleNamespace(
        users=types.SimpleNamespace(ids=user_ids),
        catalogue=types.SimpleNamespace(ids=movie_ids),
        interactions=types.SimpleNamespace(user_row=users[task.fit], movie_row=movies[task.fit]),
    )
    scores = np.zeros((len(user_ids), len(movie_ids)))
    scores[users[task.fit], movies[task.fit]] = 2.0
    scores[users[task.targets], movies[task.targets]] = 1.0 + np.arange(len(task.targets)) / 1e6
    assert next_visit.metrics_of(task, fitted, scores) == [1.0, 1.0, 1.0]
    scores[users[task.targets], movies[task.targets]] = -1.0
    assert next_visit.metrics_of(task, fitted, scores)[0] < 1.0
