"""Ranking metrics against their definitions, written as loops over rows and lists."""

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics import bootstrap, lists, new_users, ranking, rating

K = 10

rows = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from([-1, *range(1, 31)])), min_size=1, max_size=40
)
one_list_each = st.lists(
    st.lists(st.integers(1, 30), min_size=1, max_size=15, unique=True), min_size=1, max_size=5
)


def columns(pairs):
    users, ranks = (np.array(column) for column in zip(*pairs, strict=True))
    return users, ranks


def close(value):
    """Equal but for rounding in sums of at most 40 values of at most 1."""
    return pytest.approx(value, abs=40 * 2**-52, rel=40 * 2**-52)


@pytest.mark.parametrize(
    "module", [ranking, rating, bootstrap, lists, new_users], ids=lambda m: m.__name__
)
def test_examples_in_docstrings_hold(module):
    assert doctest.testmod(module).failed == 0


TIED_SCORES = st.sampled_from([0.0, 1.0, 2.0, math.nan])


@given(
    st.lists(st.lists(st.tuples(TIED_SCORES, st.booleans()), min_size=4, max_size=4), min_size=1),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 3)), min_size=1),
)
def test_rank_counts_every_unseen_movie_that_scores_as_high_or_higher(table, places):
    """Ties count against the movie; a score that is no number is the lowest."""
    places = [(user % len(table), movie) for user, movie in places]

    def score(user, movie):
        found = table[user][movie][0]
        return -math.inf if math.isnan(found) else found

    expected = [
        1
        + sum(
            other != movie
            and not table[user][other][1]
            and score(user, other) >= score(user, movie)
            for other in range(4)
        )
        for user, movie in places
    ]
    scores = np.array([[cell[0] for cell in row] for row in table])
    seen = np.array([[cell[1] for cell in row] for row in table])
    users, movies = np.array(places).T
    assert ranking.filtered_ranks(scores, seen, users, movies).tolist() == expected


@given(rows)
def test_recall_is_the_share_of_rows_found_within_k(pairs):
    _, ranks = columns(pairs)
    expected = sum(1 for _, rank in pairs if 1 <= rank <= K) / len(pairs)
    assert ranking.recall_at_k(ranks, K) == close(expected)


@given(rows)
def test_ndcg_of_one_relevant_movie_is_its_discount(pairs):
    _, ranks = columns(pairs)
    expected = sum(1 / math.log2(1 + rank) for _, rank in pairs if 1 <= rank <= K) / len(pairs)
    assert ranking.row_ndcg(ranks, K) == close(expected)


def dcg(relevances):
    """Järvelin & Kekäläinen's cumulated gain with discount log2(1 + position)."""
    return sum(gain / math.log2(1 + place) for place, gain in enumerate(relevances, start=1))


@given(one_list_each)
def test_user_ndcg_compares_each_list_with_the_best_order_of_its_movies(lists):
    expected = []
    for found_at in lists:
        shown = [1.0 if place in found_at else 0.0 for place in range(1, K + 1)]
        best = sorted([1.0] * len(found_at) + [0.0] * K, reverse=True)[:K]
        expected.append(dcg(shown) / dcg(best))
    users = np.repeat(np.arange(len(lists)), [len(found_at) for found_at in lists])
    value = ranking.user_ndcg(np.concatenate(lists), users, K)
    assert value == close(sum(expected) / len(expected))
    assert 0.0 <= value <= 1.0 + 1e-12


@given(one_list_each)
def test_no_list_that_depends_on_the_user_alone_beats_the_ceiling(lists):
    counts = np.array([len(found_at) for found_at in lists])
    assert ranking.recall_at_k(np.concatenate(lists), K) <= ranking.user_only_ceiling(counts, K)
    best = np.concatenate([np.arange(1, count + 1) for count in counts])
    assert ranking.recall_at_k(best, K) == close(ranking.user_only_ceiling(counts, K))


@given(rows, st.integers(1, 20))
def test_longer_lists_find_no_less(pairs, k):
    _, ranks = columns(pairs)
    assert ranking.recall_at_k(ranks, k) <= ranking.recall_at_k(ranks, k + 1)
    assert ranking.row_ndcg(ranks, k) <= ranking.row_ndcg(ranks, k + 1)


@given(rows, st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(pairs, random):
    shuffled = list(pairs)
    random.shuffle(shuffled)
    (users, ranks), (others, other_ranks) = columns(pairs), columns(shuffled)
    assert ranking.user_ndcg(ranks, users, K) == close(ranking.user_ndcg(other_ranks, others, K))
    assert ranking.recall_at_k(ranks, K) == ranking.recall_at_k(other_ranks, K)


def test_nothing_to_judge_is_not_a_number_rather_than_zero():
    nothing = np.zeros(0, np.int64)
    assert math.isnan(ranking.recall_at_k(nothing, K))
    assert math.isnan(ranking.user_ndcg(nothing, nothing, K))
    assert math.isnan(ranking.user_only_ceiling(nothing, K))
    assert math.isnan(rating.rmse(nothing.astype(float), nothing.astype(float)))


def test_interval_of_many_alike_users_is_that_of_a_binomial_share():
    found = (np.random.default_rng(1).random(4000) < 0.3).astype(float)
    drawn = bootstrap.drawn_sums(np.stack([np.ones(4000), found], axis=1))
    assert (drawn[:, 0] == 4000).all()
    low, high = bootstrap.interval(drawn[:, 1] / drawn[:, 0])
    half = 1.96 * math.sqrt(found.mean() * (1 - found.mean()) / 4000)
    assert (high - low) / 2 == pytest.approx(half, rel=0.15)
    assert low < found.mean() < high


def test_ratings_of_one_user_do_not_count_as_independent():
    """The same rows, ten each of users who are all right or all wrong."""
    right = np.random.default_rng(6).random(400) < 0.3

    def width(rows, found):
        drawn = bootstrap.drawn_sums(np.stack([rows, found], axis=1))
        low, high = bootstrap.interval(drawn[:, 1] / drawn[:, 0])
        return high - low

    together = width(np.full(400, 10.0), 10.0 * right)
    apart = width(np.ones(4000), np.repeat(right, 10).astype(float))
    assert together / apart == pytest.approx(math.sqrt(10), rel=0.2)


def test_many_users_are_drawn_in_parts_that_are_the_same_draws(monkeypatch):
    sums = np.random.default_rng(2).random([30, 2])
    at_once = bootstrap.drawn_sums(sums)
    monkeypatch.setattr(bootstrap, "_NUMBERS_AT_ONCE", 100)
    np.testing.assert_allclose(bootstrap.drawn_sums(sums), at_once)


@given(st.lists(st.tuples(st.floats(1, 5), st.sampled_from([1.0, 2.5, 5.0])), min_size=1))
def test_calibration_error_is_the_mean_gap_of_the_bins(pairs):
    predicted, ratings = (np.array(column) for column in zip(*pairs, strict=True))
    gaps = []
    for low in np.arange(1.0, 5.0, 0.5):
        inside = [(p, r) for p, r in pairs if low <= p < low + 0.5 or (low == 4.5 and p == 5.0)]
        gaps.append(abs(sum(p - r for p, r in inside)))
    scale, rows = (1.0, 5.0), np.array([float(len(pairs))])
    place = rating.bins(predicted, scale)
    sums = np.bincount(place, predicted - ratings, rating.bin_count(scale))
    [found] = rating.calibration_error_from_sums(sums[np.newaxis], rows)
    assert found == pytest.approx(sum(gaps) / len(pairs), abs=1e-12)
    assert abs(rating.bias(predicted, ratings)) <= found + 1e-12
