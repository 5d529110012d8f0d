"""Metrics from sums per user, and differences that are paired by user."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.compare import baselines_kernel, baselines_retrieval, differences
from benchmarks.compare.data import Task
from benchmarks.compare.methods import Answer, Predictions, measure
from metrics import ranking, rating


@pytest.fixture
def task(bench):
    main = bench.splits.main
    return Task(bench.loaded, main, main.train, main.test)


def scores_of(task, seed):
    return np.random.default_rng(seed).random(task.data.shape)


def ranks_of(task, scores):
    seen = ranking.seen_matrix(
        task.data.users[task.fit], task.data.movies[task.fit], task.data.shape
    )
    return ranking.filtered_ranks(
        scores, seen, task.data.users[task.targets], task.data.movies[task.targets]
    )


def test_metrics_of_lists_are_those_of_the_ranks(task):
    scores = scores_of(task, 1)
    found = measure(task, Answer(Predictions(scores=scores))).metrics
    ranks, users = ranks_of(task, scores), task.data.users[task.targets]
    counts, (found_by,) = ranking.sums_by_user(users, ranking.hits(ranks, 10))
    expected = {
        "next_visit_recall_at_10": ranking.recall_at_k(ranks, 10),
        "next_visit_recall_at_100": ranking.recall_at_k(ranks, 100),
        "next_visit_mrr": np.mean(ranking.reciprocal_ranks(ranks)),
        "next_visit_row_ndcg_at_10": ranking.row_ndcg(ranks, 10),
        "next_visit_user_recall_at_10": np.mean(found_by / np.minimum(counts, 10)),
        "next_visit_user_ndcg_at_10": ranking.user_ndcg(ranks, users, 10),
    }
    assert found == pytest.approx(expected)


def test_in_session_there_are_no_metrics_of_a_users_list(task):
    ranks = ranks_of(task, scores_of(task, 1))
    found = measure(task, Answer(in_session=Predictions(ranks=ranks))).metrics
    assert found["in_session_recall_at_10"] == ranking.recall_at_k(ranks, 10)
    assert not any("user" in name for name in found)
    assert not any(name.startswith("next_visit") for name in found)


def test_metrics_of_ratings_are_of_predictions_on_the_scale(task):
    predicted = np.random.default_rng(1).normal(3.0, 2.0, len(task.targets))
    found = measure(task, Answer(Predictions(ratings=predicted))).metrics
    clipped, given_ = np.clip(predicted, 1.0, 5.0), task.data.ratings[task.targets]
    assert found == pytest.approx(
        {
            "next_visit_rating_rmse": rating.rmse(clipped, given_),
            "next_visit_rating_mae": np.mean(np.abs(clipped - given_)),
        }
    )


@pytest.fixture
def new_users(bench):
    fold = bench.splits.new_users[0]
    return Task(bench.loaded, fold, fold.train, fold.test)


def method_of(name):
    methods = (*baselines_retrieval.METHODS, *baselines_kernel.METHODS)
    return next(method for method in methods if method.name == name)


@pytest.mark.parametrize(
    "name", ["popularity", "itemknn", "ease", "edlae", "prior_edlae", "kernel"]
)
def test_lists_of_somebody_new_follow_from_the_movies_that_they_name(new_users, name):
    method = method_of(name)
    answer = method.run(new_users, method.quick)
    # Users who name nothing all get the list by popularity.
    without_history = {0} if name in ("popularity", "prior_edlae") else set()
    assert set(answer.new_user) == {1, 3, 5, 10} | without_history
    for named, scores in answer.new_user.items():
        # With the ratings that are to be found changed, the same lists.
        data = new_users.data
        movies = data.movies.copy()
        wanted = new_users.split.new_users[named].wanted
        movies[wanted] = np.random.default_rng(1).permutation(movies[wanted])
        other = dataclasses.replace(new_users, data=dataclasses.replace(data, movies=movies))
        again = method.run(other, method.quick).new_user[named]
        np.testing.assert_allclose(again, scores)
        users = np.unique(data.users[wanted])
        alike = np.ptp(scores[users], axis=0).max() < 1e-9
        assert alike == (named == 0 or name == "popularity")


def test_metrics_of_somebody_new_are_those_of_lists_without_the_named_movies(new_users):
    scores = scores_of(new_users, 1)
    found = measure(new_users, Answer(new_user={3: scores})).metrics
    data, given_ = new_users.data, new_users.split.new_users[3]
    seen = ranking.seen_matrix(data.users[given_.named], data.movies[given_.named], data.shape)
    users = data.users[given_.wanted]
    ranks = ranking.filtered_ranks(scores, seen, users, data.movies[given_.wanted])
    assert found["new_user_3_user_ndcg_at_10"] == pytest.approx(ranking.user_ndcg(ranks, users, 10))
    assert found["new_user_3_recall_at_10"] == pytest.approx(ranking.recall_at_k(ranks, 10))
    assert all(name.startswith("new_user_3_") for name in found)


def test_ten_named_movies_are_not_taken_for_one(new_users):
    one, ten = (
        measure(
            new_users, Answer(new_user={1: scores_of(new_users, 1), 10: scores_of(new_users, n)})
        )
        for n in (2, 3)
    )
    for named, same in ((1, True), (10, False)):
        found = differences.paired([one.sums], ten.sums, f"new_user_{named}_user_ndcg_at_10")
        assert (found.low == found.value == found.high == 0.0) == same


METRICS = ("next_visit_user_ndcg_at_10", "next_visit_recall_at_10", "next_visit_rating_rmse")


def measured(task, seed, noise=0.5):
    predicted = task.data.ratings[task.targets] + np.random.default_rng(seed).normal(
        0.0, noise, len(task.targets)
    )
    return measure(task, Answer(Predictions(scores=scores_of(task, seed), ratings=predicted)))


@pytest.mark.parametrize("metric", METRICS)
def test_a_method_does_not_differ_from_itself(task, metric):
    one = measured(task, 1)
    found = differences.paired([one.sums], one.sums, metric)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)
    assert found.word(lower_is_better=False) == "within noise"


@pytest.mark.parametrize("metric", METRICS)
def test_the_difference_is_that_of_the_metrics_and_of_seeds_that_of_their_mean(task, metric):
    one, two, other = (measured(task, seed) for seed in (1, 2, 3))
    found = differences.paired([one.sums, two.sums], other.sums, metric)
    mean = (one.metrics[metric] + two.metrics[metric]) / 2
    assert found.value == pytest.approx(mean - other.metrics[metric])
    assert found.low < found.high


def test_pairing_takes_out_what_is_hard_for_both(task):
    close, far = measured(task, 1, noise=0.5), measured(task, 1, noise=0.52)
    found = differences.paired([close.sums], far.sums, "next_visit_rating_rmse")
    assert found.low < found.value < found.high < 0.0
    assert found.word(lower_is_better=True) == "better"
    assert found.word(lower_is_better=False) == "worse"


def test_methods_of_other_users_are_refused(task):
    one = measured(task, 1)
    fewer = {name: values[:-1] for name, values in one.sums.items()}
    with pytest.raises(ValueError, match="expected next_visit_recall_at_10 of the same users"):
        differences.paired([one.sums], fewer, "next_visit_recall_at_10")
    with pytest.raises(ValueError, match="expected sums for in_session_rating_rmse, received"):
        differences.paired([one.sums], one.sums, "in_session_rating_rmse")


@given(st.floats(-1, 1), st.floats(0, 1))
def test_the_word_is_that_of_the_side_of_zero_on_which_the_interval_lies(value, width):
    found = differences.Difference(value, value - width, value + width)
    higher, lower = (found.word(lower_is_better=each) for each in (False, True))
    if abs(value) <= width:
        assert higher == lower == "within noise"
    else:
        assert (higher, lower) == (("better", "worse") if value > 0 else ("worse", "better"))
