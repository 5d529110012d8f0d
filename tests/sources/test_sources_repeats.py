"""Several events of one user and item: the latest, their number, or all of them."""

import collections

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sources.ratings import RatingsChunk
from sources.repeats import (
    MOST_COUNTED,
    count_events,
    drop_exact_duplicates,
    in_first_split,
    keep_latest_rating,
)

EVENTS = st.lists(
    st.tuples(
        st.integers(0, 2), st.integers(0, 2), st.sampled_from([0.5, 1.0, 4.0]), st.integers(0, 3)
    ),
    max_size=30,
)


def chunk_of(rows):
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    types = (np.int64, np.int64, np.float32, np.int64)
    return RatingsChunk(*(np.array(c, t) for c, t in zip(columns, types, strict=True)))


def rows_of(chunk):
    return list(zip(*(column.tolist() for column in chunk[:4]), strict=True))


@given(EVENTS)
def test_events_are_counted_with_their_weights_and_have_the_latest_time(rows):
    by_pair = collections.defaultdict(list)
    for user, item, weight, time in rows:
        by_pair[user, item].append((weight, time))
    expected = [
        (*pair, min(max(sum(w for w, _ in found), 1.0), MOST_COUNTED), max(t for _, t in found))
        for pair, found in sorted(by_pair.items())
    ]
    chunk, counted = count_events(chunk_of(rows))
    assert rows_of(chunk) == expected
    assert counted == len(rows) - len(expected)


@given(EVENTS)
def test_exact_repeats_alone_are_dropped_where_all_events_are_kept(rows):
    chunk, dropped = drop_exact_duplicates(chunk_of(rows))
    assert sorted(rows_of(chunk)) == sorted(set(rows))
    assert dropped == len(rows) - len(set(rows))
    assert [row[:2] for row in rows_of(chunk)] == sorted(row[:2] for row in set(rows))


@given(EVENTS, st.randoms(use_true_random=False))
def test_a_pair_stays_in_the_first_split_that_it_is_in(rows, rng):
    chunk, _ = drop_exact_duplicates(chunk_of(rows))
    split = np.array([rng.randrange(3) for _ in rows_of(chunk)], np.int8)
    first = {}
    for row, part in zip(rows_of(chunk), split, strict=True):
        first[row[:2]] = min(first.get(row[:2], 3), part)
    expected = [part == first[row[:2]] for row, part in zip(rows_of(chunk), split, strict=True)]
    assert in_first_split(chunk, split).tolist() == expected


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=20))
def test_events_of_ids_alone_are_one_for_each_pair(pairs):
    rows = [(user, item, 0.0, 0) for user, item in pairs]
    chunk, duplicates, superseded = keep_latest_rating(chunk_of(rows))
    assert [row[:2] for row in rows_of(chunk)] == sorted(set(pairs))
    assert (duplicates, superseded) == (len(pairs) - len(set(pairs)), 0)
