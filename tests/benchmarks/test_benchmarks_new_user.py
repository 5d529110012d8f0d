"""The figures of somebody new: who is held out, what is named, and what is to be found."""

import math
import types

import numpy as np
import pytest

from benchmarks import new_user
from trainer.data.training_data import Interactions

USERS, MOVIES = 8, 30


@pytest.fixture
def held_out():
    """Ratings of held-out users in event order, each with another number of them."""
    rng = np.random.default_rng(2)
    movies = [rng.permutation(MOVIES)[: 2 + 3 * user] for user in range(USERS)]
    lengths = [len(rows) for rows in movies]
    user_row = np.repeat(np.arange(USERS), lengths)
    return types.SimpleNamespace(
        interactions=Interactions(
            user_row=user_row,
            movie_row=np.concatenate(movies),
            rating=rng.integers(1, 6, len(user_row)).astype(np.float32),
            timestamp=np.arange(len(user_row)),
            context={},
            offsets=np.searchsorted(user_row, np.arange(USERS + 1)),
        )
    )


def test_every_user_is_held_out_once_and_in_no_fit_then(bench):
    users = bench.loaded.users
    asked = []
    for task in new_user.tasks(bench.loaded, 5):
        assert not set(users[task.fit]) & set(users[task.ask])
        assert len(task.fit) + len(task.ask) == len(users)
        asked += set(users[task.ask])
    assert sorted(asked) == list(range(len(bench.loaded.user_ids)))


@pytest.mark.parametrize("count", [0, 1, 3, 10])
def test_the_first_liked_movies_are_named_and_all_others_wanted(held_out, count):
    query = new_user.query_of(held_out, count)
    held = held_out.interactions
    expected = {}
    for user in range(USERS):
        own = [
            (int(movie), float(stars))
            for owner, movie, stars in zip(held.user_row, held.movie_row, held.rating, strict=True)
            if owner == user
        ]
        mean = sum(stars for _, stars in own) / len(own)
        first = [movie for movie, stars in own if stars >= mean - 1e-6][:count]
        others = {movie for movie, _ in own} - set(first)
        if len(first) == count and others:
            expected[user] = (first, others)
    assert query.users.tolist() == list(expected)
    for place, (first, others) in enumerate(expected.values()):
        assert query.named[query.named[:, 0] == place, 1].tolist() == first
        assert set(query.wanted[query.wanted[:, 0] == place, 1].tolist()) == others


def test_ndcg_is_of_the_list_without_the_named_movies():
    scores = np.array([[9.0, 8.0, 7.0, 6.0, 5.0], [1.0, 2.0, 3.0, 4.0, 5.0]])
    query = new_user.Query(
        np.array([4, 6]), np.array([[0, 0], [1, 4]]), np.array([[0, 1], [0, 3], [1, 0]])
    )
    found = new_user.user_ndcg(scores, query)
    # Without what was named, the first user's are in places 1 and 3, the second's in place 4.
    best = 1 + 1 / math.log2(3)
    assert found.tolist() == pytest.approx([(1 + 1 / math.log2(4)) / best, 1 / math.log2(5)])


def test_the_table_has_a_line_for_each_method_and_the_difference():
    rng = np.random.default_rng(0)
    found = {
        count: {
            name: rng.random(50)
            for name in (new_user.OURS, new_user.CLOSED_FORM, new_user.POPULARITY)
        }
        for count in (1, 3)
    }
    lines = list(new_user.lines_of(found))
    assert lines[0] == "| movies named | 1 | 3 |"
    assert f"| {new_user.EASE} | – | – |" in lines
    ours, other = found[1][new_user.OURS], found[1][new_user.CLOSED_FORM]
    assert f"{(ours - other).mean():+.4f} (" in lines[-2]
    assert lines[-1] == "| users | 50 | 50 |"
