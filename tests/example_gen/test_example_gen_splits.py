"""Splits: shares, stability and the protocol by time, on arrays alone."""

import hashlib
import itertools
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from example_artifacts import needs_real_data
from hypothesis import given
from hypothesis import strategies as st

from components.example_gen import splits
from components.names import SPLIT_METHODS, SPLITS
from schema import hashing
from sources.errors import InputError

INT64 = st.integers(-(2**63), 2**63 - 1)
MASK = 2**64 - 1


def mix(value):
    """SplitMix64's finaliser as published, in Python's own whole numbers."""
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & MASK
    return value ^ (value >> 31)


def reference_hash(user, movie, seed):
    state = 0
    for value in (seed, user, movie):
        state = mix((state + value + 0x9E3779B97F4A7C15) & MASK)
    return state


def ids(*values):
    return np.array(values, np.int64)


def test_the_mixing_is_splitmix64():
    # First number of the published generator from seed 1234567.
    first = hashing._mix(np.array([1234567], np.uint64) + hashing._GOLDEN)
    assert first.tolist() == [6457827717110365317]


@given(INT64, INT64, INT64)
def test_the_hash_is_the_reference_for_any_ids_and_seed(user, movie, seed):
    found = hashing.pair_hash(ids(user), ids(movie), seed)
    assert found.tolist() == [reference_hash(user, movie, seed)]


@pytest.mark.parametrize(
    ("user", "movie", "seed", "expected_hash", "expected_split"),
    [
        (196, 242, 42, 0x5F5DBDEBA8407968, "train"),
        (1, 1, 42, 0x5D396F908F79BB0B, "train"),
        (943, 1682, 42, 0x85583C539456284B, "train"),
        (1, 1, 0, 0xAC1A201F5AE37988, "train"),
        (196, 242, 7, 0x0F2D4A794108601C, "train"),
        (4611686018427387904, -1, 42, 0x7881A4BF6473022C, "train"),
        (12, 300, 42, 0x906F36B7E8EE4E5F, "train"),
    ],
)
def test_a_pair_never_changes_its_split(user, movie, seed, expected_hash, expected_split):
    """If this fails, every rating moves: models can no longer be compared with older ones."""
    assert hashing.pair_hash(ids(user), ids(movie), seed).tolist() == [expected_hash]
    (split,) = splits.random_splits(ids(user), ids(movie), seed)
    assert SPLITS[split] == expected_split


@pytest.mark.parametrize("seed", [0, 1, 42])
def test_shares_are_70_10_20_within_sampling_error(seed):
    users, movies = (grid.ravel() for grid in np.mgrid[1:1001, 1:401])
    counts = np.bincount(splits.random_splits(users, movies, seed), minlength=3)
    n = len(users)
    for count, share in zip(counts, (0.7, 0.1, 0.2), strict=True):
        assert abs(count - n * share) < 4 * np.sqrt(n * share * (1 - share))


@pytest.mark.parametrize("axis", [0, 1])
def test_no_user_and_no_movie_is_treated_differently(axis):
    users, movies = (grid.ravel() for grid in np.mgrid[1:501, 1:501])
    in_train = (splits.random_splits(users, movies, 7) == 0).reshape(500, 500)
    shares = in_train.mean(axis=axis)
    # A binomial share of 500 draws: its spread is that of chance, no more and no less.
    assert np.std(shares) == pytest.approx(np.sqrt(0.7 * 0.3 / 500), rel=0.15)


def test_another_seed_gives_another_split_of_the_same_shares():
    users, movies = (grid.ravel() for grid in np.mgrid[1:201, 1:101])
    first, second = (splits.random_splits(users, movies, seed) for seed in (1, 2))
    # Independent splits agree on 0.7² + 0.1² + 0.2² of the pairs.
    assert np.mean(first == second) == pytest.approx(0.54, abs=0.02)


def test_user_and_movie_are_not_interchangeable():
    users, movies = (grid.ravel() for grid in np.mgrid[1:101, 1:101])
    there, back = hashing.pair_hash(users, movies, 3), hashing.pair_hash(movies, users, 3)
    assert ((there == back) == (users == movies)).all()


PAIRS = st.lists(st.tuples(INT64, INT64), min_size=1, max_size=40, unique=True)


@given(PAIRS, st.integers(0, 100), st.randoms(use_true_random=False))
def test_a_random_split_depends_on_the_pair_and_the_seed_alone(pairs, seed, random):
    def by_pair(chosen):
        users, movies = (np.array(column, np.int64) for column in zip(*chosen, strict=True))
        return dict(zip(chosen, splits.random_splits(users, movies, seed).tolist(), strict=True))

    together = by_pair(pairs)
    random.shuffle(pairs)
    assert by_pair(pairs) == together
    assert by_pair(pairs[:1]) == {pairs[0]: together[pairs[0]]}


# Few users and few distinct times: many ratings of a user share a second.
RATED = st.dictionaries(
    st.tuples(st.integers(1, 4), st.integers(1, 60)), st.integers(0, 12), min_size=1, max_size=80
)


def temporal(rated, order=None, seed=42):
    table = pd.DataFrame(
        [(user, movie, time) for (user, movie), time in rated.items()],
        columns=["user", "movie", "time"],
    )
    if order is not None:
        table = table.iloc[order]
    found = splits.temporal_splits(*(table[c].to_numpy(np.int64) for c in table), seed)  # type: ignore[call-arg]
    return table.assign(split=found)


@given(RATED)
def test_the_last_20_percent_of_each_user_by_time_are_test_and_the_10_before_validation(rated):
    for _, rows in temporal(rated).groupby("user"):
        n = len(rows)
        sizes = [int((rows["split"] == split).sum()) for split in range(3)]
        test, held_out = (2 * n + 5) // 10, (3 * n + 5) // 10
        assert sizes == [n - held_out, held_out - test, test]
        times = [rows.loc[rows["split"] == split, "time"] for split in range(3)]
        filled = [split for split in times if len(split)]
        for earlier, later in itertools.pairwise(filled):
            assert earlier.max() <= later.min()


@given(st.permutations([(user, movie) for user in (1, 2, 3) for movie in range(12)]), st.data())
def test_without_ties_the_temporal_split_is_that_of_sorting(pairs, data):
    pairs = pairs[: data.draw(st.integers(1, len(pairs)))]
    table = temporal({pair: 3 * i for i, pair in enumerate(pairs)})
    rank = table.groupby("user")["time"].rank(method="first", ascending=False)
    size = table.groupby("user")["time"].transform("size")
    expected = np.where(
        rank <= (2 * size + 5) // 10, 2, np.where(rank <= (3 * size + 5) // 10, 1, 0)
    )
    assert table["split"].tolist() == expected.tolist()


@given(RATED, st.randoms(use_true_random=False))
def test_a_temporal_split_with_ties_does_not_depend_on_the_order_of_rows(rated, random):
    order = list(range(len(rated)))
    random.shuffle(order)
    there, shuffled = temporal(rated), temporal(rated, order)
    assert shuffled.sort_index().equals(there)


@given(RATED, st.integers(5, 9))
def test_a_temporal_split_of_one_user_does_not_depend_on_other_users(rated, other):
    alone = temporal(rated)
    others = {(other, movie): 12 - time for (_, movie), time in rated.items()}
    together = temporal({**others, **rated})
    assert together[together["user"] != other]["split"].tolist() == alone["split"].tolist()


GOLDEN = {
    "random": ([69896, 10054, 20050], "e37debdc646ef44d6a6bf94a34d8de36"),
    "temporal": ([69963, 10037, 20000], "d2e5fcb349e902b4fe4bb26f5723b4fb"),
}
"""Rows per split of MovieLens-100K, and a hash of the splits in the order of u.data."""


@needs_real_data
@pytest.mark.parametrize("method", GOLDEN)
def test_the_splits_of_movielens_100k_stay_row_for_row(method):
    """If this fails, figures of today can no longer be compared with those measured before."""
    table = np.loadtxt(Path(os.environ["MOVIELENS_DIR"]) / "u.data", dtype=np.int64)
    user, movie, time = (np.ascontiguousarray(table[:, column]) for column in (0, 1, 3))
    found = splits.assign_splits(method, user, movie, time, 42)
    digest = hashlib.blake2b(found.astype(np.int8).tobytes(), digest_size=16).hexdigest()
    assert (np.bincount(found).tolist(), digest) == GOLDEN[method]


def table_of(rated, position=None):
    table = pd.DataFrame(
        [(user, movie, time) for (user, movie), time in rated.items()],
        columns=["user", "movie", "time"],
    )
    return table if position is None else table.assign(position=position)


def columns_of(table):
    return [table[column].to_numpy(np.int64) for column in ("user", "movie", "time")]


def by_method(table, method, seed=42):
    position = table["position"].to_numpy(np.int64) if "position" in table else None
    times = splits.split_times(table["time"].to_numpy(np.int64))
    return splits.assign_splits(method, *columns_of(table), seed, position=position, times=times)  # type: ignore[misc]


@given(RATED, st.sampled_from(SPLIT_METHODS), st.randoms(use_true_random=False))
def test_no_method_depends_on_the_order_of_rows(rated, method, random):
    order = list(range(len(rated)))
    random.shuffle(order)
    for table in (table_of(rated), table_of(rated, range(len(rated)))):
        there = by_method(table, method)
        assert by_method(table.iloc[order], method).tolist() == there[order].tolist()


@given(RATED)
def test_nobodys_training_ratings_are_later_than_any_test_rating_on_a_timeline(rated):
    table = table_of(rated)
    table["split"] = by_method(table, "timeline")
    times = [table.loc[table["split"] == split, "time"] for split in range(3)]
    for earlier, later in itertools.combinations([one for one in times if len(one)], 2):
        assert earlier.max() < later.min()
    # 80 % of all are before test, and 7/8 of those before validation, but for ratings that share
    # the second with the first one after.
    for rows, first, share in ((table, 2, 4 / 5), (table[table["split"] < 2], 1, 7 / 8)):
        after = rows.loc[rows["split"] >= first, "time"]
        wanted = int(len(rows) * share + 0.5)
        assert (rows["split"] < first).sum() <= max(wanted, 1)
        if len(after) and len(rows) > 4:
            assert (rows["time"] <= after.min()).sum() >= min(wanted, len(rows) - 1)


@given(RATED, RATED)
def test_more_ratings_move_none_from_test_once_the_time_is_decided(rated, more):
    first = table_of(rated)
    time = splits.split_times(first["time"].to_numpy(np.int64)).test
    later = {(user + 10, movie): when for (user, movie), when in more.items()}
    table = table_of({**rated, **later})
    found = splits.timeline_splits(
        table["time"].to_numpy(np.int64),
        splits.split_times(table["time"].to_numpy(np.int64), time),
    )
    assert ((found == 2) == (table["time"] >= time)).all()


def test_a_timeline_of_distinct_times_has_the_shares_of_every_split():
    times = np.random.default_rng(1).permutation(1000) * 3
    decided = splits.split_times(times)
    assert decided == (2100, 2400)
    assert np.bincount(splits.timeline_splits(times, decided)).tolist() == [700, 100, 200]


@given(RATED)
def test_leave_one_out_tests_on_the_last_event_of_each_user(rated):
    positions = np.random.default_rng(len(rated)).permutation(len(rated))
    for table in (table_of(rated), table_of(rated, positions)):
        table["split"] = by_method(table, "leave-one-out")
        ties = hashing.pair_hash(*columns_of(table)[:2], 42)  # type: ignore[call-arg]
        table["tie"] = table.get("position", ties)
        for _, rows in table.groupby("user"):
            in_order = rows.sort_values(["time", "tie"])["split"].tolist()
            few = len(rows) < 3
            assert in_order == ([0] * len(rows) if few else [0] * (len(rows) - 2) + [1, 2])


@given(RATED)
def test_where_the_order_of_the_file_means_something_it_divides_a_second(rated):
    table = table_of(dict.fromkeys(rated, 5), range(len(rated)))
    table["split"] = by_method(table, "temporal")
    for _, rows in table.groupby("user"):
        assert rows.sort_values("position")["split"].is_monotonic_increasing


def test_a_timeline_needs_its_times():
    with pytest.raises(ValueError, match="expected the times of a timeline"):
        splits.assign_splits("timeline", ids(1), ids(1), ids(1), 42)


@pytest.mark.parametrize("number", range(5))
def test_a_timeline_of_hardly_any_ratings_has_times(number):
    found = splits.split_times(np.arange(number) + 7)
    assert found.validation <= found.test
    if number >= 3:
        assert set(splits.timeline_splits(np.arange(number) + 7, found).tolist()) == {0, 1, 2}


def test_assign_splits_follows_the_protocol():
    users, movies = (grid.ravel() for grid in np.mgrid[1:11, 1:11])
    times = movies * 10
    by_hash = splits.assign_splits("random", users, movies, times, 5)
    by_time = splits.assign_splits("temporal", users, movies, times, 5)
    assert by_hash.tolist() == splits.random_splits(users, movies, 5).tolist()
    assert by_time.reshape(10, 10).tolist() == [[0] * 7 + [1] + [2] * 2] * 10


@pytest.mark.parametrize(
    ("kind", "rows", "words"),
    [
        ("random", (3, 1, 0), ("no ratings for test\n", "30 ratings", "another --split-seed")),
        ("random", (3, 0, 1), ("no ratings for validation\n", "3 train, 0 validation, 1 test")),
        ("random", (0, 0, 1), ("random split (70% train, ", "no ratings for train and validation")),
        ("temporal", (9, 0, 0), ("temporal", "9 ratings or more", "--split random")),
        ("timeline", (9, 1, 0), ("timeline split (70%", "different seconds", "--split-time")),
        ("leave-one-out", (2, 0, 0), ("last rating test", "3 ratings or more", "--split random")),
    ],
)
def test_an_empty_split_is_refused(kind, rows, words):
    with pytest.raises(InputError) as caught:
        splits.check_rows(kind, dict(zip(SPLITS, rows, strict=True)))
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("number", range(9, 60))
def test_a_user_of_9_ratings_or_more_is_in_every_temporal_split(number):
    ids = np.arange(number)
    found = splits.temporal_splits(np.zeros_like(ids), ids, ids, 42)
    assert set(found.tolist()) == {0, 1, 2}
