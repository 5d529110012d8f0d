"""Which metrics say nothing where few movies are left to rank, and which thresholds follow."""

import pytest

from components.evaluation.config import Thresholds, build_eval_config
from components.evaluation.verdict import trivial_metrics
from pipeline.thresholds import thresholds_for
from schema import features as raw
from schema.features import MOVIELENS, FeatureTable


@pytest.mark.parametrize(
    ("left", "trivial"),
    [(101, ()), (100, (100,)), (99, (100,)), (50, (50, 100)), (10, (10, 50, 100)), (0, ())],
)
def test_recall_at_a_k_of_all_movies_left_is_trivial(left, trivial):
    found = trivial_metrics({"movies_to_rank": left})
    for k in (1, 5, 10, 50, 100):
        assert (f"next_visit_recall_at_{k}" in found) == (k in trivial)
    over = "next_visit_recall_at_100_over_popularity_high"
    assert (over in found) == (100 in trivial)
    assert not any("ndcg" in name or "rmse" in name for name in found)


def test_models_of_earlier_releases_have_no_trivial_metric():
    assert trivial_metrics({}) == frozenset()


def without(*features):
    return FeatureTable(tuple(one for one in MOVIELENS.features if one not in features))


def test_default_thresholds_follow_from_what_the_data_has():
    rated = thresholds_for("custom", "random", MOVIELENS)
    assert rated.min_rating_r_squared == 0.0
    clicks = thresholds_for("custom", "random", without(raw.RATING))
    assert not [
        name for name in {**clicks.value_bounds(), **clicks.allowed_worsening()} if "rating" in name
    ]
    assert clicks.min_recall_at_10_over_popularity == clicks.min_recall_at_100_over_popularity == 0
    for table in (MOVIELENS, without(raw.RATING), without(raw.RATING, raw.TIMESTAMP)):
        build_eval_config(thresholds_for("custom", "random", table), table)


def test_the_allowed_rise_of_rmse_is_in_units_of_the_scale():
    wide = raw.Feature("score", raw.Owner.LABEL, raw.Kind.RATING, "float32", low=-10.0, high=10.0)
    table = FeatureTable((raw.USER_ID, raw.MOVIE_ID, wide))
    stars = thresholds_for("custom", "random", MOVIELENS).rating_rmse_worsening
    assert thresholds_for("custom", "random", table).rating_rmse_worsening == pytest.approx(
        5 * stars
    )


@pytest.mark.parametrize(
    ("bound", "absent"),
    [({"max_rating_rmse": 1.0}, raw.RATING), ({"min_in_session_recall_at_10": 0.1}, raw.TIMESTAMP)],
)
def test_a_threshold_of_a_metric_that_the_data_cannot_have_is_refused(bound, absent):
    thresholds = Thresholds(**bound, rating_rmse_worsening=None)
    build_eval_config(thresholds, MOVIELENS)
    with pytest.raises(
        ValueError, match=f"metrics that the data can have, .*{next(iter(bound))[4:]}"
    ):
        build_eval_config(thresholds, without(absent))
