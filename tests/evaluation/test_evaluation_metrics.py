import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from components.evaluation import metrics

RANKS = st.one_of(st.just(-1), st.integers(1, 200))
ROWS = st.lists(
    st.tuples(
        st.sampled_from([1.0, 2.0, 3.0, 4.0, 5.0]),
        st.floats(-10, 10, allow_nan=False),
        RANKS,
        RANKS,
        RANKS,
    ),
    min_size=1,
    max_size=40,
)


def to_rows(rows):
    columns = [np.array(column, dtype=np.float64) for column in zip(*rows, strict=True)]
    return metrics.Rows(*columns)


def compute(rows):
    return metrics.metrics_from_sums(metrics.sum_rows(to_rows(rows)))


def oracle(rows):
    """The definitions, row by row, sharing nothing with the implementation."""
    found = {"example_count": float(len(rows))}
    errors = [min(max(predicted, 1.0), 5.0) - rating for rating, predicted, *_ in rows]
    found["rmse"] = math.sqrt(sum(e * e for e in errors) / len(errors))
    found["mae"] = sum(abs(e) for e in errors) / len(errors)
    for prefix, column in (("", 2), ("unseen_", 3), ("popularity_", 4)):
        ranks = [row[column] for row in rows]
        for k in (1, 5, 10, 50, 100):
            hits = [rank in range(1, k + 1) for rank in ranks]
            found[f"{prefix}top_{k}_accuracy"] = sum(hits) / len(rows)
        found[f"{prefix}mrr"] = sum(0 if r == -1 else 1 / r for r in ranks) / len(rows)
        relevances = [[1.0 if position == r else 0.0 for position in range(1, 11)] for r in ranks]
        gains = [
            sum(relevance / math.log2(i + 2) for i, relevance in enumerate(row))
            for row in relevances
        ]
        found[f"{prefix}ndcg_at_10"] = sum(gains) / len(rows)
    ratings = [row[0] for row in rows]
    mean = sum(ratings) / len(ratings)
    spread = sum((rating - mean) ** 2 for rating in ratings)
    found["r_squared"] = 1 - sum(e * e for e in errors) / spread if len(set(ratings)) > 1 else 0.0
    for k in (10, 100):
        popular = max(found[f"popularity_top_{k}_accuracy"], 1 / len(rows))
        found[f"unseen_top_{k}_lift"] = found[f"unseen_top_{k}_accuracy"] / popular
    return found


@given(ROWS)
def test_every_metric_equals_its_definition_row_by_row(rows):
    assert compute(rows) == pytest.approx(oracle(rows), abs=1e-12)


@given(ROWS, ROWS)
def test_sums_of_two_batches_add_up_to_those_of_both_together(first, second):
    apart = metrics.sum_rows(to_rows(first)) + metrics.sum_rows(to_rows(second))
    together = metrics.sum_rows(to_rows(first + second))
    np.testing.assert_allclose(apart, together, atol=1e-9)


@given(ROWS)
def test_rank_metrics_stay_between_0_and_1_and_grow_with_k(rows):
    found = compute(rows)
    for prefix in ("", "unseen_", "popularity_"):
        by_k = [found[f"{prefix}top_{k}_accuracy"] for k in metrics.TOP_KS]
        assert by_k == sorted(by_k)
        assert all(0 <= value <= 1 for value in by_k)
        assert by_k[0] <= found[f"{prefix}ndcg_at_10"] <= by_k[2]
        assert by_k[0] <= found[f"{prefix}mrr"] <= 1


def test_first_rank_scores_one_everywhere():
    found = compute([(4.0, 4.0, 1, 1, 1)])
    assert {name: value for name, value in found.items() if value != 1.0} == {
        "rmse": 0.0,
        "mae": 0.0,
        "r_squared": 0.0,
    }


def test_an_unknown_movie_is_a_miss_everywhere():
    found = compute([(4.0, 4.0, -1, -1, -1)])
    assert set(found.values()) == {0.0, 1.0}
    assert [name for name, value in found.items() if value == 1.0] == ["example_count"]


def test_ndcg_counts_rank_10_and_not_rank_11():
    assert compute([(4.0, 4.0, 10, 11, 11)])["ndcg_at_10"] == pytest.approx(1 / math.log2(11))
    assert compute([(4.0, 4.0, 10, 11, 11)])["unseen_ndcg_at_10"] == 0.0


def test_predictions_beyond_the_scale_are_clipped_to_it():
    assert compute([(5.0, 9.0, 1, 1, 1), (1.0, -9.0, 1, 1, 1)])["rmse"] == 0.0


def test_a_prediction_that_is_not_a_number_makes_rmse_not_a_number():
    assert math.isnan(compute([(5.0, math.nan, 1, 1, 1)])["rmse"])


def test_no_rows_give_no_numbers():
    found = metrics.metrics_from_sums(metrics.zero_sums())
    assert found["example_count"] == 0.0
    assert all(math.isnan(value) for name, value in found.items() if name != "example_count")


@pytest.mark.parametrize("rank", [0, -2])
def test_a_rank_that_is_not_1_based_is_refused(rank):
    with pytest.raises(ValueError, match=f"rank_all must be 1 or more.*received {rank}"):
        to_rows([(4.0, 4.0, rank, 1, 1)])


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="one value per row"):
        metrics.Rows(*[np.ones(2)] * 4, np.ones(3))


@given(hnp.arrays(np.float64, st.integers(1, 5), elements=st.floats(1, 5)))
def test_names_cover_all_metrics_of_the_design(ratings):
    rows = metrics.Rows(ratings, ratings, *[np.ones(ratings.size)] * 3)
    assert tuple(metrics.metrics_from_sums(metrics.sum_rows(rows))) == metrics.METRIC_NAMES
