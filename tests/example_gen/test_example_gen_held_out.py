"""The fingerprint of the test rows, and the counts of what is new in them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from components.example_gen.held_out import HeldOut, merge
from sources.ratings import RatingsChunk

ROWS = st.dictionaries(
    st.tuples(st.integers(1, 5), st.integers(1, 9)),
    st.tuples(st.sampled_from([1.0, 2.5, 5.0]), st.integers(0, 9), st.integers(0, 2)),
    max_size=40,
)
"""By user and movie: rating, time and split."""


def held_out(rows):
    users, movies = (np.array([pair[i] for pair in rows], np.int64) for i in range(2))
    ratings, times, split = (
        np.array([values[i] for values in rows.values()], kind)
        for i, kind in enumerate((np.float32, np.int64, np.int8))
    )
    return HeldOut.of(RatingsChunk(users, movies, ratings, times), split)


def rows_in_test(rows):
    return {(pair, rating, time) for pair, (rating, time, split) in rows.items() if split == 2}


@given(ROWS, st.randoms(use_true_random=False))
def test_neither_the_order_of_rows_nor_groups_of_users_matter(rows, random):
    shuffled = list(rows.items())
    random.shuffle(shuffled)
    groups = [{p: v for p, v in shuffled if p[0] % 3 == rest} for rest in range(3)]
    assert merge(map(held_out, groups)).to_json() == held_out(rows).to_json()
    assert merge([]).to_json() == held_out({}).to_json()


@given(ROWS, ROWS)
def test_different_sets_of_test_rows_have_different_fingerprints(one, other):
    same = rows_in_test(one) == rows_in_test(other)
    assert (held_out(one).fingerprint == held_out(other).fingerprint) == same


@given(ROWS)
def test_new_are_users_and_movies_that_only_the_test_has(rows):
    test = [pair for pair, values in rows.items() if values[2] == 2]
    earlier = [pair for pair, values in rows.items() if values[2] != 2]
    found = held_out(rows).to_json()
    for i, name in enumerate(("users", "movies")):
        new = [pair[i] for pair in test if pair[i] not in {other[i] for other in earlier}]
        assert found[f"new_{name}"] == len(set(new))
        assert found[f"rows_of_new_{name}"] == len(new)
