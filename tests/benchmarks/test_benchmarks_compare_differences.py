"""Metrics from sums per user, and differences that are paired by user."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.compare import differences, protocols
from benchmarks.compare.data import Task
from benchmarks.compare.methods import Answer, Asked, measure
from metrics import ranking, rating


@pytest.fixture
def task(bench):
    main = bench.splits.main
    return Task(bench.loaded, main, main.train, main.test)


def scores_of(task, seed):
    return np.random.default_rng(seed).random(task.data.shape)


def ranks_of(task, scores):
    seen = protocols.seen_matrix(
        task.data.users[task.fit], task.data.movies[task.fit], task.data.shape
    )
    return protocols.filtered_ranks(
        scores, seen, task.data.users[task.ask], task.data.movies[task.ask]
    )


def test_metrics_of_lists_are_those_of_the_ranks(task):
    scores = scores_of(task, 1)
    found = measure(task, Answer(Asked(scores=scores))).metrics
    ranks, users = ranks_of(task, scores), task.data.users[task.ask]
    expected = {
        "next_visit_recall_at_10": ranking.recall_at_k(ranks, 10),
        "next_visit_recall_at_100": ranking.recall_at_k(ranks, 100),
        "next_visit_mrr": ranking.mean_reciprocal_rank(ranks),
        "next_visit_row_ndcg_at_10": ranking.row_ndcg(ranks, 10),
        "next_visit_user_recall_at_10": ranking.user_recall(ranks, users, 10),
        "next_visit_user_ndcg_at_10": ranking.user_ndcg(ranks, users, 10),
    }
    assert found == pytest.approx(expected)


def test_in_session_there_are_no_metrics_of_a_users_list(task):
    ranks = ranks_of(task, scores_of(task, 1))
    found = measure(task, Answer(in_session=Asked(ranks=ranks))).metrics
    assert found["in_session_recall_at_10"] == ranking.recall_at_k(ranks, 10)
    assert not any("user" in name for name in found)
    assert not any(name.startswith("next_visit") for name in found)


def test_metrics_of_ratings_are_of_predictions_on_the_scale(task):
    predicted = np.random.default_rng(1).normal(3.0, 2.0, len(task.ask))
    found = measure(task, Answer(Asked(ratings=predicted))).metrics
    clipped, given_ = np.clip(predicted, 1.0, 5.0), task.data.ratings[task.ask]
    assert found == pytest.approx(
        {
            "next_visit_rating_rmse": rating.rmse(clipped, given_),
            "next_visit_rating_mae": rating.mae(clipped, given_),
        }
    )


METRICS = ("next_visit_user_ndcg_at_10", "next_visit_recall_at_10", "next_visit_rating_rmse")


def measured(task, seed, noise=0.5):
    predicted = task.data.ratings[task.ask] + np.random.default_rng(seed).normal(
        0.0, noise, len(task.ask)
    )
    return measure(task, Answer(Asked(scores=scores_of(task, seed), ratings=predicted)))


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


def test_methods_that_were_asked_about_other_users_are_refused(task):
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
