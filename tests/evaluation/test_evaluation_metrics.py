import dataclasses
import math
import sys
from fractions import Fraction

import evaluation_fixtures as fixtures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.evaluation import directions, metrics
from components.evaluation.verdict import ThresholdResult
from metrics import bootstrap
from schema.scenarios import IN_SESSION, NEXT_VISIT, metric_name

RANKS = st.one_of(st.just(-1), st.integers(1, 200))
STARS = st.floats(-10, 10, allow_nan=False)
ROWS = st.lists(
    st.builds(
        fixtures.Row,
        user=st.integers(0, 7),
        rating=st.sampled_from([1.0, 2.0, 3.0, 4.0, 5.0]),
        predicted=STARS,
        in_session_predicted=STARS,
        rank=RANKS,
        in_session_rank=RANKS,
        popularity_rank=RANKS,
        popularity=st.integers(1, 100),
        item=st.integers(0, 6),
    ),
    min_size=1,
    max_size=40,
)
COUNTS = ("example_count", "user_count", "movies_to_rank", "leak_checked_rows", "leaking_rows")
SCENARIOS = ("next_visit_", "in_session_")


def row(predicted=4.0, rating=4.0, user=0, rank=1, **more):
    """One row with the same query in both scenarios."""
    both = {"in_session_predicted": predicted, "in_session_rank": rank, "popularity_rank": rank}
    return fixtures.Row(rating, predicted, rank, user=user, **{**both, **more})


def to_rows(rows):
    def column(name, kind=np.float64):
        return np.array([getattr(each, name) for each in rows], dtype=kind)

    def answers(prefix, in_session):
        return metrics.InScenario(
            ranks=column(f"{prefix}rank"),
            ratings=column(f"{prefix}predicted"),
            items=np.array([fixtures.items_of_list(each.item, in_session) for each in rows]),
            items_popularity=np.array(
                [fixtures.items_popularity(each.item, in_session) for each in rows]
            ),
        )

    return metrics.Rows(
        users=column("user", np.int64),
        ratings=column("rating"),
        scenarios=(answers("", False), answers("in_session_", True)),
        popularity_ranks=column("popularity_rank"),
        movie_popularity=column("popularity"),
        movies=fixtures.CATALOGUE_SIZE,
        movies_left=fixtures.CATALOGUE_SIZE,
    )


def compute(rows):
    return metrics.metrics_from_sums(metrics.sum_rows(to_rows(rows)))


def of_scenario(rows, ranks, predicted, in_session):
    """The definitions in one scenario, row by row, sharing nothing with the implementation."""
    users = sorted({each.user for each in rows})
    own = {user: [n for n, each in enumerate(rows) if each.user == user] for user in users}

    def over_users(value):
        return math.fsum(value(own[user]) for user in users) / len(users)

    def gain(rank):
        return math.fsum(1 / math.log2(i + 1) for i in range(1, 11) if i == rank)

    found = {f"recall_at_{k}": sum(r in range(1, k + 1) for r in ranks) / len(rows)
             for k in (1, 5, 10, 50, 100)}  # fmt: skip
    found["mrr"] = math.fsum(0 if r == -1 else 1 / r for r in ranks) / len(rows)
    found["user_recall_at_10"] = over_users(
        lambda mine: sum(ranks[n] in range(1, 11) for n in mine) / min(10, len(mine))
    )
    found["user_ndcg_at_10"] = over_users(
        lambda mine: (
            math.fsum(gain(ranks[n]) for n in mine)
            / math.fsum(1 / math.log2(i + 1) for i in range(1, 1 + min(10, len(mine))))
        )
    )
    shown = {m for each in rows for m in fixtures.items_of_list(each.item, in_session)} - {-1}
    found["coverage_at_10"] = len(shown) / fixtures.CATALOGUE_SIZE
    recommended = over_users(
        lambda mine: (
            math.fsum(fixtures.items_popularity(rows[n].item, in_session) for n in mine) / len(mine)
        )
    )
    chosen = over_users(lambda mine: sum(rows[n].popularity for n in mine) / len(mine))
    found["popularity_bias_at_10"] = (recommended - chosen) / chosen
    clipped = [min(max(stars, 1.0), 5.0) for stars in predicted]
    errors = [stars - each.rating for stars, each in zip(clipped, rows, strict=True)]
    found["rating_rmse"] = math.sqrt(math.fsum(e * e for e in errors) / len(errors))
    found["rating_mae"] = math.fsum(abs(e) for e in errors) / len(errors)
    found["rating_bias"] = math.fsum(errors) / len(errors)
    bins = {}
    for stars, error in zip(clipped, errors, strict=True):
        bins.setdefault(min(math.floor(stars * 2), 9), []).append(error)
    found["rating_calibration_error"] = math.fsum(
        len(bin_) / len(rows) * abs(math.fsum(bin_) / len(bin_)) for bin_ in bins.values()
    )
    ratings = [Fraction(each.rating) for each in rows]
    mean = sum(ratings) / len(ratings)
    spread = float(sum((rating - mean) ** 2 for rating in ratings))
    explained = 1 - math.fsum(e * e for e in errors) / spread if spread else math.nan
    found["rating_r_squared"] = explained
    return found


def oracle(rows):
    """Every metric but the intervals, from its definition."""
    next_visit = of_scenario(
        rows, [each.rank for each in rows], [each.predicted for each in rows], False
    )
    in_session = of_scenario(
        rows,
        [each.in_session_rank for each in rows],
        [each.in_session_predicted for each in rows],
        True,
    )
    # The rows of a user are looked for in several lists there.
    del in_session["user_recall_at_10"], in_session["user_ndcg_at_10"]
    popular = of_scenario(rows, [each.popularity_rank for each in rows], [3.0] * len(rows), False)
    for name in ("recall_at_10", "recall_at_100", "user_ndcg_at_10"):
        next_visit[f"popularity_{name}"] = popular[name]
    for name in ("recall_at_10", "recall_at_100"):
        next_visit[f"{name}_over_popularity"] = next_visit[name] - popular[name]
    return {
        "example_count": float(len(rows)),
        "user_count": float(len({each.user for each in rows})),
        "movies_to_rank": float(fixtures.CATALOGUE_SIZE),
        "leak_checked_rows": 0.0,
        "leaking_rows": 0.0,
        **{f"next_visit_{name}": value for name, value in next_visit.items()},
        **{f"in_session_{name}": value for name, value in in_session.items()},
    }


EPSILON = sys.float_info.epsilon


def rounding(additions):
    """The largest relative error of a sum of so many values of one sign, and of what follows.

    n additions in any order are off by n·ε at most (Higham 2002, 4.2). Twelve more for what
    is done to a term or to the sum: clipping, squares, logarithms, quotients and roots.
    """
    return (additions + 12) * EPSILON


def without_intervals(found):
    return {n: v for n, v in found.items() if not n.endswith(("_low", "_high"))}


@given(ROWS)
def test_every_metric_equals_its_definition_row_by_row(rows):
    found, expected = without_intervals(compute(rows)), oracle(rows)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        # A difference is as exact as the larger of what is subtracted.
        size = abs(value)
        if name.endswith(("_over_popularity", "_bias_at_10", "rating_r_squared")):
            size = 2 + abs(value)
        if name.endswith(("rating_bias", "rating_calibration_error")):
            size = 4.0
        if math.isnan(value):
            assert math.isnan(found[name]), name
        else:
            assert abs(found[name] - value) <= rounding(len(rows)) * size, name


@given(ROWS)
def test_intervals_are_those_of_drawing_users_again(rows):
    found = compute(rows)
    users = sorted({each.user for each in rows})
    name = "next_visit_rating_rmse"
    if len(users) < metrics.MIN_USERS:  # type: ignore[attr-defined]
        ends = {n: v for n, v in found.items() if n.endswith(("_low", "_high"))}
        assert {n for n, v in ends.items() if not math.isnan(v)} == {
            f"next_visit_recall_at_{k}_over_popularity_{end}"
            for k in (10, 100)
            for end in ("low", "high")
        }
        return
    times = bootstrap.drawn_sums(np.eye(len(users)))
    values = []
    for draw in times:
        drawn = [
            (min(max(each.predicted, 1.0), 5.0) - each.rating) ** 2
            for user, number in zip(users, draw, strict=True)
            for each in rows
            if each.user == user
            for _ in range(int(number))
        ]
        values.append(math.sqrt(sum(drawn) / len(drawn)))
    low, high = np.percentile(values, [2.5, 97.5])
    assert (found[name + "_low"], found[name + "_high"]) == pytest.approx((low, high))


@given(ROWS)
def test_a_paired_interval_of_the_same_lists_is_no_wider_than_nothing(rows):
    same = [row(rank=each.rank, user=each.user) for each in rows]
    found = compute(same)
    ends = [found[f"next_visit_recall_at_100_over_popularity{end}"] for end in ("_low", "_high")]
    assert ends == [0.0, 0.0]


def test_r_squared_is_exact_where_the_ratings_hardly_vary():
    """A mean of squares less a squared mean would lose every digit here."""
    rows = [row(predicted=4.0, rating=4.0)] * 20_000 + [row(predicted=4.0, rating=5.0)]
    spread = Fraction(len(rows) - 1, len(rows))
    found = compute(rows)["next_visit_rating_r_squared"]
    assert found == pytest.approx(float(1 - 1 / spread), rel=1e-9)


@given(ROWS, ROWS)
def test_sums_of_two_batches_add_up_to_those_of_both_together(first, second):
    parts = [metrics.sum_rows(to_rows(first)), metrics.sum_rows(to_rows(second))]
    apart, together = metrics.add_sums(parts), metrics.sum_rows(to_rows(first + second))
    assert apart.users.tolist() == together.users.tolist()
    # Errors have both signs.
    np.testing.assert_allclose(apart.by_user, together.by_user, rtol=1e-12, atol=1e-12)
    for one, other in zip(apart.recommended, together.recommended, strict=True):
        assert one.tolist() == other.tolist()
    assert apart.movies == together.movies


@given(ROWS)
def test_rank_metrics_stay_between_0_and_1_and_grow_with_k(rows):
    found = compute(rows)
    for prefix in SCENARIOS:
        by_k = [found[f"{prefix}recall_at_{k}"] for k in metrics.TOP_KS]
        assert by_k == sorted(by_k)
        assert all(0 <= value <= 1 for value in by_k)
        assert by_k[0] <= found[f"{prefix}mrr"] <= 1


@given(st.lists(st.lists(st.integers(1, 200), unique=True, min_size=1), min_size=1, max_size=6))
def test_metrics_of_a_users_list_are_never_above_1_and_exist_only_where_there_is_one(ranks):
    """Rows of one user have different ranks in one list; in several lists all may be first."""
    rows = [row(user=user, rank=rank) for user, own in enumerate(ranks) for rank in own]
    found = compute(rows)
    for name in ("user_recall_at_10", "user_ndcg_at_10"):
        assert 0 <= found[f"next_visit_{name}"] <= 1 + rounding(len(rows))
        assert f"in_session_{name}" not in found


def test_a_user_of_many_test_movies_reaches_a_recall_of_1():
    rows = [row(rank=rank) for rank in range(1, 31)]
    assert compute(rows)["next_visit_user_recall_at_10"] == 1.0


@pytest.mark.parametrize("stars", [4.0, 3.5, 3.7, float(np.float32(3.7)), 10 / 3])
@pytest.mark.parametrize("number", [1, 2, 3, 10, 999])
def test_r_squared_is_undefined_where_all_ratings_are_the_same(stars, number):
    found = compute([row(predicted=2.0, rating=stars)] * number)
    assert math.isnan(found["next_visit_rating_r_squared"])


def test_an_unknown_movie_is_a_miss_everywhere():
    found = without_intervals(compute([row(rank=-1)]))
    assert {
        value
        for name, value in found.items()
        if "recall" in name or "ndcg" in name or "mrr" in name
    } == {0.0}


@pytest.mark.parametrize(
    ("scale", "predicted", "rmse"),
    [((1.0, 5.0), 0.1, 0.5), ((0.5, 5.0), 0.1, 0.0), ((0.5, 5.0), 0.75, 0.25)],
)
def test_the_scale_of_the_data_is_what_predictions_are_clipped_to(scale, predicted, rmse):
    rows = to_rows([row(predicted=predicted, rating=0.5)])
    found = metrics.metrics_from_sums(metrics.sum_rows(rows, scale))
    assert found["next_visit_rating_rmse"] == pytest.approx(rmse)
    assert found["next_visit_rating_calibration_error"] == pytest.approx(rmse)


def test_predictions_beyond_the_scale_are_clipped_to_it():
    assert compute([row(9.0, 5.0), row(-9.0, 1.0)])["next_visit_rating_rmse"] == 0.0


def test_a_prediction_that_is_not_a_number_makes_its_metrics_not_a_number():
    found = compute([row(math.nan), *[row(user=user) for user in range(9)]])
    for name in ("rmse", "mae", "bias", "calibration_error", "rmse_low", "rmse_high"):
        assert math.isnan(found[f"next_visit_rating_{name}"]), name


def test_no_rows_give_no_numbers():
    found = metrics.metrics_from_sums(metrics.zero_sums())
    counts = {name: found.pop(name) for name in COUNTS}
    assert set(counts.values()) == {0.0}
    assert all(math.isnan(value) for value in found.values())


@pytest.mark.parametrize("rank", [0, -2])
def test_a_rank_that_is_not_1_based_is_refused(rank):
    with pytest.raises(ValueError, match=f"in_session_rank must be 1 or more.*received {rank}"):
        to_rows([row(in_session_rank=rank)])


def test_columns_of_different_lengths_are_refused():
    two = np.ones(2)
    answers = metrics.InScenario(two, two, np.ones([3, 10], np.int64), two)
    with pytest.raises(ValueError, match="one value per row"):
        metrics.Rows(np.ones(3, np.int64), two, (answers, answers), two, two, 9)


@given(ROWS)
def test_a_change_is_the_difference_on_the_same_draws_of_users(rows):
    """Between independent draws two figures of the same rows would seem to differ by chance."""
    other = [dataclasses.replace(each, predicted=each.predicted + 0.5) for each in rows]
    first, second = (metrics.sum_rows(to_rows(each)) for each in (rows, other))
    found = metrics.changes_from_sums(second, first)
    assert tuple(found) == metrics.CHANGE_NAMES
    one, two = (metrics.metrics_from_sums(sums) for sums in (first, second))
    for name in directions.CHANGES:
        assert found[f"{name}_change"] == pytest.approx(two[name] - one[name], abs=1e-12)
        low, high = found[f"{name}_change_low"], found[f"{name}_change_high"]
        assert low <= high
        if "next_visit_rating" not in name:
            assert (low, high) == (0.0, 0.0), name
    swapped = metrics.changes_from_sums(first, second)
    for name in directions.CHANGES:
        assert swapped[f"{name}_change_low"] == pytest.approx(-found[f"{name}_change_high"])


def test_models_that_predict_for_different_users_are_not_compared():
    first, second = (metrics.sum_rows(to_rows([row(user=user)])) for user in (1, 2))
    with pytest.raises(ValueError, match="the same users of candidate and baseline"):
        metrics.changes_from_sums(first, second)


@pytest.mark.parametrize(
    ("metric", "low", "high", "word"),
    [
        ("next_visit_recall_at_10", 0.01, 0.02, "better"),
        ("next_visit_recall_at_10", -0.02, -0.01, "worse"),
        ("next_visit_rating_rmse", 0.01, 0.02, "worse"),
        ("next_visit_rating_rmse", -0.02, -0.01, "better"),
        ("next_visit_rating_rmse", -0.02, 0.01, "within noise"),
        ("next_visit_recall_at_10", 0.0, 0.0, "within noise"),
        ("next_visit_recall_at_10", math.nan, math.nan, "within noise"),
        ("next_visit_recall_at_10", None, None, "within noise"),
    ],
)
def test_the_word_of_a_change_follows_from_its_whole_interval(metric, low, high, word):
    assert directions.word_of_change(metric, low, high) == word


def test_names_are_those_of_the_scenarios():
    assert tuple(compute([row()])) == metrics.METRIC_NAMES
    for scenario in (NEXT_VISIT, IN_SESSION):
        assert metric_name(scenario, "recall_at_100_low") in metrics.METRIC_NAMES
    assert all(name.startswith(SCENARIOS) or name in COUNTS for name in metrics.METRIC_NAMES)


@given(rows=ROWS, bound=st.floats(-1, 5), kind=st.sampled_from(["value", "change"]))
def test_every_metric_has_words_for_any_value(rows, bound, kind):
    found = compute(rows)
    for metric, value in found.items():
        baseline, low, high = (None, None, None) if kind == "value" else (value, -0.1, 0.1)
        result = ThresholdResult(metric, kind, bound, value, baseline, False, low, high)
        text = result.describe()
        assert text.startswith(metric)
        assert "nan" not in text
        assert ("undefined" in text or "could not" in text) == math.isnan(value)
    missing = ThresholdResult("next_visit_mrr", kind, bound, None, None, passed=False)
    assert missing.describe() == "next_visit_mrr could not be computed"
