"""The comparison's splits and metrics, against slow and independent answers."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.compare import protocols
from components.example_gen import splits
from metrics import ranking
from schema import hashing

ROWS = 1_000


def slow_rank(scores, removed, movie):
    """The rank of one movie, by the words of the protocol."""
    own = scores[movie]
    better = 0
    for other, score in enumerate(scores):
        if other == movie or other in removed:
            continue
        if math.isnan(own) or (not math.isnan(score) and score >= own):
            better += 1
    return 1 + better


@st.composite
def rankings(draw):
    """Scores with many ties and some NaN, seen movies and rows to be ranked."""
    users, movies = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    values = st.sampled_from([0.0, 1.0, 2.0, -1.5, math.nan])
    scores = np.array(draw(st.lists(values, min_size=users * movies, max_size=users * movies)))
    seen = draw(st.lists(st.booleans(), min_size=users * movies, max_size=users * movies))
    pairs = st.tuples(st.integers(0, users - 1), st.integers(0, movies - 1))
    rows = np.array(draw(st.lists(pairs, min_size=1, max_size=8)))
    shape = (users, movies)
    return scores.reshape(shape), np.array(seen).reshape(shape), rows[:, 0], rows[:, 1]


@given(rankings())
def test_rank_counts_every_other_movie_that_is_not_below(case):
    scores, _, users, movies = case
    expected = [slow_rank(scores[u], (), m) for u, m in zip(users, movies, strict=True)]
    assert protocols.unfiltered_ranks(scores, users, movies).tolist() == expected


@given(rankings())
def test_rank_among_unseen_leaves_out_what_the_user_has_seen(case):
    scores, seen, users, movies = case
    expected = [
        slow_rank(scores[u], set(np.flatnonzero(seen[u])), m)
        for u, m in zip(users, movies, strict=True)
    ]
    assert ranking.filtered_ranks(scores, seen, users, movies).tolist() == expected


def test_all_equal_scores_give_the_last_rank():
    scores = np.zeros((1, 7))
    assert protocols.unfiltered_ranks(scores, np.array([0]), np.array([3])).tolist() == [7]


def test_no_list_of_a_user_beats_the_ceiling():
    users = np.repeat([0, 1], [25, 4])
    assert protocols.user_only_ceiling(users) == pytest.approx(14 / 29)


@pytest.mark.parametrize("seed", [7, 42])
def test_random_split_is_the_documented_shuffle(seed):
    split = protocols.random_split(ROWS, seed)
    order = np.random.default_rng(seed).permutation(ROWS)
    assert split.test.tolist() == sorted(order[800:].tolist())
    assert split.train.tolist() == sorted(order[:800].tolist())
    assert len(split.validation) == 80


@pytest.mark.parametrize(
    "split",
    [protocols.random_split(ROWS, 42), *(protocols.official_fold(ROWS, f) for f in (1, 5))],
    ids=lambda split: split.name,
)
def test_every_line_is_in_exactly_one_part(split):
    parts = np.concatenate([split.inner, split.validation, split.test])
    assert np.sort(parts).tolist() == list(range(ROWS))


def test_validation_differs_between_seeds():
    first, second = protocols.random_split(ROWS, 1), protocols.random_split(ROWS, 2)
    assert set(first.validation.tolist()) != set(second.validation.tolist())


def test_official_folds_are_the_fifths_of_the_file():
    split = protocols.official_fold(100_000, 2)
    assert (split.test[0], split.test[-1], len(split.test)) == (20_000, 39_999, 20_000)


def test_unknown_fold_is_refused():
    with pytest.raises(ValueError, match="expected a fold of"):
        protocols.official_fold(ROWS, 6)


@dataclasses.dataclass
class Ratings:
    """Ratings whose ids are row numbers plus one."""

    users: np.ndarray
    movies: np.ndarray
    timestamps: np.ndarray
    position: np.ndarray | None = None

    @property
    def ratings(self):
        return (self.movies % 5 + 1).astype(np.float64)

    @property
    def user_ids(self):
        return np.arange(self.users.max() + 1) + 1

    @property
    def movie_ids(self):
        return np.arange(self.movies.max() + 1) + 1


@pytest.fixture
def rated():
    """Ratings of 30 users, many in the same second; later ones also of users 30 to 34."""
    rng = np.random.default_rng(3)
    late = rng.random(ROWS) < 0.1
    users = np.where(late, rng.integers(30, 35, ROWS), rng.integers(0, 30, ROWS))
    times = np.where(late, rng.integers(70, 100, ROWS), rng.integers(0, 100, ROWS))
    return Ratings(users, np.arange(ROWS), times)


def test_the_temporal_split_tests_on_the_latest_of_each_user(rated):
    split = protocols.pipeline_split(rated, "temporal")
    for user in np.unique(rated.users):
        own = np.flatnonzero(rated.users == user)
        in_test = np.isin(own, split.test)
        assert in_test.sum() == math.floor(len(own) * 0.2 + 0.5)
        if in_test.any():
            assert rated.timestamps[own[in_test]].min() >= rated.timestamps[own[~in_test]].max()


@pytest.mark.parametrize("method", ["random", "temporal", "leave-one-out"])
def test_splits_are_those_of_the_pipeline(rated, method):
    rated.position = np.random.default_rng(1).permutation(ROWS)
    split = protocols.pipeline_split(rated, method)
    expected = splits.assign_splits(
        method, rated.users + 1, rated.movies + 1, rated.timestamps, 42, position=rated.position
    )
    for number, lines in enumerate((split.inner, split.validation, split.test)):
        assert lines.tolist() == np.flatnonzero(expected == number).tolist()


@pytest.mark.parametrize("share", [0.6, 0.8])
def test_on_a_timeline_every_test_row_is_of_a_known_user_and_later_than_all_of_training(
    rated, share
):
    split = protocols.timeline_split(rated, share)
    times, users = rated.timestamps, rated.users
    for fit, targets in ((split.inner, split.validation), (split.train, split.test)):
        assert times[fit].max() < times[targets].min()
        assert set(users[targets].tolist()) <= set(users[fit].tolist())
    begins = times[split.test].min()
    assert split.train.tolist() == np.flatnonzero(times < begins).tolist()
    everybody = np.flatnonzero(times >= begins)
    new = ~np.isin(users[everybody], users[split.train])
    assert split.test.tolist() == everybody[~new].tolist()
    assert (times < begins).mean() == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("ordered", [False, True])
def test_somebody_new_names_their_first_movies_that_they_liked(rated, ordered):
    if ordered:
        rated.position = np.random.default_rng(1).permutation(ROWS)
    ties = hashing.pair_hash(rated.users + 1, rated.movies + 1, 42)
    second = rated.position if ordered else ties
    folds = [protocols.new_user_fold(rated, fold, 3) for fold in (1, 2, 3)]
    held_out = [set(rated.users[fold.test].tolist()) for fold in folds]
    assert set.union(*held_out) == set(rated.users.tolist())
    assert sum(map(len, held_out)) == len(set(rated.users.tolist()))
    for fold, users in zip(folds, held_out, strict=True):
        learned = np.flatnonzero(~np.isin(rated.users, sorted(users)))
        assert fold.train.tolist() == learned.tolist()
        for named, found in fold.new_users.items():
            for user in users:
                own = np.flatnonzero(rated.users == user)
                liked = own[rated.ratings[own] >= rated.ratings[own].mean()]
                liked = sorted(liked, key=lambda i: (rated.timestamps[i], second[i]))
                enough = named <= len(liked) and named < len(own)
                first = set(liked[:named]) if enough else set()
                rest = set(own) - first if enough else set()
                assert set(found.named[rated.users[found.named] == user]) == first
                assert set(found.wanted[rated.users[found.wanted] == user]) == rest
