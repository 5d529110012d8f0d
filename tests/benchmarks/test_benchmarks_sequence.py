"""The benchmark of the sequence block: the groups of users, and the lines of the table."""

import dataclasses

import numpy as np

from benchmarks import sequence
from benchmarks.compare import protocols
from benchmarks.compare.data import Task


def test_on_movielens_1m_users_with_interpolated_times_are_apart(bench):
    split = protocols.pipeline_split(bench.loaded, "leave-one-out")
    task = Task(bench.loaded, split, split.train, split.test)
    assert list(sequence.groups_of(task)) == ["all users"]
    ids = bench.loaded.user_ids.copy()
    ids[5:] += 2_994
    loaded = dataclasses.replace(bench.loaded, name="ml-1m", user_ids=ids)
    groups = sequence.groups_of(dataclasses.replace(task, data=loaded))
    users = ids[loaded.users[split.test]]
    np.testing.assert_array_equal(groups["exact times"], users <= 2_999)
    np.testing.assert_array_equal(groups["others"], users >= 3_000)


def test_a_line_has_the_metrics_of_each_group():
    groups = [np.full(4, True), np.array([True, True, True, False])]
    line = sequence.line_of("0.5", np.array([1, 3, 11, 3]), groups)
    assert line == "| 0.5 | 0.7500 / 0.5000 | 0.6667 / 0.5000 |"


def test_the_model_without_the_block_is_among_those_that_are_measured():
    assert 0.0 in sequence.WEIGHTS
