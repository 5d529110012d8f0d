import math
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from components.evaluation import metrics
from components.evaluation.verdict import ThresholdResult

RANKS = st.one_of(st.just(-1), st.integers(1, 200))
STARS = st.floats(-10, 10, allow_nan=False)
ROWS = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.sampled_from([1.0, 2.0, 3.0, 4.0, 5.0]),
        STARS,
        STARS,
        *[RANKS] * len(metrics.RANKS),
    ),
    min_size=1,
    max_size=40,
)
PREFIXES = ("", "plain_", "unseen_", "untimed_", "popularity_")


def row(predicted=4.0, rating=4.0, user=0, untimed=None, **ranks):
    """One row; all ranks are `rank` but those that are named by their prefix."""
    rank = ranks.pop("rank", 1)
    each = [ranks.pop(prefix.strip("_") or "all", rank) for prefix in PREFIXES]
    assert not ranks
    return (user, rating, predicted, predicted if untimed is None else untimed, *each)


def to_rows(rows):
    users, *columns = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    stars, ranks = columns[:3], columns[3:]
    return metrics.Rows(
        users.astype(np.int64), *stars, dict(zip(metrics.RANKS, ranks, strict=True))
    )


def compute(rows):
    return metrics.metrics_from_sums(metrics.sum_rows(to_rows(rows)))


def oracle(rows):
    """The definitions, row by row, sharing nothing with the implementation."""
    found = {"example_count": float(len(rows))}

    def errors_of(column):
        return [min(max(each[column], 1.0), 5.0) - each[1] for each in rows]

    errors = errors_of(2)
    found["rmse"] = math.sqrt(math.fsum(e * e for e in errors) / len(errors))
    found["mae"] = math.fsum(abs(e) for e in errors) / len(errors)
    found["untimed_rmse"] = math.sqrt(math.fsum(e * e for e in errors_of(3)) / len(errors))

    def gain(rank):
        relevances = [1.0 if position == rank else 0.0 for position in range(1, 11)]
        return sum(relevance / math.log2(i + 2) for i, relevance in enumerate(relevances))

    for column, prefix in enumerate(PREFIXES, start=4):
        ranks = [each[column] for each in rows]
        for k in (1, 5, 10, 50, 100):
            hits = [rank in range(1, k + 1) for rank in ranks]
            found[f"{prefix}top_{k}_accuracy"] = sum(hits) / len(rows)
        found[f"{prefix}mrr"] = sum(0 if r == -1 else 1 / r for r in ranks) / len(rows)
        found[f"{prefix}ndcg_at_10"] = sum(map(gain, ranks)) / len(rows)
        if prefix in ("unseen_", "untimed_"):
            recalls, gains = [], []
            for user in {each[0] for each in rows}:
                own = [each[column] for each in rows if each[0] == user]
                recalls.append(sum(rank in range(1, 11) for rank in own) / len(own))
                best = sum(1 / math.log2(i + 2) for i in range(min(10, len(own))))
                gains.append(sum(map(gain, own)) / best)
            found[f"{prefix}user_recall_at_10"] = sum(recalls) / len(recalls)
            found[f"{prefix}user_ndcg_at_10"] = sum(gains) / len(gains)
    ratings = [Fraction(each[1]) for each in rows]
    mean = sum(ratings) / len(ratings)
    spread = float(sum((rating - mean) ** 2 for rating in ratings))
    found["r_squared"] = 1 - math.fsum(e * e for e in errors) / spread if spread else math.nan
    for k in (10, 100):
        popular = max(found[f"popularity_top_{k}_accuracy"], 1 / len(rows))
        found[f"unseen_top_{k}_lift"] = found[f"unseen_top_{k}_accuracy"] / popular
    users = [each[0] for each in rows]
    ceiling = sum(min(10, users.count(user)) for user in set(users)) / len(rows)
    found["user_only_top_10_ceiling"] = ceiling
    found["unseen_top_10_above_ceiling"] = found["unseen_top_10_accuracy"] - ceiling
    return found


EPSILON = sys.float_info.epsilon


def rounding(additions):
    """The largest relative error of a sum of so many values of one sign, and of what follows.

    n additions in any order are off by n·ε at most (Higham 2002, 4.2). Twelve more for what
    is done to a term or to the sum: clipping, squares, logarithms, quotients and roots.
    """
    return (additions + 12) * EPSILON


@given(ROWS)
def test_every_metric_equals_its_definition_row_by_row(rows):
    found, expected = compute(rows), oracle(rows)
    assert found.keys() == expected.keys()
    # A difference is as exact as the larger of what is subtracted.
    sizes = {
        **{name: abs(value) for name, value in expected.items()},
        "r_squared": 1 + abs(1 - expected["r_squared"]),
        "unseen_top_10_above_ceiling": 1.0,
    }
    for name, value in expected.items():
        if math.isnan(value):
            assert math.isnan(found[name]), name
        else:
            assert abs(found[name] - value) <= rounding(len(rows)) * sizes[name], name


def test_r_squared_is_exact_where_the_ratings_hardly_vary():
    """A mean of squares less a squared mean would lose every digit here."""
    rows = [row(predicted=4.0, rating=4.0)] * 200_000 + [row(predicted=4.0, rating=5.0)]
    spread = Fraction(len(rows) - 1, len(rows))
    assert compute(rows)["r_squared"] == pytest.approx(float(1 - 1 / spread), rel=1e-9)


@given(ROWS, ROWS)
def test_sums_of_two_batches_add_up_to_those_of_both_together(first, second):
    parts = [metrics.sum_rows(to_rows(first)), metrics.sum_rows(to_rows(second))]
    apart, together = metrics.add_sums(parts), metrics.sum_rows(to_rows(first + second))
    for one, other in zip(vars(apart).values(), vars(together).values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=rounding(len(first + second)))


@given(ROWS)
def test_rank_metrics_stay_between_0_and_1_and_grow_with_k(rows):
    found = compute(rows)
    for prefix in PREFIXES:
        by_k = [found[f"{prefix}top_{k}_accuracy"] for k in metrics.TOP_KS]
        assert by_k == sorted(by_k)
        assert all(0 <= value <= 1 for value in by_k)
        assert by_k[0] <= found[f"{prefix}ndcg_at_10"] <= by_k[2]
        assert by_k[0] <= found[f"{prefix}mrr"] <= 1


@pytest.mark.parametrize("stars", [4.0, 3.5, 3.7, float(np.float32(3.7)), 10 / 3])
@pytest.mark.parametrize("number", [1, 2, 3, 10, 999])
def test_r_squared_is_undefined_where_all_ratings_are_the_same(stars, number):
    assert math.isnan(compute([row(predicted=2.0, rating=stars)] * number)["r_squared"])


def test_first_rank_scores_one_everywhere():
    found = compute([row(), row(rating=5.0, predicted=5.0, user=1)])
    assert found.pop("example_count") == 2.0
    assert {name: value for name, value in found.items() if value != 1.0} == {
        "rmse": 0.0,
        "mae": 0.0,
        "untimed_rmse": 0.0,
        "unseen_top_10_above_ceiling": 0.0,
    }


def test_an_unknown_movie_is_a_miss_everywhere():
    found = compute([row(rank=-1)])
    assert math.isnan(found.pop("r_squared"))
    assert set(found.values()) == {0.0, 1.0, -1.0}
    ones = [name for name, value in found.items() if value == 1.0]
    assert ones == ["example_count", "user_only_top_10_ceiling"]


def test_ndcg_counts_rank_10_and_not_rank_11():
    assert compute([row(all=10, rank=11)])["ndcg_at_10"] == pytest.approx(1 / math.log2(11))
    assert compute([row(all=10, rank=11)])["unseen_ndcg_at_10"] == 0.0


def test_predictions_beyond_the_scale_are_clipped_to_it():
    assert compute([row(9.0, 5.0), row(-9.0, 1.0)])["rmse"] == 0.0


def test_a_prediction_that_is_not_a_number_makes_rmse_not_a_number():
    assert math.isnan(compute([row(math.nan)])["rmse"])


def test_no_rows_give_no_numbers():
    found = metrics.metrics_from_sums(metrics.zero_sums())
    assert found["example_count"] == 0.0
    assert all(math.isnan(value) for name, value in found.items() if name != "example_count")


@pytest.mark.parametrize("rank", [0, -2])
def test_a_rank_that_is_not_1_based_is_refused(rank):
    with pytest.raises(ValueError, match=f"rank_all must be 1 or more.*received {rank}"):
        to_rows([row(all=rank)])


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="one value per row"):
        metrics.Rows(np.ones(3, np.int64), *[np.ones(2)] * 3, {})


@given(hnp.arrays(np.float64, st.integers(1, 5), elements=st.floats(1, 5)))
def test_names_cover_all_metrics_of_the_design(ratings):
    ones = np.ones(ratings.size)
    rows = metrics.Rows(ones.astype(np.int64), *[ratings] * 3, dict.fromkeys(metrics.RANKS, ones))
    assert tuple(metrics.metrics_from_sums(metrics.sum_rows(rows))) == metrics.METRIC_NAMES


def test_more_than_a_query_of_the_user_alone_can_find_is_above_the_ceiling():
    # One user, 40 test rows, each of them found: ten recommendations can name ten of them.
    found = compute([row(rank=5)] * 40)
    assert found["user_only_top_10_ceiling"] == 0.25
    assert found["unseen_top_10_above_ceiling"] == 0.75


@given(rows=ROWS, bound=st.floats(-1, 5), kind=st.sampled_from(["value", "change"]))
def test_every_metric_is_said_in_words_whatever_its_value(rows, bound, kind):
    found = compute(rows)
    for metric, value in found.items():
        baseline = None if kind == "value" else value
        result = ThresholdResult(metric, kind, bound, value, baseline, passed=False)
        text = result.describe()
        assert text.startswith(metric)
        assert "nan" not in text
        assert ("undefined" in text or "could not" in text) == math.isnan(value)
    missing = ThresholdResult("rmse", kind, bound, None, None, passed=False)
    assert missing.describe() == "rmse could not be computed"
